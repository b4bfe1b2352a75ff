"""Which frames of a pool to label next: by chance, by uncertainty, or far from what is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.errors import DataError

Method = Literal["random", "top_u", "farthest_point"]


class _Pool(NamedTuple):
    features: NDArray[np.float64]
    train_features: NDArray[np.float64]
    scores: NDArray[np.float64] | None
    rng: np.random.Generator


def select(
    features: ArrayLike,
    train_features: ArrayLike | None,
    size: int,
    method: Method = "top_u",
    *,
    scores: ArrayLike | None = None,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Choose frames of a pool, without duplicates and always the same for the same input.

    Parameters
    ----------
    features : array_like
        Features of the pool (P, D).
    train_features : array_like or None
        Features of what is labelled already (T, D); ``farthest_point`` starts from them.
    size : int
        How many to choose, at most P.
    method : {'top_u', 'farthest_point', 'random'}
        ``top_u`` takes the largest scores, ties in the order of the pool. ``farthest_point`` takes
        again and again the frame farthest (Euclidean) from all that is labelled or chosen; with
        nothing labelled it begins with the frame farthest from the mean of the pool.
    scores : array_like, optional
        Uncertainties (P,), needed by ``top_u``.
    seed : int
        Seed of ``random``; the other methods are deterministic.

    Returns
    -------
    numpy.ndarray
        Indices into the pool (size,), in the order of choice.

    Raises
    ------
    DataError
        If the pool is too small, the shapes do not fit, a value is NaN or infinite, or
        ``farthest_point`` finds fewer frames that differ from each other and the labelled ones.
    ValueError
        For an unknown method.

    Notes
    -----
    ``farthest_point`` is MaxDist of Holzmüller et al., JMLR 24 (2023), in O(P (T + size) D).

    Examples
    --------
    >>> select([[0.0], [1.0], [5.0]], [[0.1]], 2, "farthest_point").tolist()
    [2, 1]
    """
    if method not in _METHODS:
        raise ValueError(f"unknown method {method!r}; choose one of {', '.join(_METHODS)}")
    pool = _checked(features, train_features, scores, seed)
    count = len(pool.features)
    if not 0 <= size <= count:
        raise DataError(
            f"cannot choose {size} of a pool of {count} frames; ask for between 0 and {count}"
        )
    return _METHODS[method](pool, size)


def _random(pool: _Pool, size: int) -> NDArray[np.int64]:
    return pool.rng.permutation(len(pool.features))[:size]


def _top_u(pool: _Pool, size: int) -> NDArray[np.int64]:
    if pool.scores is None:
        raise DataError("top_u needs the uncertainty of every frame; pass scores=")
    return np.argsort(-pool.scores, kind="stable")[:size]


def _farthest_point(pool: _Pool, size: int) -> NDArray[np.int64]:
    features = pool.features
    distance2 = np.full(len(features), np.inf)
    for centre in pool.train_features:
        np.minimum(distance2, _distance2(features, centre), out=distance2)
    chosen = np.empty(size, dtype=np.int64)
    for i in range(size):
        unstarted = np.isinf(distance2).all()
        away = _distance2(features, features.mean(axis=0)) if unstarted else distance2
        pick = int(np.argmax(away))
        if away[pick] <= 0.0 and not unstarted:
            raise DataError(
                f"only {i} frames of the pool differ from the labelled ones and from each other, "
                f"but {size} are wanted; remove duplicates or choose fewer"
            )
        chosen[i] = pick
        np.minimum(distance2, _distance2(features, features[pick]), out=distance2)
    return chosen


def _distance2(features: NDArray[np.float64], centre: NDArray[np.float64]) -> NDArray[np.float64]:
    difference = features - centre
    return np.einsum("pd,pd->p", difference, difference)


_METHODS: dict[str, Callable[[_Pool, int], NDArray[np.int64]]] = {
    "random": _random,
    "top_u": _top_u,
    "farthest_point": _farthest_point,
}


def _checked(
    features: ArrayLike, train_features: ArrayLike | None, scores: ArrayLike | None, seed: int
) -> _Pool:
    pool = np.asarray(features, dtype=np.float64)
    if pool.ndim != 2:
        raise DataError(f"features have shape {pool.shape}; expected (frames, features)")
    width = pool.shape[1]
    train = np.zeros((0, width)) if train_features is None else np.asarray(train_features, float)
    if train.size == 0:
        train = train.reshape(0, width)
    if train.ndim != 2 or train.shape[1] != width:
        raise DataError(f"training features have shape {train.shape}; expected (frames, {width})")
    values = None if scores is None else np.asarray(scores, dtype=np.float64)
    if values is not None and values.shape != (len(pool),):
        raise DataError(f"scores have shape {values.shape}; expected ({len(pool)},)")
    for name, array in (("features", pool), ("training features", train), ("scores", values)):
        if array is not None and not np.isfinite(array).all():
            raise DataError(f"{name} contain NaN or infinite values; remove these frames first")
    return _Pool(pool, train, values, np.random.default_rng(seed))
