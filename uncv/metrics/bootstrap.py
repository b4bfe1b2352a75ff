"""Confidence intervals by resampling frames, for every metric in the same way.

Atoms of one frame are not independent of each other, so frames are drawn, with all of their points.
A resample is a row of weights: how often each frame was drawn. A statistic takes many such rows at
once and never sees copies of the points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
Statistic = Callable[[FloatArray], FloatArray]
"""From weights of the frames (B, F), whole numbers, to the metric of each row (B,)."""

_CHUNK = 2**17
"""Weights handled at once: what stays in the cache."""


class Estimate(NamedTuple):
    """A metric with its confidence interval; NaN where undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Bootstrap:
    """How an interval is made: percentiles over resampled frames.

    Parameters
    ----------
    resamples : int
        Number of resamples; 0 leaves the interval NaN.
    seed : int
        Of the resampling.
    level : float
        Probability that the interval is to hold, between 0 and 1.

    Raises
    ------
    ValueError
        For values outside their range.
    """

    resamples: int = 500
    seed: int = 0
    level: float = 0.95

    def __post_init__(self) -> None:
        if self.resamples < 0:
            raise ValueError(f"resamples is {self.resamples}; expected 0 or more")
        if not 0 < self.level < 1:
            raise ValueError(f"level is {self.level}; expected a number between 0 and 1")


DEFAULT = Bootstrap()
"""500 resamples, 95 %."""


class Points(NamedTuple):
    """Checked points: uncertainty and absolute residual (n,), and the place of their frame."""

    uncertainty: FloatArray
    residual: FloatArray
    frame: NDArray[np.intp]
    frames: int


def points(
    uncertainty: ArrayLike,
    residual: ArrayLike,
    frame: ArrayLike | None = None,
    *,
    positive: bool = False,
) -> Points:
    """Check points and number their frames from 0.

    Parameters
    ----------
    uncertainty, residual : array_like
        (n,) each; of the residual the absolute value counts.
    frame : array_like, optional
        Which frame each point belongs to (n,), any labels; without it each is its own.
    positive : bool
        Whether uncertainties must be larger than zero.

    Raises
    ------
    ValueError
        For fewer than two points, shapes that differ, values that are not finite, or uncertainties
        that are not positive where they must be.
    """
    u = np.asarray(uncertainty, dtype=np.float64)
    r = np.abs(np.asarray(residual, dtype=np.float64))
    labels = np.arange(u.size) if frame is None else np.asarray(frame)
    if u.ndim != 1 or not u.shape == r.shape == labels.shape:
        raise ValueError(
            f"uncertainties, residuals and frames have shapes {u.shape}, {r.shape} and "
            f"{labels.shape}; expected the same (n,) for all"
        )
    if len(u) < 2:
        raise ValueError(f"a metric needs at least 2 points, found {len(u)}; give more frames")
    bad = ~(np.isfinite(u) & np.isfinite(r))
    if bad.any():
        raise ValueError(
            f"{int(bad.sum())} of {len(u)} points have an uncertainty or residual that is NaN or "
            "infinite; remove them"
        )
    if positive and (u <= 0).any():
        raise ValueError(
            f"{int((u <= 0).sum())} of {len(u)} uncertainties are not positive; this metric needs "
            "an uncertainty that can be a standard deviation"
        )
    known, place = np.unique(labels, return_inverse=True)
    return Points(u, r, place.reshape(-1), len(known))


def estimate(statistic: Statistic, data: Points, bootstrap: Bootstrap) -> Estimate:
    """Return a statistic of all points, with its interval; resamples that give NaN do not count.

    The interval is NaN with a single frame: nothing is known of what another one would give.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(statistic(np.ones((1, data.frames)))[0])
        if data.frames < 2 or bootstrap.resamples == 0:
            return Estimate(value, np.nan, np.nan)
        draws = np.concatenate([statistic(rows) for rows in _resamples(data, bootstrap)])
    defined = draws[np.isfinite(draws)]
    if not np.isfinite(value) or len(defined) == 0:
        return Estimate(value, np.nan, np.nan)
    tail = (1.0 - bootstrap.level) / 2.0
    low, high = np.quantile(defined, [tail, 1.0 - tail])
    return Estimate(value, float(low), float(high))


def weighted_mean(values: FloatArray, data: Points) -> Statistic:
    """Return the statistic 'mean of these values (n,)', which needs sums over frames alone."""
    sums = np.bincount(data.frame, weights=values, minlength=data.frames)
    counts = np.bincount(data.frame, minlength=data.frames)

    def statistic(weights: FloatArray) -> FloatArray:
        mean: FloatArray = (weights @ sums) / (weights @ counts)
        return mean

    return statistic


def _resamples(data: Points, bootstrap: Bootstrap) -> Iterator[FloatArray]:
    generator = np.random.default_rng(bootstrap.seed)
    rows = max(1, _CHUNK // len(data.residual))
    for begin in range(0, bootstrap.resamples, rows):
        count = min(rows, bootstrap.resamples - begin)
        drawn = generator.integers(0, data.frames, (count, data.frames))
        drawn += data.frames * np.arange(count)[:, None]
        times = np.bincount(drawn.ravel(), minlength=count * data.frames)
        yield times.reshape(count, data.frames).astype(np.float64)
