"""Squared distances between features by matrix products, their rounding kept small."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from uncv.selection.base import SAME, FloatArray, IntArray, Pool, Rows, blocks


class Nearest(NamedTuple):
    """The nearest of some centres to each frame of a pool.

    Attributes
    ----------
    distance2 : numpy.ndarray
        Squared distance (P,); 0 to one that counts as the same frame.
    centre : numpy.ndarray
        Number of the centre (P,).
    """

    distance2: FloatArray
    centre: IntArray


class CentredPool(NamedTuple):
    """A pool around its mean, where |a|² + |b|² − 2 a·b loses few digits.

    Attributes
    ----------
    features : numpy.ndarray
        Less their mean (P, D).
    square : numpy.ndarray
        Their squared lengths (P,).
    same : numpy.ndarray
        Squared distance below which another frame is the same (P,).
    mean : numpy.ndarray
        (D,).
    """

    features: FloatArray
    square: FloatArray
    same: FloatArray
    mean: FloatArray

    @classmethod
    def of(cls, pool: Pool) -> CentredPool:
        """Return a centred copy of a pool that is not empty."""
        mean = pool.features.mean(axis=0)
        centred = pool.features - mean
        same = SAME**2 * squares(pool.features)
        return cls(centred, squares(centred), same, mean)

    def distances2(self, centres: FloatArray, rows: Rows = slice(None)) -> FloatArray:
        """Return squared distances (R, C) of rows to centred centres (C, D), 0 to the same."""
        return self.distances2_of(self.features[rows], centres, rows)

    def distances2_of(self, features: FloatArray, centres: FloatArray, rows: Rows) -> FloatArray:
        """Return the same for features (R, D) of the rows that lie together already."""
        found = features @ centres.T
        found *= -2.0
        found += self.square[rows, None]
        found += squares(centres)
        found[found <= self.same[rows, None]] = 0.0
        return found


def nearest(space: CentredPool, centres: FloatArray) -> Nearest:
    """Return the nearest of at least one centre (C, D), not centred, to each frame of a pool."""
    moved = centres - space.mean
    count = len(space.features)
    distance2, which = np.empty(count), np.empty(count, dtype=np.int64)
    for rows in blocks(count, len(moved)):
        found = space.distances2(moved, rows)
        which[rows] = found.argmin(axis=1)
        distance2[rows] = found.min(axis=1)
    return Nearest(distance2, which)


def squares(rows: FloatArray) -> FloatArray:
    """Return the squared lengths (R,) of rows (R, D)."""
    return np.einsum("rd,rd->r", rows, rows)
