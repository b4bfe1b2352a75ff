"""Always the frame farthest from all that is known: MaxDist."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uncv.selection.base import FloatArray, IntArray, Pool
from uncv.selection.distances import CentredPool, nearest
from uncv.selection.greedy import FallingScores, Part


def farthest_point(pool: Pool, size: int) -> IntArray:
    """Return frames, each the farthest from the training data and the choices before it.

    Without training data the first is the farthest from the mean of the pool.

    Raises
    ------
    DataError
        If fewer frames differ from the training data and from each other.

    Notes
    -----
    MaxDist of Holzmüller et al., JMLR 24 (2023); O(P (T + size) D).
    """
    if size == 0:
        return np.zeros(0, dtype=np.int64)
    space = CentredPool.of(pool)
    first = [] if len(pool.train) else [int(np.argmax(space.square))]
    known = nearest(space, pool.features[first] if first else pool.train)
    return _Distances(space, known.distance2, size, first).select()


class _Distances(FallingScores):
    """Squared distances to the nearest known frame."""

    def __init__(
        self, space: CentredPool, distance2: FloatArray, size: int, chosen: Sequence[int] = ()
    ) -> None:
        super().__init__(space.features, distance2, size, chosen)
        self._space = space
        self._centres = np.zeros((size, space.features.shape[1]))

    def take(self, pick: int) -> None:
        """Add a centre."""
        self._centres[len(self.chosen)] = self.features[pick]

    def lowered(self, part: Part, since: int) -> FloatArray:
        """Return the smaller of the old distances and those to the newer centres."""
        centres = self._centres[since : len(self.chosen)]
        found = self._space.distances2_of(part.features, centres, part.rows)
        return np.minimum(part.scores, found.min(axis=1, initial=np.inf))
