"""Always the frame that the others say least of: greedy D-optimal choice, MaxDet.

With features φ of root mean square length 1 and noise σ, a linear model that has seen the frames Φ
has the posterior variance v = σ² φᵀ(ΦᵀΦ + σ²)⁻¹φ. The frame of largest v adds the factor
1 + v/σ² to the determinant of Φ Φᵀ + σ². In place of the matrix, its Cholesky factor over the whole
pool is updated: with Σ = σ²(ΦᵀΦ + σ²)⁻¹ = 1 − W Wᵀ, a choice adds the column
w = Σφ / √(σ² + v) to W and takes (φ·w)² from every variance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uncv.selection.base import SAME, FloatArray, IntArray, Pool, blocks
from uncv.selection.distances import CentredPool, nearest, squares
from uncv.selection.greedy import FallingScores, Part
from uncv.thread_limit import ThreadLimit

SIGMA = 0.01
"""Noise, relative to features of mean square 1."""


def max_det(pool: Pool, size: int) -> IntArray:
    """Return frames, each of the largest posterior variance given all before it.

    The features are scaled to mean square 1 over the training data, or over the pool where there
    is none.

    Raises
    ------
    DataError
        If fewer frames differ from the training data and from each other, or have features that
        are not all zero.

    Notes
    -----
    MaxDet of Holzmüller et al., JMLR 24 (2023); O((P + T) (min(T, D) + size) D).
    """
    if size == 0:
        return np.zeros(0, dtype=np.int64)
    return _Variances(pool, size).select()


class _Variances(FallingScores):
    """Posterior variances; the features stay as they are, and the noise has their scale."""

    def __init__(self, pool: Pool, size: int) -> None:
        known = pool.train if squares(pool.train).any() else pool.features
        self._noise2 = SIGMA**2 * float(squares(known).mean())
        learnt = columns_of(pool.train, self._noise2)
        super().__init__(pool.features, variances(pool.features, learnt), size)
        self._learnt = learnt.shape[1]
        self._columns = np.zeros((len(learnt), self._learnt + size))
        self._columns[:, : self._learnt] = learnt
        self._pool = pool
        self._repeats: NDArray[np.bool_] | None = None

    def take(self, pick: int) -> None:
        """Add a column to W."""
        row, end = self.features[pick], self._learnt + len(self.chosen)
        before = self._columns[:, :end]
        left = row - before @ (before.T @ row)
        self._columns[:, end] = left / np.sqrt(self._noise2 + max(float(row @ left), 0.0))

    def lowered(self, part: Part, since: int) -> FloatArray:
        """Return the old variances less what the newer columns explain."""
        columns = self._columns[:, self._learnt + since : self._learnt + len(self.chosen)]
        return part.scores - squares(part.features @ columns)

    def is_known(self, pick: int, score: float) -> bool:
        """Return whether a frame is the same as one of the training data or of the choices.

        What has been seen has a variance below σ²: the others need no comparison.
        """
        row = self.features[pick]
        length = float(np.linalg.norm(row))
        if score > (np.sqrt(self._noise2) + SAME * length) ** 2:
            return False
        if self._repeats is None:
            self._repeats = _repeats(self._pool)
        apart = squares(self.features[self.chosen] - row)
        return bool(self._repeats[pick]) or bool((apart <= (SAME * length) ** 2).any())


def columns_of(train: FloatArray, noise2: float) -> FloatArray:
    """Return W (D, min(T, D)) of training features (T, D): 1 − W Wᵀ = σ² (ΦᵀΦ + σ²)⁻¹."""
    if len(train) == 0:
        return np.zeros((train.shape[1], 0))
    with ThreadLimit(1):  # a decomposition waits for its threads thousands of times
        triangle = np.linalg.qr(train, mode="r")
        _, lengths, axes = np.linalg.svd(triangle, full_matrices=False)
    share = lengths**2 / np.maximum(lengths**2 + noise2, np.finfo(float).tiny)
    return axes.T * np.sqrt(share)


def variances(features: FloatArray, columns: FloatArray) -> FloatArray:
    """Return |φ|² − |Wᵀφ|² (P,) of features (P, D)."""
    found = squares(features)
    for rows in blocks(len(features), columns.shape[1]):
        found[rows] -= squares(features[rows] @ columns)
    return np.maximum(found, 0.0)


def _repeats(pool: Pool) -> NDArray[np.bool_]:
    """Return which frames of the pool are the same as one of the training data (P,)."""
    if len(pool.train) == 0:
        return np.zeros(len(pool.features), dtype=np.bool_)
    return nearest(CentredPool.of(pool), pool.train).distance2 <= 0.0
