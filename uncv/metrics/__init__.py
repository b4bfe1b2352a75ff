"""How good an uncertainty is: does it rank the errors, and is it of the right size.

Pure functions of uncertainties and residuals (n,), each with a confidence interval from resampling
frames. They know NumPy and SciPy alone.
"""

from uncv.metrics.bootstrap import Bootstrap, Estimate
from uncv.metrics.calibration_error import (
    CalibrationCurve,
    calibration_curve,
    ence,
    level_of_width,
    miscalibration_area,
    width_of_level,
)
from uncv.metrics.likelihood import (
    calibrated_nll,
    coverage,
    crps,
    gaussian_scale,
    nll,
    sharpness,
)
from uncv.metrics.ranking import RocCurve, auroc, roc_curve, spearman
from uncv.metrics.sparsification import (
    SparsificationCurve,
    ause,
    ause_of_random_order,
    sparsification_curve,
)
from uncv.metrics.summary import Metrics, measure

__all__ = [
    "measure",
    "Metrics",
    "Estimate",
    "Bootstrap",
    "spearman",
    "auroc",
    "ause",
    "ause_of_random_order",
    "miscalibration_area",
    "ence",
    "nll",
    "calibrated_nll",
    "gaussian_scale",
    "crps",
    "sharpness",
    "coverage",
    "level_of_width",
    "width_of_level",
    "CalibrationCurve",
    "calibration_curve",
    "RocCurve",
    "roc_curve",
    "SparsificationCurve",
    "sparsification_curve",
]
