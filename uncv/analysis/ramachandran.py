"""Free energy over two dihedral angles."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.analysis.dihedrals import ALANINE_PHI_PSI, dihedrals
from uncv.analysis.surface import cells_of
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


def ramachandran(
    data: Dataset | mdtraj.Trajectory | ArrayLike,
    temperature: float = 300.0,
    *,
    bins: int = 36,
    weights: ArrayLike | None = None,
    atoms: ArrayLike = ALANINE_PHI_PSI,
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

    Raises
    ------
    DataError
        If there are no frames, or the angles are not two per frame.
    """
    if hasattr(data, "positions") or hasattr(data, "xyz"):
        angles = dihedrals(data, atoms)
    else:
        angles = np.asarray(data, dtype=np.float64)
    if angles.ndim != 2 or angles.shape[1] != 2 or len(angles) == 0:
        raise DataError(f"angles have shape {angles.shape}; expected at least one frame of φ and ψ")
    mass = np.ones(len(angles)) if weights is None else np.asarray(weights, dtype=float)
    cells, shape = cells_of(angles, bins), (bins, bins)
    counts = np.bincount(cells, minlength=bins * bins).reshape(shape)
    mass = np.bincount(cells, weights=mass, minlength=bins * bins).reshape(shape)
    free_energy = np.full(mass.shape, np.inf)
    seen = mass > 0
    free_energy[seen] = -KB_IN_EV_PER_K * temperature * np.log(mass[seen] / mass.max())
    return FreeEnergyMap(np.linspace(-np.pi, np.pi, bins + 1), free_energy, counts)
