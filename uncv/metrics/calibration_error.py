"""Is the uncertainty of the right size: as a distribution, and from small to large values.

Errors are taken as normal with standard deviation u, isotropic where they have components. A
residual is one signed number (an energy: ``components=1``) or the root mean square over the
components of a vector (a force: ``components=3``). Then k r²/u² has a χ² distribution with
k = components degrees of freedom, and its distribution function says which central interval the
error just fills: of every confidence level p, a share p of the errors should lie inside.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammainc, gammaincinv

from uncv.metrics.bootstrap import (
    DEFAULT,
    Bootstrap,
    Estimate,
    FloatArray,
    Points,
    estimate,
    points,
)
from uncv.metrics.ordering import Ordering

_SMALLEST_BIN = 10


class CalibrationCurve(NamedTuple):
    """Confidence levels and the share of errors inside their intervals, both (k,)."""

    expected: FloatArray
    observed: FloatArray


def miscalibration_area(
    uncertainty: ArrayLike,
    residual: ArrayLike,
    frame: ArrayLike | None = None,
    *,
    components: int = 1,
    bootstrap: Bootstrap = DEFAULT,
) -> Estimate:
    """Return the area between the calibration curve and the diagonal, ∫ |observed(p) − p| dp.

    Parameters
    ----------
    uncertainty : array_like
        Standard deviations (n,) of one component, positive.
    residual : array_like
        Errors (n,), or their root mean squares over the components, in the same unit.
    frame : array_like, optional
        The frame of each point (n,); frames are resampled.
    components : int
        How many components a residual is the root mean square of; see the module.
    bootstrap : Bootstrap
        How the interval is made.

    Returns
    -------
    Estimate
        Between 0 and 0.5. The area of n exact points is not 0 but about 0.31/√n, and an interval by
        resampling lies a little high.

    Raises
    ------
    ValueError
        For fewer than two points, unequal shapes, values that are not finite, or uncertainties that
        are not positive.

    Notes
    -----
    Source: Kuleshov et al., ICML (2018); Tran et al., Mach. Learn.: Sci. Technol. 1, 025006 (2020).
    """
    data = points(uncertainty, residual, frame, positive=True)
    levels = confidence_levels(data, components)
    by_level = Ordering(levels, data)
    edges = np.concatenate([levels[by_level.order], [1.0]])
    first = edges[0] ** 2 / 2.0  # before the smallest level nothing is inside

    def statistic(frames: FloatArray) -> FloatArray:
        share = by_level.weights(frames).cumsum(axis=1)
        share /= share[:, -1:]
        below, above = edges[:-1] - share, edges[1:] - share
        area: FloatArray = first + 0.5 * (above * abs(above) - below * abs(below)).sum(axis=1)
        return area

    return estimate(statistic, data, bootstrap)


def calibration_curve(
    uncertainty: ArrayLike, residual: ArrayLike, *, components: int = 1, levels: int = 101
) -> CalibrationCurve:
    """Return the observed share of errors at evenly spaced confidence levels from 0 to 1."""
    data = points(uncertainty, residual, positive=True)
    reached = np.sort(confidence_levels(data, components))
    expected = np.linspace(0.0, 1.0, levels)
    return CalibrationCurve(expected, np.searchsorted(reached, expected, "right") / len(reached))


def confidence_levels(data: Points, components: int) -> FloatArray:
    """Return the confidence level (n,) whose central interval each error just fills."""
    if components < 1:
        raise ValueError(f"components is {components}; expected 1 or more")
    score = (data.residual / data.uncertainty) ** 2
    levels: FloatArray = gammainc(components / 2.0, components * score / 2.0)
    return levels


def width_of_level(level: float, components: int = 1) -> float:
    """Return how many standard deviations a central interval of this confidence level reaches.

    A bound that holds for a share ``level`` of errors, divided by this width, is a standard
    deviation.

    >>> round(width_of_level(0.95), 2)
    1.96
    """
    return float(np.sqrt(2.0 / components * gammaincinv(components / 2.0, level)))


def level_of_width(width: float, components: int = 1) -> float:
    """Return the share of errors inside so many standard deviations, the inverse of the above.

    >>> round(level_of_width(1.0), 3), round(level_of_width(1.0, components=3), 3)
    (0.683, 0.608)
    """
    return float(gammainc(components / 2.0, components * width**2 / 2.0))


def ence(
    uncertainty: ArrayLike,
    residual: ArrayLike,
    frame: ArrayLike | None = None,
    *,
    bins: int = 10,
    bootstrap: Bootstrap = DEFAULT,
) -> Estimate:
    """Return the expected normalised calibration error, the mean of |RMV − RMSE|/RMV over bins.

    Points are put into bins of nearly equal number by their uncertainty, at least 10 to a bin; RMV
    is the root mean square of the uncertainties of a bin and RMSE that of its residuals. Resamples
    keep the bins.

    Parameters
    ----------
    uncertainty, residual, frame, bootstrap
        As in `miscalibration_area`.
    bins : int
        Number of bins, at most.

    Returns
    -------
    Estimate
        0 where the uncertainty is of the right size in every bin; chance alone gives about
        0.56 √(bins/n) for single errors.

    Notes
    -----
    Source: Levi et al., Sensors 22, 5540 (2022).
    """
    if bins < 1:
        raise ValueError(f"bins is {bins}; expected 1 or more")
    data = points(uncertainty, residual, frame, positive=True)
    count = max(1, min(bins, len(data.residual) // _SMALLEST_BIN))
    cuts = np.quantile(data.uncertainty, np.arange(1, count) / count)
    place = data.frame * count + np.searchsorted(cuts, data.uncertainty, "left")

    def summed(values: FloatArray) -> FloatArray:
        sums = np.bincount(place, weights=values, minlength=data.frames * count)
        return sums.reshape(data.frames, count).astype(np.float64)

    variance, square = summed(data.uncertainty**2), summed(data.residual**2)

    def statistic(frames: FloatArray) -> FloatArray:
        ratio = np.sqrt((frames @ square) / (frames @ variance))  # NaN in a bin left empty
        filled = np.isfinite(ratio)
        gaps = np.where(filled, abs(1.0 - ratio), 0.0)
        mean: FloatArray = gaps.sum(axis=1) / filled.sum(axis=1)
        return mean

    return estimate(statistic, data, bootstrap)
