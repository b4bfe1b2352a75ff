"""Labels of any calculator of ASE."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms

from uncv.data import Dataset
from uncv.errors import ConfigError
from uncv.oracles.base import FrameOracle, Labels


class AseOracle(FrameOracle):
    """Labels frames with a calculator of ASE: energies, forces, and stress in a periodic cell.

    Parameters
    ----------
    calculator : ase.calculators.calculator.Calculator
        Asked for one frame after the other, each time with new atoms.
    level_of_theory : str, optional
        Recorded with every frame; the name of the calculator's class by default.
    stress : bool, optional
        Whether frames that are periodic in all directions get a stress; by default if the
        calculator says that it has one.
    max_force : float, optional
        A frame with a larger force on an atom (eV/Å) counts as failed.

    Raises
    ------
    ConfigError
        If the calculator gives no energy or no forces.

    Examples
    --------
    >>> from ase.calculators.lj import LennardJones
    >>> AseOracle(LennardJones()).level_of_theory
    'LennardJones'
    """

    def __init__(
        self,
        calculator: Any,
        level_of_theory: str | None = None,
        *,
        stress: bool | None = None,
        max_force: float | None = None,
    ) -> None:
        super().__init__(level_of_theory or type(calculator).__name__, max_force)
        offered = set(getattr(calculator, "implemented_properties", ()))
        missing = sorted({"energy", "forces"} - offered)
        if missing:
            raise ConfigError(
                f"{type(calculator).__name__} gives no {' and no '.join(missing)}; expected a "
                "calculator of ASE with both among its implemented_properties"
            )
        if stress and "stress" not in offered:
            raise ConfigError(f"{type(calculator).__name__} gives no stress; leave stress= out")
        self.calculator = calculator
        self.stress = "stress" in offered if stress is None else stress

    def compute(self, frame: Dataset) -> Labels:
        """Return energy, forces and stress of a dataset of one frame."""
        atoms = _atoms(frame)
        atoms.calc = self.calculator
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        whole = self.stress and bool(atoms.pbc.all())
        stress = atoms.get_stress(voigt=False) if whole else None
        return Labels(float(energy), np.array(forces, dtype=np.float64), stress)


def _atoms(frame: Dataset) -> Atoms:
    mask = frame.mask[0]
    periodic = frame.pbc[0]
    cell = frame.cell[0] if periodic.any() else None
    return Atoms(frame.numbers[0][mask], frame.positions[0][mask], cell=cell, pbc=periodic)
