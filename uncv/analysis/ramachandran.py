"""Free energy over two dihedral angles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.analysis.backbone import phi_psi
from uncv.analysis.dihedrals import ALANINE_PHI_PSI, dihedrals
from uncv.analysis.space import PHI_PSI, cell_numbers
from uncv.data import Dataset
from uncv.errors import DataError
from uncv.units import KB_IN_EV_PER_K

if TYPE_CHECKING:
    import mdtraj


class FreeEnergyMap(NamedTuple):
    """A histogram of two angles.

    Attributes
    ----------
    edges : numpy.ndarray
        Edges of the cells (B + 1,) in radians, the same for both angles.
    free_energy : numpy.ndarray
        −k_B T ln p, (B, B), φ first, in eV; zero at the minimum, infinite where never visited.
    counts : numpy.ndarray
        Frames in each cell (B, B), without weights.
    """

    edges: NDArray[np.float64]
    free_energy: NDArray[np.float64]
    counts: NDArray[np.int64]


class ResidueMap(NamedTuple):
    """The map of one residue.

    Attributes
    ----------
    residue : str
        Its name, as ALA2.
    map : FreeEnergyMap
        Over its φ and ψ.
    """

    residue: str
    map: FreeEnergyMap


def ramachandran_by_residue(
    trajectory: mdtraj.Trajectory,
    residues: Sequence[str] = (),
    temperature: float = 300.0,
    *,
    bins: int = 36,
    weights: ArrayLike | None = None,
) -> tuple[ResidueMap, ...]:
    """Return the free energy over φ and ψ of residues of a trajectory.

    Parameters
    ----------
    trajectory : mdtraj.Trajectory
        Frames with their topology.
    residues : sequence of str
        As 'ALA2', or 'A:ALA2' with the chain; all that have φ and ψ by default.
    temperature, bins, weights
        As in `ramachandran`.

    Raises
    ------
    DataError
        If there are no frames, or there is no such residue.
    """
    return tuple(
        ResidueMap(
            found.residue,
            ramachandran(
                trajectory,
                temperature,
                bins=bins,
                weights=weights,
                atoms=[torsion.atoms for torsion in found.torsions],
            ),
        )
        for found in phi_psi(trajectory.topology, residues)
    )


def ramachandran(
    data: Dataset | mdtraj.Trajectory | ArrayLike,
    temperature: float = 300.0,
    *,
    bins: int = 36,
    weights: ArrayLike | None = None,
    atoms: ArrayLike = ALANINE_PHI_PSI,
    residue: str | None = None,
) -> FreeEnergyMap:
    """Return the free energy over φ and ψ.

    Parameters
    ----------
    data : Dataset, mdtraj.Trajectory or array_like
        Frames, or their two angles (F, 2) in radians.
    temperature : float
        Temperature in K at which the frames were sampled.
    bins : int
        Cells per angle.
    weights : array_like, optional
        Weight of each frame (F,), as from reweighting; all equal by default.
    atoms : array_like
        The two angles, (2, 4); those of alanine dipeptide by default.
    residue : str, optional
        Of a trajectory, the residue whose φ and ψ are meant, as ALA2; its topology has the atoms.

    Raises
    ------
    DataError
        If there are no frames, the angles are not two per frame, or there is no such residue.
    """
    if residue is not None:
        if not hasattr(data, "topology"):
            raise DataError("a residue is found by the topology of an MDTraj trajectory; give one")
        (found,) = phi_psi(data.topology, [residue])
        atoms = [torsion.atoms for torsion in found.torsions]
    if hasattr(data, "positions") or hasattr(data, "xyz"):
        angles = dihedrals(data, atoms, periodic=True)
    else:
        angles = np.asarray(data, dtype=np.float64)
    if angles.ndim != 2 or angles.shape[1] != 2 or len(angles) == 0:
        raise DataError(f"angles have shape {angles.shape}; expected at least one frame of φ and ψ")
    mass = np.ones(len(angles)) if weights is None else np.asarray(weights, dtype=float)
    cells, shape = cell_numbers(angles, PHI_PSI, bins), (bins, bins)
    counts = np.bincount(cells, minlength=bins * bins).reshape(shape)
    mass = np.bincount(cells, weights=mass, minlength=bins * bins).reshape(shape)
    free_energy = np.full(mass.shape, np.inf)
    seen = mass > 0
    free_energy[seen] = -KB_IN_EV_PER_K * temperature * np.log(mass[seen] / mass.max())
    return FreeEnergyMap(np.linspace(-np.pi, np.pi, bins + 1), free_energy, counts)
