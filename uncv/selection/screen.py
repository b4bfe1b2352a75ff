"""Which frames can be closer to a new centre than to their own: bounds before distances.

For orthonormal axes Q and what they leave of a vector, r = |x − Q Qᵀx|, the inequality of Cauchy
and Schwarz gives |x − y|² ≥ |x|² + |y|² − 2 (Qᵀx · Qᵀy + r_x r_y). Along the main axes of a pool,
where most of its spread is, a few columns rule out nearly all frames. Where they do not, the
features themselves do so in single precision, which takes half the time of double: reading them
from memory is all it costs. Both bounds allow for their rounding, so nothing is ever missed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uncv.selection.base import FloatArray, IntArray
from uncv.selection.distances import CentredPool, squares
from uncv.thread_limit import ThreadLimit

AXES = 32
SAMPLE = 512
"""Frames from which the axes are found; they make bounds tight, not right."""
FEW = 1 / 16
"""Part of the pool that is worth a closer look."""


class Screen:
    """Lower bounds of squared distances within a pool."""

    def __init__(self, space: CentredPool) -> None:
        self._space = space
        self._length = np.sqrt(space.square)
        self._narrow = _main_part(space)
        self._wide: NDArray[np.float32] | None = None

    def maybe_closer(self, pick: int, distance2: FloatArray) -> IntArray:
        """Return all frames that may be closer to a frame than the square roots of these (P,)."""
        rows = self._not_excluded(self._narrow, pick, distance2)
        if len(rows) <= FEW * len(distance2):
            return rows
        if self._wide is None:
            self._wide = self._space.features.astype(np.float32)
        return self._not_excluded(self._wide, pick, distance2)

    def _not_excluded(
        self, table: NDArray[np.float32], pick: int, distance2: FloatArray
    ) -> IntArray:
        products = (table @ table[pick]).astype(np.float64)
        rounding = (table.shape[1] + 4) * float(np.finfo(np.float32).eps)
        products += rounding * self._length[pick] * self._length
        bound = self._space.square + self._space.square[pick] - 2.0 * products
        return np.flatnonzero(bound < distance2)


def _main_part(space: CentredPool) -> NDArray[np.float32]:
    """Return Qᵀx and r of every frame (P, K + 1)."""
    features = space.features
    sample = features[:: max(1, len(features) // SAMPLE)]
    with ThreadLimit(1):  # a decomposition waits for its threads thousands of times
        _, vectors = np.linalg.eigh(sample @ sample.T)
        axes, _ = np.linalg.qr(sample.T @ vectors[:, -AXES:])
    along = features @ axes
    rest = np.sqrt(np.maximum(space.square - squares(along), 0.0))
    return np.column_stack([along, rest]).astype(np.float32)
