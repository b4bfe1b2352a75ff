"""Bonds about which a part of a molecule can turn, from its connectivity."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncv.data import Dataset
from uncv.errors import ConfigError, DataError
from uncv.stopping import StopRules

IntArray = NDArray[np.int64]
LINEAR = 0.1
"""Atoms within so many Å of the axis of a bond all round are not turned by it."""


class Rotor(NamedTuple):
    """A bond and what turns about it.

    Attributes
    ----------
    fixed, turning : int
        Its two atoms; the axis points from the first to the second.
    atoms : numpy.ndarray
        Atoms (K,) that turn: the smaller side of the bond, without its own atom.
    """

    fixed: int
    turning: int
    atoms: IntArray


def rotors(frames: Dataset, given: tuple[tuple[int, int], ...] | None = None) -> list[Rotor]:
    """Return the bonds of a molecule about which something turns.

    Two atoms closer than 1.2 times the sum of their covalent radii are bonded, as for stop rules.
    Without a choice these are all bonds outside of rings with atoms off their axis on both sides,
    double bonds included: a geometry does not tell them apart.

    Parameters
    ----------
    frames : Dataset
        Structures (F frames) of one molecule, with the same bonds.
    given : tuple of (int, int), optional
        Pairs of atoms to take instead.

    Raises
    ------
    DataError
        If frames are periodic, of several molecules or with other bonds, or nothing can turn.
    ConfigError
        If a pair given is no bond, is part of a ring, or turns nothing.
    """
    bonds = _bonds(frames)
    atoms = int(frames.frame_atoms[0])
    known = {(int(i), int(j)) for i, j in bonds}
    if given is None:
        found = [_rotor(bonds, pair, frames.positions[0, :atoms]) for pair in sorted(known)]
        chosen = [rotor for rotor in found if isinstance(rotor, Rotor)]
        if not chosen:
            raise DataError(
                "the molecule has no bond about which a part of it turns; attack displacements "
                "instead, or give the bonds"
            )
        return chosen
    made = []
    for i, j in given:
        pair = (min(i, j), max(i, j))
        if pair not in known:
            raise ConfigError(
                f"atoms {i} and {j} are not bonded in the first frame; expected bonded pairs"
            )
        rotor = _rotor(bonds, pair, frames.positions[0, :atoms])
        if isinstance(rotor, str):
            raise ConfigError(f"the bond of atoms {i} and {j} {rotor}; leave it out")
        made.append(rotor)
    return made


def _bonds(frames: Dataset) -> IntArray:
    """Return the bonds (B, 2) that all frames have."""
    if frames.pbc.any():
        raise DataError("torsions are those of molecules, the frames are periodic; leave them out")
    if (frames.numbers != frames.numbers[0]).any():
        raise DataError("torsions need frames of one molecule, found several; attack each alone")
    real = frames.mask[0]
    first: IntArray | None = None
    for number, positions in enumerate(frames.positions[:, real]):
        bonds = StopRules().prepare(frames.numbers[0][real], positions).bonds
        if first is None:
            first = bonds
        elif not np.array_equal(bonds, first):
            raise DataError(
                f"frame {number} has other bonds than frame 0, so torsions differ; attack frames "
                "with other bonds alone"
            )
    return np.zeros((0, 2), dtype=np.int64) if first is None else first


def _rotor(bonds: IntArray, pair: tuple[int, int], positions: NDArray[np.float64]) -> Rotor | str:
    """Return what turns about a bond, or why nothing does."""
    side = _side(bonds, pair, len(positions))
    if side is None:
        return "is part of a ring"
    first, second = pair
    if 2 * side.sum() <= len(positions):
        first, second, side = second, first, ~side
    # What turns is the smaller side, that of the second atom.
    turning = np.flatnonzero(~side)
    turning = turning[turning != second]
    still = np.flatnonzero(side)
    still = still[still != first]
    axis = positions[second] - positions[first]
    for atoms in (turning, still):
        if not _off_axis(positions[atoms] - positions[first], axis):
            return "turns nothing: on one side all atoms lie on its axis"
    return Rotor(first, second, turning)


def _side(bonds: IntArray, pair: tuple[int, int], atoms: int) -> NDArray[np.bool_] | None:
    """Return the atoms (A,) on the first atom's side of a bond, None if it is part of a ring."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    rest = bonds[(bonds != pair).any(axis=1)]
    ones = np.ones(len(rest))
    graph = coo_matrix((ones, (rest[:, 0], rest[:, 1])), shape=(atoms, atoms))
    _, part = connected_components(graph, directed=False)
    # A second molecule belongs to the side that stays.
    return None if part[pair[0]] == part[pair[1]] else part != part[pair[1]]


def _off_axis(vectors: NDArray[np.float64], axis: NDArray[np.float64]) -> bool:
    away = np.linalg.norm(np.cross(vectors, axis), axis=1) / np.linalg.norm(axis)
    return bool((away > LINEAR).any())
