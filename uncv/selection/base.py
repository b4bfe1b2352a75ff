"""The pool that frames are chosen from, checked once for all methods."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.errors import DataError

Method = Literal["random", "top_u", "threshold", "farthest_point", "max_det", "lcmd"]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Rows = slice | IntArray
"""Some frames of a pool."""

SAME = 1e-6
"""Two frames are the same if their features differ by less than this part of their length."""
BLOCK = 2_000_000
"""Numbers in the intermediate array of a blocked product, 16 MB."""


class Pool(NamedTuple):
    """What a method chooses from, in float64.

    Attributes
    ----------
    features : numpy.ndarray
        Of the pool (P, D).
    train : numpy.ndarray
        Features of what is labelled already (T, D).
    scores : numpy.ndarray or None
        Uncertainties (P,).
    window : tuple of float or None
        Lowest and highest score that may be chosen.
    seed : int
        For what is drawn.
    """

    features: FloatArray
    train: FloatArray
    scores: FloatArray | None
    window: tuple[float, float] | None
    seed: int

    @classmethod
    def checked(
        cls,
        features: ArrayLike,
        train: ArrayLike | None,
        scores: ArrayLike | None,
        window: tuple[float, float] | None,
        seed: int,
    ) -> Pool:
        """Return the pool, without a copy of features that are float64 already.

        Raises
        ------
        DataError
            If shapes do not fit, or a value is NaN or infinite.
        """
        pool = np.asarray(features, dtype=np.float64)
        if pool.ndim != 2:
            raise DataError(f"features have shape {pool.shape}; expected (frames, features)")
        known = _training_features(train, pool.shape[1])
        values = None if scores is None else np.asarray(scores, dtype=np.float64)
        if values is not None and values.shape != (len(pool),):
            raise DataError(f"scores have shape {values.shape}; expected ({len(pool)},)")
        for name, array in (("features", pool), ("training features", known), ("scores", values)):
            if array is not None and not np.isfinite(array).all():
                raise DataError(f"{name} contain NaN or infinite values; remove these frames first")
        return cls(pool, known, values, window, seed)


def blocks(rows: int, columns: int) -> list[slice]:
    """Return slices of rows so that a product of one of them with the columns is of `BLOCK` size.

    >>> blocks(5, BLOCK // 2)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    step = max(1, BLOCK // max(1, columns))
    return [slice(begin, min(begin + step, rows)) for begin in range(0, rows, step)]


def exhausted(found: int, wanted: int) -> DataError:
    """Return the error of a pool with too few frames that tell anything new."""
    return DataError(
        f"only {found} frames of the pool differ from the labelled ones and from each other, "
        f"but {wanted} are wanted; remove duplicates or choose fewer"
    )


def _training_features(train: ArrayLike | None, width: int) -> FloatArray:
    known = np.zeros((0, width)) if train is None else np.asarray(train, dtype=np.float64)
    if known.size == 0:
        known = known.reshape(0, width)
    if known.ndim != 2 or known.shape[1] != width:
        raise DataError(f"training features have shape {known.shape}; expected (frames, {width})")
    return known
