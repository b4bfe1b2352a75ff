"""Calibration: from an uncertainty to the scale of the error, one way a file."""

from __future__ import annotations

from typing import Any

from uncv.calibration.base import Calibrator
from uncv.calibration.conformal import ConformalCalibrator, conformal_rank, frames_needed
from uncv.calibration.coverage import Coverage, coverage, coverage_of, exact_interval
from uncv.calibration.cross import CrossConformalCalibrator
from uncv.calibration.drift import Drift, drift
from uncv.calibration.element import ElementConformalCalibrator
from uncv.calibration.gaussian import GaussianCalibrator
from uncv.calibration.isotonic import IsotonicCalibrator
from uncv.calibration.log_linear import LogLinearCalibrator
from uncv.calibration.monotone import MonotoneCalibrator
from uncv.calibration.scale import ScaleCalibrator
from uncv.calibration.scores import Calibratable, Scores, residual_kind, scores
from uncv.errors import FileFormatError

__all__ = [
    "Calibratable",
    "Calibrator",
    "ConformalCalibrator",
    "Coverage",
    "CrossConformalCalibrator",
    "Drift",
    "ElementConformalCalibrator",
    "GaussianCalibrator",
    "IsotonicCalibrator",
    "LogLinearCalibrator",
    "MonotoneCalibrator",
    "ScaleCalibrator",
    "Scores",
    "by_name",
    "conformal_rank",
    "coverage",
    "coverage_of",
    "drift",
    "exact_interval",
    "frames_needed",
    "residual_kind",
    "scores",
]

_FAMILIES: dict[str, type[Calibrator]] = {
    family.__name__: family
    for family in (
        ConformalCalibrator,
        CrossConformalCalibrator,
        ElementConformalCalibrator,
        GaussianCalibrator,
        IsotonicCalibrator,
        LogLinearCalibrator,
        MonotoneCalibrator,
    )
}


def by_name(name: str, settings: dict[str, Any]) -> Calibrator:
    """Make a calibrator from the name of its class and its settings.

    Raises
    ------
    FileFormatError
        If there is no such family.
    """
    if name not in _FAMILIES:
        raise FileFormatError(
            f"calibrator {name!r} is unknown; this uncv knows {', '.join(sorted(_FAMILIES))}"
        )
    return _FAMILIES[name](**settings)
