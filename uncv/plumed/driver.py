"""One PLUMED instance: values of a walker go in, forces and derivatives come out.

kJ/mol, nm, ps, amu and e throughout, whatever UNITS an input declares.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from functools import partial
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.errors import PlumedError
from uncv.plumed.instance import Instance, internal_energy_unit
from uncv.plumed.outputs import Kept, check_kept, keep, outputs, put_back, redirected, set_aside
from uncv.plumed.restart import continued, without_restart
from uncv.plumed.script import ScriptLine, read_script
from uncv.plumed.settings import PlumedSettings
from uncv.plumed.walker_input import check_input, for_walker, with_energy

Array = NDArray[np.float64]
Values = Mapping[str, float | Array]

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
    vectors : dict
        The same for each vector that the input declares by PUT, one number an element.
    virial : numpy.ndarray
        -dV/dstrain at fixed values (3, 3), kJ/mol, for a strain of the box and all positions
        (PLUMED's own has the other sign).
    """

    bias: float
    forces: Array
    derivatives: dict[str, float]
    vectors: dict[str, Array]
    virial: Array

    def uses(self, name: str) -> bool:
        """Whether the bias depends on a value here."""
        return name in self.vectors or self.derivatives.get(name, 0.0) != 0.0


class PlumedDriver:
    r"""One PLUMED instance, for one walker.

    An evaluation is ``begin``, then ``needs`` for each value, then ``finish``; it never deposits
    or prints. ``update`` does that for the evaluation that came last; `uncv.plumed.StepGate`
    decides when. Until the first update PLUMED's outputs go to a scratch folder, so that nothing of
    a former run is renamed or written over before it may be taken up by `resume`; an input that
    says RESTART itself adds to its files from the beginning.

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
        self.folder = Path(settings.directory or Path.cwd()).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        raw = read_script(settings.script, self.folder)
        own = for_walker(raw, settings.walker, settings.walkers)
        self.lines = with_energy(own, partial(internal_energy_unit, own))
        self._asked = check_input(self.lines, settings.provides, settings.vectors, self.folder)
        self._nothing = dict.fromkeys(settings.provides, 0.0)
        self._needed: list[str] = []
        self._instance: Instance | None = None
        self._forget_scratch: weakref.finalize | None = None  # while the rehearsal lasts
        self._rehearse()

    def stop_requested(self) -> bool:
        """Whether the input has asked for the end of the run (COMMITTOR) since asked last."""
        stop = self._running().stop
        asked = bool(stop.item())
        stop[0] = 0
        return asked

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
        plumed = self._running()
        plumed.prepare(step, positions, box)
        self._needed = [*self._asked.vectors]
        self._needed += [name for name in self._asked.scalars if plumed.is_needed(name)]

    def needs(self, name: str) -> bool:
        """Whether PLUMED uses this value at the step begun; a vector it declares always counts.

        Raises
        ------
        ValueError
            If the settings do not provide the name.
        """
        offered = (*self.settings.provides, *self.settings.vectors)
        if name not in offered:
            raise ValueError(f"'{name}' is not provided, only {list(offered)} are")
        return name in self._needed

    def finish(self, values: Values) -> PlumedForces:
        """Compute bias and forces of the step begun, without depositing or printing anything.

        Parameters
        ----------
        values : mapping of str to float or numpy.ndarray
            Values in the caller's units, at least those needed; vectors as arrays.

        Raises
        ------
        PlumedError
            If a needed value is missing or not finite, or PLUMED fails.
        """
        plumed = self._running()
        for name in self._needed:
            plumed.values[name][...] = _finite(values, name)
        try:
            plumed.calculate()
        except PlumedError as error:
            told = ", ".join(f"{name} = {values[name]}" for name in self._needed)
            raise PlumedError(f"{error} (PLUMED was told {told or 'no value'})") from error
        unit = plumed.energy_unit
        derivatives, vectors = self._nothing.copy(), {}
        for name in self._needed:
            force = plumed.value_forces[name]
            if name in self._asked.vectors:
                vectors[name] = -unit * force
            else:
                derivatives[name] = -unit * force.item()
        bias = plumed.bias.item()
        return PlumedForces(bias, plumed.forces.copy(), derivatives, vectors, -plumed.virial)

    def update(self, *, checkpoint: bool = False) -> None:
        """Complete the step evaluated last: hills are deposited, lines printed.

        Parameters
        ----------
        checkpoint : bool
            Tell PLUMED that the engine writes a checkpoint now, at which OPES writes its state.

        Raises
        ------
        PlumedError
            If PLUMED fails, for instance because it cannot write a file.
        """
        if self._forget_scratch is not None:
            self._perform()
        plumed = self._running()
        if checkpoint:
            plumed.command("doCheckPoint", np.ones(1, dtype=np.int32))
        with _WORKING_DIRECTORY:  # at every step: no context manager of our own
            before = os.getcwd()
            os.chdir(self.folder)
            try:
                plumed.command("update")
            finally:
                os.chdir(before)
        if checkpoint:
            plumed.command("doCheckPoint", np.zeros(1, dtype=np.int32))

    def set_aside_shared(self) -> None:
        """Rename this walker's shared files of a former run, which the other walkers would read.

        Before the first update only; an input that says RESTART keeps them.
        """
        if self._forget_scratch is None:
            return
        for output in outputs(self.lines):
            if output.shared:
                set_aside(output.path(self.folder, self.settings.ending))

    def kept(self) -> Kept:
        """Return the state of PLUMED's output files, for a checkpoint.

        Raises
        ------
        PlumedError
            If an output cannot be cut later.
        """
        return keep(self.lines, self.folder, self.settings.ending)

    def check(self, kept: Kept) -> None:
        """Refuse what is not of this run; no file is changed.

        Raises
        ------
        PlumedError
            If the input writes other files than were kept, or a file is shorter than it was.
        """
        own = self.kept()
        names, known = {*own.sizes, *own.contents}, {*kept.sizes, *kept.contents}
        if names != known:
            raise PlumedError(
                f"the checkpoint knows the outputs {', '.join(sorted(known)) or 'none'} and the "
                f"input writes {', '.join(sorted(names)) or 'none'}; load it with the input of the "
                "run that wrote it"
            )
        check_kept(kept, self.folder)

    def put_back(self, kept: Kept) -> None:
        """End the instance and return its output files to where they were kept."""
        self._end()
        put_back(kept, self.folder)

    def resume(self) -> None:
        """Begin a new instance that restarts from the files as they are."""
        self._end()
        with tempfile.TemporaryDirectory() as scratch:
            self._open(continued(self.lines, self.folder, self.settings.ending, Path(scratch)))

    def cut(self, kept: Kept) -> None:
        """Take away what the files have grown by since they were kept."""
        put_back(kept._replace(contents={}), self.folder)

    def close(self) -> None:
        """Write what PLUMED holds back and end the instance; a second call does nothing."""
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _rehearse(self) -> None:
        """Let PLUMED read the input with all outputs elsewhere, to hear its complaints now."""
        scratch = Path(tempfile.mkdtemp(prefix="uncv-plumed-"))
        self._forget_scratch = weakref.finalize(self, shutil.rmtree, scratch, ignore_errors=True)
        lines = redirected(without_restart(self.lines), scratch)
        try:
            with self._in_folder():
                self._instance = Instance(self.settings, lines, self._asked, os.devnull)
        except BaseException:
            self._end()
            raise
        if any(line.has("RESTART") for line in self.lines):
            self._perform()

    def _perform(self) -> None:
        """Go over from the rehearsal to the run, at the step evaluated last."""
        before = self._running()
        self._open(self.lines)
        self._running().repeat(before)
        before.close()
        self._end_rehearsal()

    def _end_rehearsal(self) -> None:
        forget, self._forget_scratch = self._forget_scratch, None
        if forget is not None:
            forget()

    def _running(self) -> Instance:
        if self._instance is None:
            raise PlumedError("this PLUMED instance was closed; make a new one")
        return self._instance

    def _open(self, lines: tuple[ScriptLine, ...]) -> None:
        log = os.devnull if self.settings.log is None else str(self.settings.log)
        with self._in_folder():
            self._instance = Instance(self.settings, lines, self._asked, log)

    def _end(self) -> None:
        instance, self._instance = self._instance, None
        if instance is not None:
            with self._in_folder():
                instance.close()
        self._end_rehearsal()

    @contextmanager
    def _in_folder(self) -> Iterator[None]:
        with _WORKING_DIRECTORY, chdir(self.folder):
            yield


def _finite(values: Values, name: str) -> float | Array:
    if name not in values:
        raise PlumedError(f"PLUMED needs '{name}' at this step and no value of it was given")
    value = values[name]
    finite = isfinite(value) if isinstance(value, float) else np.isfinite(value).all()
    if not finite:
        raise PlumedError(f"PLUMED was given {value} as '{name}'; stop the walker before")
    return value
