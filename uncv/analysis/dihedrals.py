"""Dihedral angles by MDTraj."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.data import Dataset
from uncv.errors import DataError
from uncv.units import ANGSTROM_IN_NM

if TYPE_CHECKING:
    import mdtraj

ALANINE_PHI_PSI = ((4, 6, 8, 14), (6, 8, 14, 16))
"""φ and ψ of alanine dipeptide, atoms counted from 0 in the order ACE-ALA-NME."""


def dihedrals(
    data: Dataset | mdtraj.Trajectory,
    atoms: ArrayLike = ALANINE_PHI_PSI,
    *,
    periodic: bool = False,
) -> NDArray[np.float64]:
    """Return dihedral angles of every frame.

    Parameters
    ----------
    data : Dataset or mdtraj.Trajectory
        F frames.
    atoms : array_like
        Four atom indices for each of K angles, (K, 4) or (4,), counted from 0; φ and ψ of
        alanine dipeptide by default.
    periodic : bool
        Whether bonds are taken between nearest images, where frames have a cell, so that a molecule
        may be broken across its faces.

    Returns
    -------
    numpy.ndarray
        Angles (F, K) in radians, [−π, π), IUPAC sign.

    Raises
    ------
    DataError
        If an index is not an atom of every frame.
    """
    import mdtraj

    quadruples = np.atleast_2d(np.asarray(atoms, dtype=np.int64))
    if quadruples.ndim != 2 or quadruples.shape[1] != 4:
        raise DataError(f"atoms have shape {np.shape(atoms)}; expected (angles, 4) indices")
    check_atoms(data, quadruples.ravel())
    if len(data) == 0:
        return np.zeros((0, len(quadruples)))
    trajectory = as_trajectory(data, int(quadruples[0, 0]))
    angles = mdtraj.compute_dihedrals(trajectory, quadruples, periodic=periodic)
    return (angles.astype(np.float64) + np.pi) % (2 * np.pi) - np.pi


def check_atoms(data: Dataset | mdtraj.Trajectory, atoms: Sequence[int] | NDArray) -> None:
    """Refuse atoms that are not there.

    Raises
    ------
    DataError
        If an index is not an atom of every frame.
    """
    fewest = int(data.frame_atoms.min(initial=2**31)) if isinstance(data, Dataset) else data.n_atoms
    wrong = [int(atom) for atom in atoms if not 0 <= atom < fewest]
    if wrong:
        raise DataError(
            f"atom {wrong[0]} is asked for, but a frame has {fewest} atoms; "
            "give indices from 0 in the order of the file"
        )


def as_trajectory(data: Dataset | mdtraj.Trajectory, near: int) -> mdtraj.Trajectory:
    """Return frames as MDTraj has them, in single precision around an atom, without a topology."""
    import mdtraj

    if not isinstance(data, Dataset):
        return data
    positions = data.positions - data.positions[:, near : near + 1]
    xyz = (positions * ANGSTROM_IN_NM).astype(np.float32)
    trajectory = mdtraj.Trajectory(xyz, topology=None)
    if data.pbc.all() and len(data):
        trajectory.unitcell_vectors = (data.cell * ANGSTROM_IN_NM).astype(np.float32)
    return trajectory
