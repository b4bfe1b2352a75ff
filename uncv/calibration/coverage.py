"""How many errors lie inside the calibrated uncertainty, and how sure that number is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from uncv.calibration.scores import Calibratable, Scores, scores
from uncv.data import Dataset
from uncv.errors import CalibrationError


class Coverage(NamedTuple):
    """Share of residuals inside the bound, with its 95 % interval."""

    share: float
    low: float
    high: float


def coverage(cv: Calibratable, data: Dataset, *, seed: int = 0, resamples: int = 500) -> Coverage:
    """Return the share of residuals inside the uncertainty on labelled, held-out data.

    Raises
    ------
    CalibrationError
        If there are no frames.
    DataError
        If the label needed is missing.
    """
    return coverage_of(scores(cv, data), seed=seed, resamples=resamples)


def coverage_of(found: Scores, *, seed: int = 0, resamples: int = 500) -> Coverage:
    """Return the share of residuals that are not above their uncertainty.

    With one value a frame the interval is exact (Clopper and Pearson). With several, which are
    correlated, frames are drawn with replacement ``resamples`` times.

    Raises
    ------
    CalibrationError
        If there are no residuals.
    """
    if len(found.residual) == 0:
        raise CalibrationError("there are no residuals to count; give labelled frames")
    inside = found.residual <= found.uncertainty
    _, index, counts = np.unique(found.frame, return_inverse=True, return_counts=True)
    share = float(inside.mean())
    if counts.max() == 1:
        return Coverage(share, *exact_interval(int(inside.sum()), len(inside)))
    sums = np.bincount(index, weights=inside)
    picks = np.random.default_rng(seed).integers(0, len(counts), (resamples, len(counts)))
    shares = sums[picks].sum(axis=1) / counts[picks].sum(axis=1)
    low, high = np.quantile(shares, [0.025, 0.975])
    return Coverage(share, float(low), float(high))


def exact_interval(inside: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval of Clopper and Pearson (1934) for a share, from independent values.

    >>> [round(x, 4) for x in exact_interval(0, 10)]
    [0.0, 0.3085]
    """
    from scipy.stats import beta

    tail = 0.5 * (1 - confidence)
    low = 0.0 if inside == 0 else float(beta.ppf(tail, inside, count - inside + 1))
    high = 1.0 if inside == count else float(beta.ppf(1 - tail, inside + 1, count - inside))
    return low, high
