"""Atoms brought to where they feel no force, at a fixed cell; ASE's BFGS moves them."""

from __future__ import annotations

from typing import Any

import numpy as np

from uncv.anharmonicity.displacements import Forces
from uncv.data import Dataset
from uncv.errors import DataError


def relaxed(
    reference: Dataset, forces: Forces, max_force: float = 1e-3, steps: int = 500
) -> Dataset:
    """Return a crystal with its atoms at rest, ready for `finite_displacements`.

    Parameters
    ----------
    reference : Dataset
        One frame; its cell stays.
    forces : callable
        Gives the forces (F, A, 3) in eV/Å of a dataset.
    max_force : float
        Largest force on an atom in the end, eV/Å.
    steps : int
        At most.

    Raises
    ------
    DataError
        If there is another number of frames, or the forces are larger after so many steps.
    """
    from ase import Atoms
    from ase.calculators.calculator import Calculator
    from ase.optimize import BFGS

    if len(reference) != 1 or not reference.mask.all():
        raise DataError(f"the reference has {len(reference)} frames; expected one, without padding")

    class OfForces(Calculator):
        implemented_properties = ["energy", "forces"]  # noqa: RUF012 - as ASE has it

        def calculate(
            self, atoms: Any = None, properties: Any = None, system_changes: Any = None
        ) -> None:
            super().calculate(atoms, properties, system_changes)
            found = np.asarray(forces(_moved(reference, atoms.positions)), dtype=np.float64)
            self.results = {"energy": 0.0, "forces": found[0]}  # BFGS reports the one, no more

    atoms = Atoms(
        reference.numbers[0],
        reference.positions[0],
        cell=reference.cell[0],
        pbc=reference.pbc[0],
        calculator=OfForces(),
    )
    if not BFGS(atoms, logfile=None).run(fmax=max_force, steps=steps):
        largest = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
        raise DataError(
            f"after {steps} steps the force on an atom is still {largest:.3g} eV/Å (wanted "
            f"{max_force:g}); begin nearer to the minimum, or allow more steps"
        )
    return _moved(reference, atoms.positions)


def _moved(reference: Dataset, positions: np.ndarray) -> Dataset:
    return Dataset(reference.numbers, positions[None], reference.cell, reference.pbc)
