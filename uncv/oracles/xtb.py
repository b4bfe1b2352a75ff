"""Labels by extended tight binding (xTB), through the library tblite."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from uncv.data import Dataset
from uncv.errors import ConfigError, OracleError
from uncv.oracles.base import FrameOracle, Labels, installed
from uncv.thread_limit import ThreadLimit
from uncv.units import BOHR_IN_ANGSTROM, HARTREE_IN_EV, KB_IN_EV_PER_K

Method = Literal["GFN2-xTB", "GFN1-xTB"]
METHODS: tuple[Method, ...] = ("GFN2-xTB", "GFN1-xTB")
_FORCE = HARTREE_IN_EV / BOHR_IN_ANGSTROM
_LANTHANIDES = range(57, 72)  # their f electrons are in the core: what is counted is not Z


class XTBOracle(FrameOracle):
    """GFN1-xTB or GFN2-xTB as the reference, of molecules and, with stress, of periodic cells.

    Every frame starts from the same guess, so a label depends on its frame alone. The k-points are
    Γ alone: let a cell be some 10 Å wide.

    Parameters
    ----------
    method : {'GFN2-xTB', 'GFN1-xTB'}
        For elements up to radon. Sources: J. Chem. Theory Comput. 15, 1652 (2019) and 13, 1989
        (2017).
    charge : int
        Total charge in e.
    multiplicity : int
        2S + 1.
    accuracy : float
        Factor of the thresholds at which the charges count as converged; smaller is stricter.
    electronic_temperature : float
        Of the Fermi occupation, in K.
    max_iterations : int
        A frame whose charges do not converge in as many iterations counts as failed.
    threads : int
        Threads of a calculation; small systems are quickest with one.
    max_force : float, optional
        A frame with a larger force on an atom (eV/Å) counts as failed.

    Raises
    ------
    ConfigError
        For another method, or a number that must be positive and is not.
    DependencyError
        If tblite is not installed.

    Examples
    --------
    >>> from uncv.structures import alanine_dipeptide
    >>> labelled = XTBOracle().label(alanine_dipeptide()[1])
    >>> round(float(labelled.energy[0]), 1)  # eV, of the valence electrons
    -897.1
    """

    def __init__(
        self,
        method: Method = "GFN2-xTB",
        *,
        charge: int = 0,
        multiplicity: int = 1,
        accuracy: float = 1.0,
        electronic_temperature: float = 300.0,
        max_iterations: int = 250,
        threads: int = 1,
        max_force: float | None = None,
    ) -> None:
        if method not in METHODS:
            raise ConfigError(f"method is {method!r}; expected one of {', '.join(METHODS)}")
        positive = {
            "multiplicity": multiplicity,
            "accuracy": accuracy,
            "electronic_temperature": electronic_temperature,
            "max_iterations": max_iterations,
            "threads": threads,
        }
        for name, value in positive.items():
            if not value > 0:
                raise ConfigError(f"{name} is {value}; give a positive number")
        level = f"{method}, charge {charge}, multiplicity {multiplicity}, accuracy {accuracy:g}"
        level += f", {electronic_temperature:g} K"
        super().__init__(level, max_force, software=installed("tblite", "xtb"))
        self.method = method
        self.charge = charge
        self.unpaired = multiplicity - 1
        self.settings = {
            "verbosity": 0,
            "accuracy": accuracy,
            "temperature": electronic_temperature * KB_IN_EV_PER_K / HARTREE_IN_EV,
            "max-iter": max_iterations,
        }
        self.threads = ThreadLimit(threads)

    def compute(self, frame: Dataset) -> Labels:
        """Return energy (eV), forces (eV/Å) and, of a cell, stress (eV/Å^3) of one frame.

        Raises
        ------
        OracleError
            If the frame is periodic in some directions only, or if its number of electrons does
            not go with the multiplicity.
        RuntimeError
            tblite's own: charges that do not converge, atoms too close, elements it does not know.
        """
        periodic = _periodic(frame)
        numbers = frame.numbers[0][: frame.frame_atoms[0]]
        self._check_electrons(numbers)
        calculator = self._calculator(frame, numbers, periodic)
        with self.threads:
            result = calculator.singlepoint()
        energy = float(result.get("energy")) * HARTREE_IN_EV
        forces = -result.get("gradient") * _FORCE
        if not periodic:
            return Labels(energy, forces)
        volume = abs(float(np.linalg.det(frame.cell[0])))
        virial = np.asarray(result.get("virial")) * HARTREE_IN_EV
        return Labels(energy, forces, 0.5 * (virial + virial.T) / volume)

    def _calculator(self, frame: Dataset, numbers: np.ndarray, periodic: bool) -> Any:
        from tblite.interface import Calculator

        calculator = Calculator(
            self.method,
            numbers,
            frame.positions[0, : len(numbers)] / BOHR_IN_ANGSTROM,
            self.charge,
            self.unpaired,
            frame.cell[0] / BOHR_IN_ANGSTROM if periodic else None,
            np.ones(3, dtype=bool) if periodic else None,
        )
        for name, value in self.settings.items():
            calculator.set(name, value)
        return calculator

    def _check_electrons(self, numbers: np.ndarray) -> None:
        """Refuse what tblite would answer with half an electron up and half a one down."""
        if np.isin(numbers, _LANTHANIDES).any():
            return
        electrons = int(numbers.sum()) - self.charge
        if (electrons - self.unpaired) % 2:
            raise OracleError(
                f"{electrons} electrons cannot have multiplicity {self.unpaired + 1}; "
                "correct charge or multiplicity"
            )


def _periodic(frame: Dataset) -> bool:
    directions = int(frame.pbc[0].sum())
    if directions not in (0, 3):
        raise OracleError(
            f"the frame is periodic in {directions} of 3 directions; xTB takes molecules and "
            "cells that are periodic in all: give a cell with vacuum and pbc in all directions"
        )
    return directions == 3
