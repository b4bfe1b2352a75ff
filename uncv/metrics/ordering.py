"""Points in the order of one quantity, ties as groups, so that resamples are not sorted again."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from uncv.metrics.bootstrap import FloatArray, Points

Number = TypeVar("Number", np.float64, np.intp)


class Ordering:
    """The ascending order of some values.

    Parameters
    ----------
    values : numpy.ndarray
        What is sorted (n,).
    data : Points
        The points they belong to.

    Attributes
    ----------
    order : numpy.ndarray
        The points from the smallest value to the largest (n,).
    group : numpy.ndarray
        Which of the G different values each point has, in that order (n,).
    tied : bool
        Whether G < n.
    """

    def __init__(self, values: FloatArray, data: Points) -> None:
        self.order: NDArray[np.intp] = np.argsort(values, kind="stable")
        new = np.diff(values[self.order], prepend=-np.inf) > 0
        self.group: NDArray[np.intp] = np.cumsum(new) - 1
        self._starts = np.flatnonzero(new)
        self.tied = len(self._starts) < len(new)
        self._frame = data.frame[self.order]

    def weights(self, frames: NDArray[Number]) -> NDArray[Number]:
        """Return the weights of the points in this order (B, n) from those of the frames (B, F)."""
        return np.take(frames, self._frame, axis=1)

    def sums(self, values: NDArray[Number]) -> NDArray[Number]:
        """Return sums over ties (B, G) of what is given in this order (B, n)."""
        return np.add.reduceat(values, self._starts, axis=1) if self.tied else values

    def group_of_points(self) -> NDArray[np.intp]:
        """Return the group of each point (n,), in the order in which the points were given."""
        places = np.empty_like(self.group)
        places[self.order] = self.group
        return places
