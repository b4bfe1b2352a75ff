"""Distances in a crystal: bonds through the boundary of a cell that changes, any cell size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uncv.stopping.images import ImagePairs, image_pairs
from uncv.stopping.molecule import BOND_FACTOR, DistanceFactors

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
SHOWN = 1.25
"""Bonds are searched so far beyond their longest limit, to tell the length of a broken one."""


class CrystalGeometry:
    """Limits of the distances of atoms and images.

    Two atoms have as many bonds as images of them were bonded in the start structure; later these
    are their nearest images, whatever cell each atom has meanwhile been moved into.

    Parameters
    ----------
    factors : DistanceFactors
        The limits.
    numbers : numpy.ndarray
        Atomic numbers (A,).
    positions, cell, pbc : numpy.ndarray
        Start structure (A, 3) and its cell (3, 3) in Å, and periodic directions (3,).
    """

    def __init__(
        self,
        factors: DistanceFactors,
        numbers: NDArray[np.int64],
        positions: FloatArray,
        cell: FloatArray,
        pbc: NDArray[np.bool_],
    ) -> None:
        from ase.data import covalent_radii

        self._factors, self._cell, self._pbc = factors, cell, pbc
        self._radii = covalent_radii[numbers]
        contact = 2.0 * float(self._radii.max())
        near = image_pairs(positions, cell, pbc, BOND_FACTOR * contact)
        bonded = near.distance < BOND_FACTOR * self._contact(near)
        self._start = near.chosen(bonded)
        self._keys, self._begin, self._count = np.unique(
            self._key(self._start), return_index=True, return_counts=True
        )
        longest = factors.stretch * self._start.distance
        far = SHOWN * longest.max() if len(longest) and np.isfinite(factors.stretch) else 0.0
        self._radius = max(far, contact * max(factors.bonded, factors.apart))
        self.limited = self._radius > 0.0

    @property
    def bonds(self) -> IntArray:
        """Bonded pairs of atoms (B, 2), the smaller index first; one row for each image."""
        start = self._start
        once = (start.first < start.second) | (start.rank % 2 == 0)
        return np.stack([start.first[once], start.second[once]], axis=1)

    def within(self, positions: FloatArray, cells: FloatArray | None) -> NDArray[np.bool_]:
        """Return which walkers (W,) keep the limits.

        Parameters
        ----------
        positions : numpy.ndarray
            (W, A, 3) in Å.
        cells : numpy.ndarray or None
            Of all walkers (3, 3) or of each (W, 3, 3) in Å; that of the start if None.
        """
        each = np.broadcast_to(self._cell if cells is None else cells, (len(positions), 3, 3))
        kept = [not self.reason(x, c) for x, c in zip(positions, each, strict=True)]
        return np.array(kept, dtype=np.bool_)

    def reason(self, positions: FloatArray, cell: FloatArray | None) -> str:
        """Return which limit one walker (A, 3) has passed, '' if none."""
        if not np.isfinite(positions).all():
            return "a position is not finite"
        cell = self._cell if cell is None else cell
        filled = np.where(self._pbc[:, None], cell, np.eye(3))
        if not np.isfinite(cell).all() or abs(np.linalg.det(filled)) < 1e-6:
            return "the cell has no volume"
        pairs = image_pairs(positions, cell, self._pbc, self._radius)
        length = self._start_length(pairs)
        return self._contact_reason(pairs, length > 0) or self._bond_reason(pairs, length)

    def _contact_reason(self, pairs: ImagePairs, bonded: NDArray[np.bool_]) -> str:
        factor = np.where(bonded, self._factors.bonded, self._factors.apart)
        limit = factor * self._contact(pairs)
        short = np.flatnonzero(pairs.distance < limit)
        if not len(short):
            return ""
        return _said(pairs, int(short[0]), "are", float(limit[short[0]]))

    def _bond_reason(self, pairs: ImagePairs, length: FloatArray) -> str:
        if np.isinf(self._factors.stretch):
            return ""
        limit = self._factors.stretch * length
        long = np.flatnonzero((length > 0) & (pairs.distance > limit))
        if len(long):
            return _said(pairs, int(long[0]), "were bonded and are", float(limit[long[0]]))
        if (length > 0).sum() == len(self._start.distance):
            return ""
        present = np.isin(self._key(self._start), self._key(pairs)[length > 0])
        gone = int(np.flatnonzero(~present)[0]) if not present.all() else 0
        limit_gone = self._factors.stretch * float(self._start.distance[gone])
        both = _both(int(self._start.first[gone]), int(self._start.second[gone]))
        return (
            f"{both} were bonded and are more than {self._radius:.3f} Å apart, "
            f"the limit is {limit_gone:.3f} Å"
        )

    def _start_length(self, pairs: ImagePairs) -> FloatArray:
        """Return the length in the start structure of those pairs (P,) that are bonds, 0 else."""
        if not len(self._keys):
            return np.zeros(len(pairs.first))
        key = self._key(pairs)
        place = np.minimum(np.searchsorted(self._keys, key), len(self._keys) - 1)
        bonded = (self._keys[place] == key) & (pairs.rank < self._count[place])
        at = np.where(bonded, self._begin[place] + pairs.rank, 0)
        return np.where(bonded, self._start.distance[at], 0.0)

    def _key(self, pairs: ImagePairs) -> IntArray:
        return pairs.first * len(self._radii) + pairs.second

    def _contact(self, pairs: ImagePairs) -> FloatArray:
        return self._radii[pairs.first] + self._radii[pairs.second]


def _said(pairs: ImagePairs, at: int, text: str, limit: float) -> str:
    both = _both(int(pairs.first[at]), int(pairs.second[at]))
    return f"{both} {text} {pairs.distance[at]:.3f} Å apart, the limit is {limit:.3f} Å"


def _both(first: int, second: int) -> str:
    if first == second:
        return f"atom {first} and an image of it"
    return f"atoms {first} and {second}"
