"""A PLUMED object with the arrays whose addresses it keeps, and its commands with clear errors.

The order of the commands is that of PLUMED's developer manual, "How to add PLUMED to an MD code".
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.errors import PlumedError
from uncv.plumed.command_text import CommandText
from uncv.plumed.kernel import FAILURES, new_instance
from uncv.plumed.script import ScriptLine
from uncv.plumed.settings import PlumedSettings
from uncv.plumed.walker_input import Asked
from uncv.units import KB_IN_KJ_PER_MOL_K

Array = NDArray[np.float64]


class Instance:
    """One PLUMED object that has read its input.

    Parameters
    ----------
    settings : PlumedSettings
        Masses, charges, time step, temperature, suffix.
    lines : iterable of ScriptLine
        The input.
    asked : Asked
        The values that the input reads from the engine.
    log : str
        File of PLUMED's log.

    Raises
    ------
    PlumedError
        If PLUMED refuses a line.
    """

    def __init__(
        self, settings: PlumedSettings, lines: Iterable[ScriptLine], asked: Asked, log: str
    ) -> None:
        self.has_box = self.evaluated = False
        self._allocate(settings, asked)
        self._plumed: Any = new_instance()
        try:
            self._initialise(settings, lines, log)
        except BaseException:
            self.close()
            raise

    def command(self, key: str, value: Any = None, where: str = "") -> None:
        """Give a command.

        Raises
        ------
        PlumedError
            If PLUMED refuses it, with its message, or the instance was closed.
        """
        if self._plumed is None:
            raise PlumedError(f"this PLUMED instance was closed before '{key}'; make a new one")
        try:
            self._plumed.cmd(CommandText(key) if isinstance(value, str) else key, value)
        except FAILURES as error:
            place = where or f"command {key} at step {self.step[0]}"
            raise PlumedError(f"PLUMED refused {place}: {_message(error)}") from error

    def is_needed(self, name: str) -> bool:
        """Whether PLUMED uses an external variable at the step prepared."""
        self.command(self._questions[name], self._flag)
        return bool(self._flag.item())

    def prepare(self, step: int, positions: ArrayLike, box: ArrayLike | None) -> None:
        """Begin a step: PLUMED finds out what it needs."""
        self.step[0] = step
        self.positions[...] = positions
        self.command("setStepLongLong", self.step)
        if box is not None:
            self.box[...] = box
            if not self.has_box:
                self.command("setBox", self.box)
                self.has_box = True
        self.command("prepareCalc")

    def calculate(self) -> None:
        """Compute bias and forces of the step prepared."""
        for value_force in self.value_forces.values():
            value_force.fill(0.0)
        self.forces.fill(0.0)
        self.virial.fill(0.0)
        self.command("performCalcNoUpdate")
        self.command("getBias", self.bias)
        self.evaluated = True

    def repeat(self, other: Instance) -> None:
        """Compute what another instance of the same atoms and values computed last, if anything."""
        if not other.evaluated:
            return
        self.prepare(int(other.step[0]), other.positions, other.box if other.has_box else None)
        for name, value in other.values.items():
            self.values[name][...] = value
        self.calculate()

    @property
    def energy_unit(self) -> float:
        """PLUMED's internal unit of energy in kJ/mol, known once a step was computed.

        PLUMED converts its forces on positions, but not those on values: k_B T, which it holds in
        its own unit, tells the factor.
        """
        return self._kbt.item() / self._internal_kbt.item()

    def close(self) -> None:
        """Let PLUMED write what it holds back and end; a second call does nothing."""
        plumed, self._plumed = self._plumed, None
        if plumed is not None:
            plumed.finalize()

    def _allocate(self, settings: PlumedSettings, asked: Asked) -> None:
        atoms = len(settings.masses)
        charges = np.zeros(atoms) if settings.charges is None else settings.charges
        self.step = np.zeros(1, dtype=np.int64)
        self.positions: Array = np.zeros((atoms, 3))
        self.box: Array = np.zeros((3, 3))
        self.forces: Array = np.zeros((atoms, 3))
        self.virial: Array = np.zeros((3, 3))
        self.bias: Array = np.zeros(1)
        self.stop = np.zeros(1, dtype=np.int32)
        sizes = dict.fromkeys(sorted(asked.scalars), 1)
        sizes |= {name: settings.vectors[name] for name in sorted(asked.vectors)}
        self.values: dict[str, Array] = {name: np.zeros(size) for name, size in sizes.items()}
        self.value_forces: dict[str, Array] = {n: np.zeros(size) for n, size in sizes.items()}
        self._questions = {name: f"isExtraCVNeeded {name}" for name in asked.scalars}
        self._masses: Array = np.array(settings.masses, dtype=np.float64)
        self._charges: Array = np.array(charges, dtype=np.float64)
        self._kbt: Array = np.array([KB_IN_KJ_PER_MOL_K * settings.temperature])
        self._internal_kbt: Array = np.zeros(1)
        self._flag = np.zeros(1, dtype=np.int32)

    def _initialise(self, settings: PlumedSettings, lines: Iterable[ScriptLine], log: str) -> None:
        self.command("setMDEngine", "uncv")
        self.command("setNatoms", len(settings.masses))
        self.command("setTimestep", settings.timestep)
        self.command("setKbT", self._kbt)
        self.command("setLogFile", log)
        self.command("init")
        self.command("setStopFlag", self.stop)
        if settings.ending:
            self.command("readInputLine", f"_SET_SUFFIX {settings.ending}")
        for line in lines:
            self.command("readInputLine", line.text, where=line.place)
        # Files are whole after every update, so that a run may be read, or die, at any time.
        self.command("readInputLine", "FLUSH STRIDE=1")
        # k_B T asked for at every step tells PLUMED's unit of energy, and keeps one action
        # active: at a step without any, PLUMED goes on telling the bias of an earlier one.
        self.command("getDataRank kBT", np.zeros(1, dtype=np.int64))
        self.command("setMemoryForData kBT", self._internal_kbt)
        self._connect()

    def _connect(self) -> None:
        self.command("setStepLongLong", self.step)
        self.command("setPositions", self.positions)
        self.command("setMasses", self._masses)
        self.command("setCharges", self._charges)
        self.command("setForces", self.forces)
        self.command("setVirial", self.virial)
        for name, value in self.values.items():
            if name in self._questions:
                self.command(f"setExtraCV {name}", value)
                self.command(f"setExtraCVForce {name}", self.value_forces[name])
            else:
                self.command(f"setValue {name}", value)
                self.command(f"setValueForces {name}", self.value_forces[name])


def internal_energy_unit(lines: Iterable[ScriptLine]) -> float:
    """Return the unit of energy that the UNITS lines of an input declare, in kJ/mol."""
    units = [line for line in lines if line.action == "UNITS"]
    if not any(line.has("ENERGY") or line.has("NATURAL") for line in units):
        return 1.0
    nothing = Asked(frozenset(), frozenset())
    instance = Instance(PlumedSettings("\n", [1.0]), units, nothing, os.devnull)
    try:
        instance.command("prepareCalc")
        instance.command("performCalcNoUpdate")
        return instance.energy_unit
    finally:
        instance.close()


def _message(error: BaseException) -> str:
    """PLUMED's messages from the outermost to the cause, without places in PLUMED's own source."""
    said: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        lines = [line.strip() for line in str(cause).splitlines()]
        said += [line for line in lines if line and not line.startswith(("(", "+++"))]
        cause = cause.__cause__
    return " ".join(said) or str(error)
