"""One function for all methods of selection."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.errors import DataError
from uncv.selection.base import IntArray, Method, Pool
from uncv.selection.clusters import lcmd
from uncv.selection.determinant import max_det
from uncv.selection.farthest import farthest_point
from uncv.selection.ranking import at_random, top_scores, within_window

METHODS: dict[str, Callable[[Pool, int], IntArray]] = {
    "random": at_random,
    "top_u": top_scores,
    "threshold": within_window,
    "farthest_point": farthest_point,
    "max_det": max_det,
    "lcmd": lcmd,
}


def select(
    features: ArrayLike,
    train_features: ArrayLike | None,
    size: int,
    method: Method = "top_u",
    *,
    scores: ArrayLike | None = None,
    window: tuple[float, float] | None = None,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Choose frames of a pool, without duplicates and always the same for the same input.

    Parameters
    ----------
    features : array_like
        Features of the pool (P, D).
    train_features : array_like or None
        Features of what is labelled already (T, D). All methods but ``random`` and ``top_u`` keep
        away from them, and never choose a frame that is the same.
    size : int
        How many to choose, at most P.
    method : str
        - ``random``: drawn by the seed.
        - ``top_u``: the largest scores, ties in the order of the pool.
        - ``threshold``: of the frames whose score is inside the window, those of
          ``farthest_point``.
        - ``farthest_point``: always the frame farthest (Euclidean) from all that is labelled or
          chosen.
        - ``max_det``: always the frame of largest posterior variance given all that is labelled
          or chosen: greedy D-optimal.
        - ``lcmd``: every frame belongs to the nearest that is labelled or chosen; of the cluster
          with the largest sum of squared distances the farthest member.

        With nothing labelled, ``farthest_point`` and ``lcmd`` begin with the frame farthest from
        the mean of the pool.
    scores : array_like, optional
        Uncertainties (P,), needed by ``top_u`` and ``threshold``.
    window : (float, float), optional
        Lowest and highest score of ``threshold``, both included.
    seed : int
        Of ``random``; the other methods draw nothing.

    Returns
    -------
    numpy.ndarray
        Indices into the pool (size,), in the order of choice.

    Raises
    ------
    DataError
        If the pool or the window holds too few frames, too few differ from each other and from the
        labelled ones, what the method needs is not given, the shapes do not fit, or a value is NaN
        or infinite.
    ValueError
        For an unknown method.

    Notes
    -----
    Frames are the same if their features differ by less than 1e-6 of their length. All is computed
    in float64. ``farthest_point`` is MaxDist, ``max_det`` MaxDet and ``lcmd`` LCMD-TP of Holzmüller
    et al., JMLR 24 (2023); each takes O(P (T + size) D), ``max_det`` with min(T, D) in place of T.

    Examples
    --------
    >>> select([[0.0], [1.0], [5.0]], [[0.1]], 2, "farthest_point").tolist()
    [2, 1]
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; choose one of {', '.join(METHODS)}")
    pool = Pool.checked(features, train_features, scores, window, seed)
    count = len(pool.features)
    if not 0 <= size <= count:
        raise DataError(
            f"cannot choose {size} of a pool of {count} frames; ask for between 0 and {count}"
        )
    return METHODS[method](pool, size)
