"""All metrics of one uncertainty at once."""

from __future__ import annotations

from typing import NamedTuple

from numpy.typing import ArrayLike

from uncv.metrics.bootstrap import DEFAULT, Bootstrap, Estimate
from uncv.metrics.calibration_error import ence, miscalibration_area
from uncv.metrics.likelihood import calibrated_nll, crps, nll, sharpness
from uncv.metrics.ranking import auroc, spearman
from uncv.metrics.sparsification import ause


class Metrics(NamedTuple):
    """What `measure` finds; the functions of the same names say what each is.

    Attributes
    ----------
    spearman, auroc, ause : Estimate
        Of the order of the errors; a factor on the uncertainty changes none of them.
    miscalibration_area, ence, nll, crps, sharpness : Estimate
        Of the uncertainty as a standard deviation.
    calibrated_nll : Estimate
        After the best single factor.
    """

    spearman: Estimate
    auroc: Estimate
    ause: Estimate
    miscalibration_area: Estimate
    ence: Estimate
    nll: Estimate
    calibrated_nll: Estimate
    crps: Estimate
    sharpness: Estimate


def measure(
    uncertainty: ArrayLike,
    residual: ArrayLike,
    frame: ArrayLike | None = None,
    *,
    components: int = 1,
    bootstrap: Bootstrap = DEFAULT,
) -> Metrics:
    """Return all metrics of an uncertainty in the unit of its residuals.

    Parameters
    ----------
    uncertainty : array_like
        Standard deviations (n,) of one component, positive.
    residual : array_like
        Errors (n,), or their root mean squares over the components, in the same unit.
    frame : array_like, optional
        The frame of each point (n,); frames are resampled.
    components : int
        1 for single errors (energies), 3 for root mean squares over x, y, z (forces).
    bootstrap : Bootstrap
        How the intervals are made.

    Raises
    ------
    ValueError
        For fewer than two points, unequal shapes, values that are not finite, or uncertainties that
        are not positive.

    Examples
    --------
    >>> found = measure([0.1, 0.2, 0.4], [0.1, 0.3, 0.35])
    >>> round(found.spearman.value, 2), round(found.sharpness.value, 3)
    (1.0, 0.265)
    """
    given = (uncertainty, residual, frame)
    return Metrics(
        spearman(*given, bootstrap=bootstrap),
        auroc(*given, bootstrap=bootstrap),
        ause(*given, bootstrap=bootstrap),
        miscalibration_area(*given, components=components, bootstrap=bootstrap),
        ence(*given, bootstrap=bootstrap),
        nll(*given, bootstrap=bootstrap),
        calibrated_nll(*given, bootstrap=bootstrap),
        crps(*given, components=components, bootstrap=bootstrap),
        sharpness(uncertainty, frame, bootstrap=bootstrap),
    )
