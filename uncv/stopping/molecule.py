"""Distances in a molecule: all pairs of all walkers at once, without a cell."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BOND_FACTOR = 1.2
"""Two atoms of the start structure closer than this times the sum of covalent radii are bonded."""


class DistanceFactors(NamedTuple):
    """The limits of `uncv.stopping.StopRules` that speak of distances, 0 or infinite if not set.

    Attributes
    ----------
    bonded, apart : float
        Shortest distance of bonded atoms, and of others, in sums of covalent radii.
    stretch : float
        Longest bond in lengths of its start.
    """

    bonded: float
    apart: float
    stretch: float


class MoleculeGeometry:
    """Squared distances (A, A) in Å^2 between which each pair must stay.

    Parameters
    ----------
    factors : DistanceFactors
        The limits.
    numbers : numpy.ndarray
        Atomic numbers (A,).
    positions : numpy.ndarray
        Start structure (A, 3) in Å, which defines the bonds.
    """

    def __init__(
        self, factors: DistanceFactors, numbers: NDArray[np.int64], positions: FloatArray
    ) -> None:
        from ase.data import covalent_radii

        radii = covalent_radii[numbers]
        contact = radii[:, None] + radii[None, :]
        length = np.linalg.norm(positions[:, None] - positions[None, :], axis=2)
        self._bonded = (length < BOND_FACTOR * contact) & ~np.eye(len(numbers), dtype=bool)
        shortest = np.where(self._bonded, factors.bonded, factors.apart) * contact
        np.fill_diagonal(shortest, 0.0)
        bond = np.where(self._bonded, length, 1.0)
        longest = np.where(self._bonded, factors.stretch * bond, np.inf)
        # The square of a distance is a difference of larger numbers and may round below zero.
        self._shortest2 = np.where(shortest > 0, shortest**2, -1.0)
        self._longest2 = longest**2
        self.limited = any((self._shortest2 > 0).flat) or bool(np.isfinite(longest).any())

    @property
    def bonds(self) -> NDArray[np.int64]:
        """Bonded pairs of atoms (B, 2), the smaller index first."""
        return np.argwhere(np.triu(self._bonded))

    def within(self, positions: FloatArray, cells: FloatArray | None) -> NDArray[np.bool_]:
        """Return which walkers keep the limits (W,); positions (W, A, 3) in Å."""
        distance2 = _pair_distance2(positions)
        inside = (distance2 >= self._shortest2) & (distance2 <= self._longest2)
        return np.asarray(inside.all(axis=(1, 2)))

    def reason(self, positions: FloatArray, cell: FloatArray | None) -> str:
        """Return which limit one walker (A, 3) has passed, '' if none."""
        distance2 = _pair_distance2(positions[None])[0]
        short = np.argwhere(np.triu(distance2 < self._shortest2))
        long = np.argwhere(np.triu(distance2 > self._longest2))
        if not len(short) and not len(long):
            return ""
        broken, edge, text = short, self._shortest2, "are"
        if not len(short):
            broken, edge, text = long, self._longest2, "were bonded and are"
        i, j = broken[0]
        apart = np.sqrt(max(distance2[i, j], 0.0))
        limit = np.sqrt(edge[i, j])
        return f"atoms {i} and {j} {text} {apart:.3f} Å apart, the limit is {limit:.3f} Å"


def _pair_distance2(positions: FloatArray) -> FloatArray:
    distance2 = positions @ positions.transpose(0, 2, 1)
    distance2 *= -2.0
    norm2 = np.einsum("waj,waj->wa", positions, positions)
    distance2 += norm2[:, :, None]
    distance2 += norm2[:, None, :]
    return distance2
