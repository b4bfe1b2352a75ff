"""Dihedral angles by MDTraj."""

from __future__ import annotations

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
    data: Dataset | mdtraj.Trajectory, atoms: ArrayLike = ALANINE_PHI_PSI
) -> NDArray[np.float64]:
    """Return dihedral angles of every frame.

    Parameters
    ----------
    data : Dataset or mdtraj.Trajectory
        F frames of one molecule that is not broken across a periodic box.
    atoms : array_like
        Four atom indices for each of K angles, (K, 4) or (4,), counted from 0; φ and ψ of
        alanine dipeptide by default.

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
    if isinstance(data, Dataset):
        positions, fewest = data.positions, int(data.frame_atoms.min(initial=2**31))
        positions = positions - positions[:, quadruples[:1, 0]]  # single precision from here on
        trajectory = mdtraj.Trajectory(positions * ANGSTROM_IN_NM, topology=None)
    else:
        trajectory, fewest = data, data.n_atoms
    if quadruples.min() < 0 or quadruples.max() >= fewest:
        raise DataError(
            f"atom {quadruples.max()} is asked for, but a frame has {fewest} atoms; "
            "give indices from 0 in the order of the file"
        )
    if len(trajectory) == 0:
        return np.zeros((0, len(quadruples)))
    angles = mdtraj.compute_dihedrals(trajectory, quadruples, periodic=False)
    return (angles.astype(np.float64) + np.pi) % (2 * np.pi) - np.pi
