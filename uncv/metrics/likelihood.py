"""How well the uncertainty says the error as a normal distribution, and how wide it is.

Means over points and components. A residual is a single error, or the root mean square r of the k
components of a vector, isotropic with standard deviation u each.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import erf

from uncv.metrics.bootstrap import (
    DEFAULT,
    Bootstrap,
    Estimate,
    FloatArray,
    estimate,
    points,
    weighted_mean,
)


def nll(
    uncertainty: ArrayLike,
    residual: ArrayLike,
    frame: ArrayLike | None = None,
    *,
    bootstrap: Bootstrap = DEFAULT,
) -> Estimate:
    """Return the negative log-likelihood of an error, or of one component of it.

    The mean of ½ log(2π u²) + r²/(2u²). For a root mean square over components that is the exact
    mean over the components.

    Parameters
    ----------
    uncertainty : array_like
        Standard deviations (n,) of one component, positive.
    residual : array_like
        Errors (n,), or their root mean squares over the components, in the same unit.
    frame : array_like, optional
        The frame of each point (n,); frames are resampled.
    bootstrap : Bootstrap
        How the interval is made.

    Returns
    -------
    Estimate
        In nats, the density in the inverse unit of the uncertainty: another unit shifts it.

    Raises
    ------
    ValueError
        For fewer than two points, unequal shapes, values that are not finite, or uncertainties that
        are not positive.
    """
    data = points(uncertainty, residual, frame, positive=True)
    score = (data.residual / data.uncertainty) ** 2
    terms = 0.5 * math.log(2.0 * math.pi) + np.log(data.uncertainty) + 0.5 * score
    return estimate(weighted_mean(terms, data), data, bootstrap)


def calibrated_nll(
    uncertainty: ArrayLike,
    residual: ArrayLike,
    frame: ArrayLike | None = None,
    *,
    scale: float | None = None,
    bootstrap: Bootstrap = DEFAULT,
) -> Estimate:
    """Return the negative log-likelihood after multiplying the uncertainty by one number.

    Parameters
    ----------
    uncertainty, residual, frame, bootstrap
        As in `nll`; the uncertainty may have another unit, or none.
    scale : float, optional
        The number, say a `gaussian_scale` of calibration points. By default it is fitted to these
        same points, and to each resample anew: the best that one scale can do, which compares
        uncertainties of different size or unit fairly.

    Returns
    -------
    Estimate
        In nats; NaN where all residuals are zero.
    """
    if scale is not None:
        return nll(np.asarray(uncertainty) * scale, residual, frame, bootstrap=bootstrap)
    data = points(uncertainty, residual, frame, positive=True)
    square = weighted_mean((data.residual / data.uncertainty) ** 2, data)
    log_u = weighted_mean(np.log(data.uncertainty), data)

    def statistic(frames: FloatArray) -> FloatArray:
        squares = square(frames)
        value = 0.5 * (math.log(2.0 * math.pi) + 1.0 + np.log(squares)) + log_u(frames)
        return np.where(squares > 0, value, np.nan)

    return estimate(statistic, data, bootstrap)


def gaussian_scale(uncertainty: ArrayLike, residual: ArrayLike) -> float:
    """Return the factor on u of largest Gaussian likelihood, √mean(r²/u²)."""
    data = points(uncertainty, residual, positive=True)
    return float(np.sqrt(np.mean((data.residual / data.uncertainty) ** 2)))


def crps(
    uncertainty: ArrayLike,
    residual: ArrayLike,
    frame: ArrayLike | None = None,
    *,
    components: int = 1,
    bootstrap: Bootstrap = DEFAULT,
) -> Estimate:
    """Return the continuous ranked probability score, in the unit of the error.

    For one component u [z (2Φ(z) − 1) + 2φ(z) − 1/√π] with z = |r|/u. The components of a force
    depend on the orientation of the axes; for ``components=3`` the score of one component is
    averaged over all orientations, with z = √3 r/u:
    u [(z² + 1)/(2z) · (2Φ(z) − 1) + φ(z) − 1/√π].

    Parameters
    ----------
    uncertainty, residual, frame, bootstrap
        As in `nll`.
    components : int
        1 for single errors, 3 for root mean squares over x, y, z.

    Notes
    -----
    Source of the closed form: Gneiting and Raftery, J. Am. Stat. Assoc. 102, 359 (2007).
    """
    if components not in (1, 3):
        raise ValueError(f"components is {components}; the score has a closed form for 1 and 3")
    data = points(uncertainty, residual, frame, positive=True)
    z = math.sqrt(components) * data.residual / data.uncertainty
    inside, density = erf(z / math.sqrt(2.0)), np.exp(-0.5 * z**2) / math.sqrt(2.0 * math.pi)
    if components == 1:
        spread = z * inside + 2.0 * density
    else:
        safe = np.where(z > 0, z, 1.0)  # inside/z → √(2/π) as z → 0
        slope = np.where(z > 0, inside / safe, math.sqrt(2.0 / math.pi))
        spread = 0.5 * (z**2 + 1.0) * slope + density
    terms = data.uncertainty * (spread - 1.0 / math.sqrt(math.pi))
    return estimate(weighted_mean(terms, data), data, bootstrap)


def sharpness(
    uncertainty: ArrayLike, frame: ArrayLike | None = None, *, bootstrap: Bootstrap = DEFAULT
) -> Estimate:
    """Return the root mean square of the uncertainty, in its unit.

    Small is good among uncertainties that are calibrated, and says nothing of others.
    """
    data = points(uncertainty, np.zeros(np.shape(uncertainty)), frame)
    square = weighted_mean(data.uncertainty**2, data)
    return estimate(lambda frames: np.sqrt(square(frames)), data, bootstrap)


def coverage(
    uncertainty: ArrayLike,
    residual: ArrayLike,
    frame: ArrayLike | None = None,
    *,
    bootstrap: Bootstrap = DEFAULT,
) -> Estimate:
    """Return the share of residuals that are not larger than the uncertainty.

    For u with a conformal factor fitted to other frames this is the conformal coverage, to be held
    against 1 − α; for a standard deviation against `uncv.metrics.level_of_width` of 1.
    """
    data = points(uncertainty, residual, frame)
    inside = (data.residual <= data.uncertainty).astype(np.float64)
    return estimate(weighted_mean(inside, data), data, bootstrap)
