"""How good a potential and its uncertainty are on labelled frames."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncv.calibration import (
    ConformalCalibrator,
    Coverage,
    Scores,
    coverage_of,
    frames_needed,
    residual_kind,
    scores,
)
from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.evaluation_points import (
    CrystalErrors,
    Errors,
    Judged,
    crystal_errors,
    errors,
    judge,
)
from uncv.metrics import Bootstrap, Metrics, ause_of_random_order, measure
from uncv.units import Kind, unit_name

__all__ = [
    "CrystalErrors",
    "Errors",
    "EvaluationSummary",
    "Judged",
    "crystal_errors",
    "errors",
    "evaluate",
    "exchangeable_coverage",
    "judge",
    "summarise",
]


class EvaluationSummary(NamedTuple):
    """Accuracy, and what the uncertainty says of it.

    Attributes
    ----------
    frames, points : int
        Number of frames, and of residuals: of frames again, or of atoms.
    kind, unit : str
        Of the residuals: 'energy', 'eV', or 'force', 'eV/Å'.
    errors : Errors
        Root mean square errors.
    metrics : Metrics
        With 95 % intervals from resampling frames.
    ause_of_random_order : float
        What the metric ``ause`` would be without knowledge of the errors.
    coverage : Coverage
        Share of residuals inside the uncertainty as it is, with its 95 % interval.
    promised : float or None
        What that share should be: 1 − α after a conformal calibration, else that of one standard
        deviation; None for an uncertainty without a unit.
    exchangeable : Coverage or None
        The share after a conformal calibration on a random half of the frames, counted on the other
        half; None with too few frames.
    conformal_factor : float or None
        What that calibration multiplies the uncertainty by.
    alpha : float
        Share of errors that it lets outside.
    notes : tuple of str
        What a reader must know.
    """

    frames: int
    points: int
    kind: Kind
    unit: str
    errors: Errors
    metrics: Metrics
    ause_of_random_order: float
    coverage: Coverage
    promised: float | None
    exchangeable: Coverage | None
    conformal_factor: float | None
    alpha: float
    notes: tuple[str, ...]


def evaluate(
    cv: UncertaintyCV,
    data: Dataset,
    *,
    alpha: float = 0.05,
    seed: int = 0,
    align: bool = False,
) -> EvaluationSummary:
    """Evaluate a collective variable on labelled frames.

    Parameters
    ----------
    cv : UncertaintyCV
        Potential, uncertainty and, if it has one, calibration.
    data : Dataset
        Frames that were not used for training, with the label that the uncertainty is held against:
        energies (eV) or forces (eV/Å).
    alpha : float
        Of the second, exchangeable calibration.
    seed : int
        Of the halves and the resampling.
    align : bool
        Whether energies are aligned first; see `judge`.

    Raises
    ------
    DataError
        If the label is missing.
    ElementError
        If the potential does not know an element.
    ValueError
        For fewer than two residuals, or alpha not between 0 and 1.
    """
    return summarise(judge(cv, data, align=align), alpha=alpha, seed=seed)


def summarise(judged: Judged, *, alpha: float = 0.05, seed: int = 0) -> EvaluationSummary:
    """Return all that `evaluate` does, from points that are known already."""
    found = judged.scores
    metrics = measure(
        judged.standard_deviation,
        found.residual,
        found.frame,
        components=judged.components,
        bootstrap=Bootstrap(seed=seed),
    )
    return EvaluationSummary(
        judged.frames,
        len(found.residual),
        judged.kind,
        unit_name(judged.kind),
        judged.errors,
        metrics,
        ause_of_random_order(found.residual),
        coverage_of(found, seed=seed),
        judged.promised,
        *_on_halves(found, judged.kind, alpha, seed),
        alpha,
        judged.notes,
    )


def exchangeable_coverage(
    cv: UncertaintyCV, data: Dataset, *, alpha: float = 0.05, seed: int = 0
) -> Coverage | None:
    """Calibrate on a random half of the frames and count on the other half.

    None if half of the frames are too few for a bound at this alpha.
    """
    return _on_halves(scores(cv, data), residual_kind(cv), alpha, seed).exchangeable


class _Halves(NamedTuple):
    exchangeable: Coverage | None
    factor: float | None


def _on_halves(found: Scores, kind: Kind, alpha: float, seed: int) -> _Halves:
    calibrator = ConformalCalibrator(alpha, seed=seed)
    frames = np.unique(found.frame)
    half = np.random.default_rng(seed).permutation(frames)[: len(frames) // 2]
    if len(half) < frames_needed(alpha) or not found.residual.any():
        return _Halves(None, None)
    first = np.isin(found.frame, half)
    one, other = (_chosen(found, part) for part in (first, ~first))
    factor = float(calibrator.fit_scores(*one, kind=kind).scale[0])
    bound = other.uncertainty * factor
    return _Halves(coverage_of(other._replace(uncertainty=bound), seed=seed), factor)


def _chosen(found: Scores, part: NDArray[np.bool_]) -> Scores:
    return Scores(*(None if values is None else values[part] for values in found))  # type: ignore[arg-type]
