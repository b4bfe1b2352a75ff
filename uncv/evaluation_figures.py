"""The four figures of an evaluation, drawn and written."""

from __future__ import annotations

from pathlib import Path

from uncv import metrics
from uncv.evaluation import EvaluationSummary
from uncv.evaluation_points import Judged
from uncv.plots_uncertainty import (
    ErrorPoints,
    calibration_curve,
    error_against_uncertainty,
    roc,
    save,
    sparsification,
)


def draw(judged: Judged, summary: EvaluationSummary, folder: str | Path) -> tuple[Path, ...]:
    """Write each figure as PNG and SVG into a folder, which is made, and return the files.

    ``error_against_uncertainty``, ``calibration_curve``, ``sparsification`` and ``roc``; the last
    two are left out where they are undefined because all errors are equal.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    u, r = judged.scores.uncertainty, judged.scores.residual
    found = summary.metrics
    points = ErrorPoints(u, r, judged.kind, judged.uncertainty_kind)
    reached = metrics.calibration_curve(judged.standard_deviation, r, components=judged.components)
    figures = {
        "error_against_uncertainty": error_against_uncertainty(
            points, factor=summary.conformal_factor, alpha=summary.alpha
        ),
        "calibration_curve": calibration_curve(reached, found.miscalibration_area),
    }
    left = metrics.sparsification_curve(u, r)
    if left is not None:
        figures["sparsification"] = sparsification(left, found.ause)
    above = metrics.roc_curve(u, r)
    if above is not None:
        figures["roc"] = roc(above, found.auroc)
    return tuple(file for name, figure in figures.items() for file in save(figure, folder / name))
