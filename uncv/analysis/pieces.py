"""Frames by the piece of a run that they belong to, without a loop over frames."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

IntArray = NDArray[np.int64]


class Pieces(NamedTuple):
    """Where the frames of each piece are.

    Attributes
    ----------
    labels : numpy.ndarray
        Of each piece (P,), ascending.
    order : numpy.ndarray or slice
        Frames piece by piece, in their own order within each: an index of any array (F, …).
    bounds : numpy.ndarray
        Piece p lies at ``bounds[p]:bounds[p + 1]`` of that order (P + 1,).
    """

    labels: NDArray
    order: NDArray[np.int64] | slice
    bounds: IntArray

    @property
    def lengths(self) -> IntArray:
        """Frames in each piece (P,)."""
        return np.diff(self.bounds)

    def number(self) -> IntArray:
        """Return the number of the piece of each frame (F,), from 0, frames as they were given."""
        numbers = np.repeat(np.arange(len(self.labels)), self.lengths)
        if isinstance(self.order, slice):
            return numbers
        back = np.empty_like(numbers)
        back[self.order] = numbers
        return back

    def split(self, values: NDArray) -> list[NDArray]:
        """Return the values of each piece, a list of P arrays."""
        ordered = values[self.order]
        return [ordered[a:b] for a, b in zip(self.bounds[:-1], self.bounds[1:], strict=True)]


def pieces_of(labels: ArrayLike) -> Pieces:
    """Return the pieces of frames by their labels (F,), of any kind that can be sorted.

    Examples
    --------
    >>> pieces_of([1, 0, 1]).split(np.array([0.1, 0.2, 0.3]))
    [array([0.2]), array([0.1, 0.3])]
    """
    given = np.asarray(labels)
    if len(given) == 0:
        return Pieces(given, slice(None), np.zeros(1, dtype=np.int64))
    sorted_already = bool((given[1:] >= given[:-1]).all())
    order = slice(None) if sorted_already else np.argsort(given, kind="stable")
    ordered = given[order]
    begins = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    return Pieces(ordered[begins], order, np.append(begins, len(given)))
