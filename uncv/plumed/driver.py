"""One PLUMED instance: values of a walker go in, forces and derivatives come out.

kJ/mol, nm, ps, amu and e throughout, whatever UNITS an input declares. The order of the commands
is that of PLUMED's developer manual, "How to add PLUMED to an MD code".
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.errors import PlumedError
from uncv.plumed.kernel import FAILURES, new_instance
from uncv.plumed.script import ScriptLine, check_script, read_script
from uncv.plumed.settings import PlumedSettings
from uncv.units import KB_IN_KJ_PER_MOL_K

Array = NDArray[np.float64]

_WORKING_DIRECTORY = threading.RLock()


class PlumedForces(NamedTuple):
    """PLUMED's answer for one structure.

    Attributes
    ----------
    bias : float
        Bias potential V, kJ/mol.
    forces : numpy.ndarray
        -dV/dx at fixed values (A, 3), kJ/mol/nm: what acts through geometric variables alone.
    derivatives : dict
        dV/dvalue of each provided value, kJ/mol per unit of the value; 0 where V does not
        depend on it.
    virial : numpy.ndarray
        -dV/dstrain at fixed values (3, 3), kJ/mol, for a strain of the box and all positions
        (PLUMED's own has the other sign).
    """

    bias: float
    forces: Array
    derivatives: dict[str, float]
    virial: Array


class PlumedDriver:
    r"""One PLUMED instance, for one walker.

    An evaluation is ``begin``, then ``needs`` for each value, then ``finish``; it never deposits
    or prints. ``update`` does that for the evaluation that came last; `uncv.plumed.StepGate`
    decides when.

    Parameters
    ----------
    settings : PlumedSettings
        The input and the constants of the walker.

    Raises
    ------
    PlumedError
        If PLUMED refuses a line of the input, with its message, or uncv does.
    DependencyError
        If PLUMED is not installed or is too old.

    Examples
    --------
    >>> script = "u: EXTRACV NAME=uncertainty\nRESTRAINT ARG=u AT=1 KAPPA=2"
    >>> settings = PlumedSettings(script, masses=[1.0, 1.0])
    >>> with PlumedDriver(settings) as driver:
    ...     driver.begin(0, np.zeros((2, 3)))
    ...     answer = driver.finish({"uncertainty": 4.0})
    >>> answer.bias, answer.derivatives["uncertainty"]
    (9.0, 6.0)
    """

    def __init__(self, settings: PlumedSettings) -> None:
        self.settings = settings
        lines = read_script(settings.script)
        if settings.directory is not None:
            settings.directory.mkdir(parents=True, exist_ok=True)
        asked = check_script(lines, settings.provides, settings.directory)
        self._allocate(asked)
        self._needed: frozenset[str] = frozenset()
        self._plumed: Any = new_instance()
        try:
            with self._in_directory():
                self._initialise(lines)
        except BaseException:
            self.close()
            raise

    @property
    def stop_requested(self) -> bool:
        """Whether the input has asked for the end of the run (COMMITTOR) at an update."""
        return bool(self._stop[0])

    def begin(self, step: int, positions: ArrayLike, box: ArrayLike | None = None) -> None:
        """Tell PLUMED the structure and let it find out which values it needs.

        Parameters
        ----------
        step : int
            Number of completed steps.
        positions : array_like
            Positions (A, 3), nm.
        box : array_like, optional
            Box vectors as rows (3, 3), nm; None without periodicity.

        Raises
        ------
        PlumedError
            If PLUMED fails.
        """
        self._step[0] = step
        self._positions[...] = positions
        self._command("setStepLongLong", self._step)
        if box is not None:
            self._box[...] = box
            self._command("setBox", self._box)
        self._command("prepareCalc")
        self._needed = frozenset(name for name in self._values if self._is_needed(name))

    def needs(self, name: str) -> bool:
        """Whether PLUMED uses this value at the step begun.

        Raises
        ------
        ValueError
            If the settings do not provide the name.
        """
        if name not in self.settings.provides:
            raise ValueError(f"'{name}' is not provided, only {list(self.settings.provides)} are")
        return name in self._needed

    def finish(self, values: Mapping[str, float]) -> PlumedForces:
        """Compute bias and forces of the step begun, without depositing or printing anything.

        Parameters
        ----------
        values : mapping of str to float
            Values in the caller's units, at least those needed.

        Raises
        ------
        PlumedError
            If a needed value is missing or not finite, or PLUMED fails.
        """
        for name in self._needed:
            self._values[name][0] = _finite(values, name)
        for value_force in self._value_forces.values():
            value_force[0] = 0.0
        self._forces[...] = 0.0
        self._virial[...] = 0.0
        self._command("performCalcNoUpdate")
        self._command("getBias", self._bias)
        # PLUMED converts its forces on positions, but not those on values: k_B T, which it
        # holds in its own unit of energy, tells the factor.
        unit = float(self._kbt[0] / self._internal_kbt[0])
        derivatives = dict.fromkeys(self.settings.provides, 0.0)
        for name in self._needed:
            derivatives[name] = -unit * float(self._value_forces[name][0])
        return PlumedForces(float(self._bias[0]), self._forces.copy(), derivatives, -self._virial)

    def update(self) -> None:
        """Complete the step evaluated last: hills are deposited, lines printed.

        Raises
        ------
        PlumedError
            If PLUMED fails, for instance because it cannot write a file.
        """
        with self._in_directory():
            self._command("update")

    def close(self) -> None:
        """Write what PLUMED holds back and end the instance; a second call does nothing."""
        plumed, self._plumed = self._plumed, None
        if plumed is not None:
            with self._in_directory():
                plumed.finalize()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _allocate(self, asked: frozenset[str]) -> None:
        """Make the arrays whose addresses PLUMED keeps as long as it lives."""
        settings, atoms = self.settings, len(self.settings.masses)
        charges = np.zeros(atoms) if settings.charges is None else settings.charges
        self._step = np.zeros(1, dtype=np.int64)
        self._positions: Array = np.zeros((atoms, 3))
        self._masses: Array = np.array(settings.masses, dtype=np.float64)
        self._charges: Array = np.array(charges, dtype=np.float64)
        self._box: Array = np.zeros((3, 3))
        self._forces: Array = np.zeros((atoms, 3))
        self._virial: Array = np.zeros((3, 3))
        self._bias: Array = np.zeros(1)
        self._values: dict[str, Array] = {name: np.zeros(1) for name in sorted(asked)}
        self._value_forces: dict[str, Array] = {name: np.zeros(1) for name in sorted(asked)}
        self._flag = np.zeros(1, dtype=np.int32)
        self._stop = np.zeros(1, dtype=np.int32)
        self._kbt: Array = np.array([KB_IN_KJ_PER_MOL_K * settings.temperature])
        self._internal_kbt: Array = np.zeros(1)

    def _initialise(self, lines: Sequence[ScriptLine]) -> None:
        settings = self.settings
        self._command("setMDEngine", "uncv")
        self._command("setNatoms", len(settings.masses))
        self._command("setTimestep", settings.timestep)
        self._command("setKbT", self._kbt)
        self._command("setLogFile", os.devnull if settings.log is None else str(settings.log))
        self._command("init")
        self._command("setStopFlag", self._stop)
        if settings.suffix:
            self._command("readInputLine", f"_SET_SUFFIX {settings.suffix}")
        for line in lines:
            self._command("readInputLine", line.text, where=line.place)
        # Files are whole after every update, so that a run may be read, or die, at any time.
        self._command("readInputLine", "FLUSH STRIDE=1")
        # k_B T asked for at every step tells PLUMED's unit of energy, and keeps one action
        # active: at a step without any, PLUMED goes on telling the bias of an earlier one.
        self._command("getDataRank kBT", np.zeros(1, dtype=np.int64))
        self._command("setMemoryForData kBT", self._internal_kbt)
        self._connect()

    def _connect(self) -> None:
        self._command("setStepLongLong", self._step)
        self._command("setPositions", self._positions)
        self._command("setMasses", self._masses)
        self._command("setCharges", self._charges)
        self._command("setForces", self._forces)
        self._command("setVirial", self._virial)
        for name, value in self._values.items():
            self._command(f"setExtraCV {name}", value)
            self._command(f"setExtraCVForce {name}", self._value_forces[name])

    def _is_needed(self, name: str) -> bool:
        self._command(f"isExtraCVNeeded {name}", self._flag)
        return bool(self._flag[0])

    def _command(self, key: str, value: Any = None, where: str = "") -> None:
        if self._plumed is None:
            raise PlumedError(f"this PLUMED instance was closed before '{key}'; make a new one")
        try:
            self._plumed.cmd(key, value)
        except FAILURES as error:
            place = where or f"command {key} at step {self._step[0]}"
            raise PlumedError(f"PLUMED refused {place}: {_message(error)}") from error

    @contextmanager
    def _in_directory(self) -> Iterator[None]:
        if self.settings.directory is None:
            yield
            return
        with _WORKING_DIRECTORY, chdir(self.settings.directory):
            yield


def _finite(values: Mapping[str, float], name: str) -> float:
    if name not in values:
        raise PlumedError(f"PLUMED needs '{name}' at this step and no value of it was given")
    value = float(values[name])
    if not np.isfinite(value):
        raise PlumedError(f"PLUMED was given {value} as '{name}'; stop the walker before")
    return value


def _message(error: BaseException) -> str:
    """PLUMED's messages from the outermost to the cause, without places in PLUMED's own source."""
    said: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        lines = [line.strip() for line in str(cause).splitlines()]
        said += [line for line in lines if line and not line.startswith(("(", "+++"))]
        cause = cause.__cause__
    return " ".join(said) or str(error)
