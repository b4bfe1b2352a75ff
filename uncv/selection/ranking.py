"""Choices that look at the scores alone, or at nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from uncv.errors import DataError
from uncv.selection.base import FloatArray, IntArray, Pool
from uncv.selection.farthest import farthest_point


def at_random(pool: Pool, size: int) -> IntArray:
    """Return frames drawn by the seed."""
    return np.random.default_rng(pool.seed).permutation(len(pool.features))[:size]


def top_scores(pool: Pool, size: int) -> IntArray:
    """Return the frames of largest score, ties in the order of the pool."""
    return np.argsort(-_scores(pool, "top_u"), kind="stable")[:size]


def within_window(pool: Pool, size: int) -> IntArray:
    """Return frames whose score is in the window, the farthest from all that is known.

    Raises
    ------
    DataError
        If no scores or window are given, or the window holds fewer frames.
    """
    scores = _scores(pool, "threshold")
    if pool.window is None:
        raise DataError("threshold needs the scores that may be chosen; pass window=(low, high)")
    inside = inside_window(scores, *pool.window)
    if len(inside) < size:
        low, high = pool.window
        raise DataError(
            f"the scores of {len(inside)} frames are between {low:g} and {high:g}, but {size} "
            "frames are wanted; widen the window or choose fewer"
        )
    return inside[farthest_point(pool._replace(features=pool.features[inside]), size)]


def inside_window(scores: ArrayLike, low: float, high: float) -> IntArray:
    """Return which scores are between two values, both included, in the order of the pool.

    Parameters
    ----------
    scores : array_like
        (P,).
    low, high : float
        In the unit of the scores; infinite for no limit.

    Raises
    ------
    DataError
        If low is above high, or one is NaN.

    Examples
    --------
    >>> inside_window([0.1, 0.9, 0.3, 0.5], 0.3, 0.5).tolist()
    [2, 3]
    """
    if not low <= high:
        raise DataError(f"the window is from {low} to {high}; give the lower value first")
    values = np.asarray(scores, dtype=np.float64)
    return np.flatnonzero((values >= low) & (values <= high))


def _scores(pool: Pool, method: str) -> FloatArray:
    if pool.scores is None:
        raise DataError(f"{method} needs the uncertainty of every frame; pass scores=")
    return pool.scores
