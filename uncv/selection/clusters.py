"""The farthest member of the largest cluster, again and again: LCMD.

Every frame belongs to the nearest known frame. A choice is made where frames are many or far:
unlike the farthest of all, an outlier alone is not the first.
"""

from __future__ import annotations

import numpy as np

from uncv.selection.base import FloatArray, IntArray, Pool, Rows, exhausted
from uncv.selection.distances import CentredPool, nearest
from uncv.selection.screen import Screen

MANY = 1 / 8
"""Part of the pool from which on all of it is looked at: its features lie together already."""


def lcmd(pool: Pool, size: int) -> IntArray:
    """Return frames, each the farthest member of the cluster with the largest Σ distance².

    The training data are the first centres. Without them, the first choice is the frame farthest
    from the mean of the pool.

    Raises
    ------
    DataError
        If fewer frames differ from the training data and from each other.

    Notes
    -----
    Largest cluster maximum distance of Holzmüller et al., JMLR 24 (2023); O(P (T + size) D).
    """
    if size == 0:
        return np.zeros(0, dtype=np.int64)
    space = CentredPool.of(pool)
    first = [] if len(pool.train) else [int(np.argmax(space.square))]
    clusters = _Clusters(space, pool.features[first] if first else pool.train)
    chosen = [*first]
    while len(chosen) < size:
        pick = clusters.next()
        if clusters.distance2[pick] <= 0.0:
            raise exhausted(len(chosen), size)
        clusters.add(pick)
        chosen.append(pick)
    return np.array(chosen, dtype=np.int64)


class _Clusters:
    """Which centre each frame of a pool is nearest to, and the squared distance."""

    def __init__(self, space: CentredPool, centres: FloatArray) -> None:
        self.centres = len(centres)
        self.distance2, self.centre = nearest(space, centres)
        self._space = space
        self._screen = Screen(space)

    def next(self) -> int:
        """Return the farthest member of the cluster with the largest sum of squared distances."""
        sums = np.bincount(self.centre, self.distance2, minlength=self.centres)
        members = np.flatnonzero(self.centre == np.argmax(sums))
        return int(members[np.argmax(self.distance2[members])])

    def add(self, pick: int) -> None:
        """Make a frame a centre."""
        maybe = self._screen.maybe_closer(pick, self.distance2)
        rows: Rows = maybe if len(maybe) < MANY * len(self.centre) else slice(None)
        found = self._space.distances2(self._space.features[[pick]], rows)[:, 0]
        closer = np.arange(len(self.centre))[rows][found < self.distance2[rows]]
        self.distance2[rows] = np.minimum(self.distance2[rows], found)
        self.centre[closer] = self.centres
        self.distance2[pick] = 0.0
        self.centre[pick] = self.centres
        self.centres += 1
