"""Force constants from the forces on displaced atoms; phonopy says which, and symmetrises."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from uncv.anharmonicity.harmonic import HarmonicModel
from uncv.anharmonicity.phonopy_files import harmonic_of_phonopy, import_phonopy
from uncv.data import Dataset
from uncv.errors import DataError

if TYPE_CHECKING:
    from phonopy import Phonopy

FloatArray = NDArray[np.float64]
Forces = Callable[[Dataset], FloatArray]
"""Gives the forces (F, A, 3) in eV/Å of a dataset, such as
``lambda frames: cv.potential.evaluate(frames).forces`` or
``lambda frames: oracle.label(frames).require("forces").forces``."""


def finite_displacements(
    reference: Dataset, forces: Forces, width: float = 0.01, max_force: float = 0.05
) -> HarmonicModel:
    """Return the harmonic model of a crystal from forces, by central differences.

    Only atoms and directions that symmetry does not relate are displaced, each forth and back; the
    force constants obey the symmetry of the crystal, and no force follows from a shift of all
    atoms.

    Parameters
    ----------
    reference : Dataset
        One periodic frame, at rest with these forces (see `relaxed`): the very cell of the frames
        to be judged, in the order of their atoms. Force constants include the images of an atom,
        so the cell should be wide.
    forces : callable
        Gives the forces (F, A, 3) in eV/Å of a dataset.
    width : float
        Displacement, Å.
    max_force : float
        Largest force on an atom of the reference, eV/Å.

    Raises
    ------
    DataError
        If there is another number of frames, the frame is not periodic, forces are not finite, or
        the reference is not relaxed.
    DependencyError
        If phonopy is not installed.
    """
    if len(reference) != 1 or not reference.pbc.all() or not reference.mask.all():
        raise DataError(
            f"the reference has {len(reference)} frames, periodic {reference.pbc.tolist()}; "
            "expected one that is periodic in all directions, without padding"
        )
    crystal = _crystal(reference)
    crystal.generate_displacements(distance=width, is_plusminus=True)
    moved = np.array([cell.positions for cell in crystal.supercells_with_displacements or []])
    positions = np.concatenate([reference.positions, moved])
    frames = Dataset(reference.numbers[0], positions, cell=reference.cell[0])
    found = np.asarray(forces(frames), dtype=np.float64)
    _check(found, positions.shape, max_force)
    crystal.forces = found[1:]
    crystal.produce_force_constants(calculate_full_force_constants=True)
    crystal.symmetrize_force_constants()
    # phonopy's own positions may be other images of the same atoms.
    constants = harmonic_of_phonopy(crystal).force_constants
    return HarmonicModel(reference.positions[0], reference.cell[0], constants)


def _crystal(reference: Dataset) -> Phonopy:
    """Return phonopy's view of the frame, a supercell of one: its atoms keep their order."""
    phonopy = import_phonopy()
    from ase.data import chemical_symbols
    from phonopy.structure.atoms import PhonopyAtoms

    atoms = PhonopyAtoms(
        symbols=[chemical_symbols[z] for z in reference.numbers[0]],
        positions=reference.positions[0],
        cell=reference.cell[0],
    )
    return phonopy.Phonopy(atoms, supercell_matrix=np.eye(3, dtype=int), primitive_matrix="P")


def _check(found: FloatArray, shape: tuple[int, ...], max_force: float) -> None:
    if found.shape != shape or not np.isfinite(found).all():
        raise DataError(
            f"the forces have shape {found.shape}, {np.count_nonzero(~np.isfinite(found))} of them "
            f"not finite; expected finite ones of shape {shape}"
        )
    largest = float(np.linalg.norm(found[0], axis=1).max())
    if largest > max_force:
        raise DataError(
            f"the force on an atom of the reference is {largest:.3g} eV/Å, more than "
            f"{max_force:g}; relax the atoms with the same forces first, at this cell"
        )
