"""PLUMED for all walkers of an engine: an instance each, told and asked together."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from uncv.errors import PlumedError
from uncv.plumed.driver import PlumedDriver, PlumedForces, Values
from uncv.plumed.gate import StepGate
from uncv.plumed.restart import forgotten
from uncv.plumed.settings import PlumedSettings

Array = NDArray[np.float64]


class PlumedWalkers:
    """One PLUMED instance for each walker, in one engine.

    An evaluation is `begin`, then `needs`, then `finish`. Updates are made when the step count has
    risen; see `uncv.plumed.StepGate`.

    Parameters
    ----------
    settings : PlumedSettings
        Of one walker.
    walkers : int
        How many; with several, the outputs of walker i end in .i.

    Raises
    ------
    PlumedError
        If the input is refused.
    """

    def __init__(self, settings: PlumedSettings, walkers: int = 1) -> None:
        self.settings = settings
        self.gates: list[StepGate] = []
        self._fresh = True  # no update was made yet
        self._open: dict[int, PlumedForces | None] = {}
        self._time: tuple[int, float] | None = None
        try:
            for walker in range(walkers):
                own = replace(settings, walker=walker, walkers=walkers)
                self.gates.append(StepGate(PlumedDriver(own)))
        except BaseException:
            self.close()
            raise

    @property
    def atoms(self) -> int:
        """Atoms of one walker."""
        return len(self.settings.masses)

    def begin(self, step: int, positions: Array, box: Array | None, active: Iterable[int]) -> None:
        """Begin an evaluation of the walkers that are active.

        Parameters
        ----------
        step : int
            Number of completed steps.
        positions : numpy.ndarray
            Of all walkers (W·A, 3), nm.
        box : numpy.ndarray or None
            (3, 3), nm.
        active : iterable of int
            Numbers of the walkers.
        """
        self._before_updates(step)
        by_walker = positions.reshape(len(self.gates), -1, 3)
        self._open = {w: self.gates[w].begin(step, by_walker[w], box) for w in active}

    def needs(self, name: str) -> bool:
        """Whether any walker begun uses this value now, or did for an answer that is known."""
        return any(
            self.gates[walker].needs(name) if known is None else known.uses(name)
            for walker, known in self._open.items()
        )

    def finish(self, values: Mapping[int, Values]) -> dict[int, PlumedForces]:
        """Return PLUMED's answers by the number of the walker.

        Parameters
        ----------
        values : mapping
            Values for each walker; those that are missing are given up.
        """
        answers = {}
        for walker, known in self._open.items():
            if known is not None:
                answers[walker] = known
            elif walker in values:
                answers[walker] = self.gates[walker].finish(values[walker])
        return answers

    def stopped(self) -> list[int]:
        """Return the walkers whose input has asked for the end of the run at an update since."""
        return [w for w, gate in enumerate(self.gates) if gate.driver.stop_requested()]

    def check_time(self, step: int, time: float) -> None:
        """Compare the engine's time step with the one PLUMED was told.

        Raises
        ------
        PlumedError
            If they differ.
        """
        before, self._time = self._time, (step, time)
        if before is None or step <= before[0]:
            return
        told, found = self.settings.timestep, (time - before[1]) / (step - before[0])
        if abs(found - told) > 1e-6 * told:
            raise PlumedError(
                f"the integrator's time step is {found * 1000:g} fs but PLUMED was told "
                f"{told * 1000:g} fs; give plumed=uncv.openmm.Plumed(script, "
                f"timestep={found:g}), in ps"
            )

    def flush(self, step: int) -> None:
        """Make the updates that are due when this many steps are complete."""
        self._before_updates(step)
        for gate in self.gates:
            gate.flush(step)

    def state(self, step: int) -> dict[str, NDArray]:
        """Return what a checkpoint must hold; warns of what PLUMED cannot take up exactly."""
        self._before_updates(step + 1)
        lost = forgotten(self.gates[0].driver.lines, step)
        if lost:
            warnings.warn(
                f"the continuation of this checkpoint is approximate: {'; '.join(lost)}",
                stacklevel=2,
            )
        return {
            f"plumed {walker} {name}": value
            for walker, gate in enumerate(self.gates)
            for name, value in gate.state(step).items()
        }

    def resume(self, kept: Mapping[str, NDArray]) -> None:
        """Take up the state that `state` gave.

        Raises
        ------
        PlumedError
            If the checkpoint is of a run without PLUMED, of other walkers or of another input, or a
            file is not that of the run; no file of any walker is changed then.
        """
        self._time, self._fresh = None, False
        each = [_own(kept, walker) for walker in range(len(self.gates))]
        for gate, own in zip(self.gates, each, strict=True):
            gate.check(own)
        for gate, own in zip(self.gates, each, strict=True):
            gate.put_back(own)
        for gate, own in zip(self.gates, each, strict=True):
            gate.resume(own)

    def close(self) -> None:
        """End the instances; a second call does nothing."""
        for gate in self.gates:
            gate.close()

    def _before_updates(self, step: int) -> None:
        """Set old hills of all walkers aside before the first instance opens and reads them."""
        if self._fresh and any(gate.is_due(step) for gate in self.gates):
            self._fresh = False
            for gate in self.gates:
                gate.driver.set_aside_shared()


def _own(kept: Mapping[str, NDArray], walker: int) -> dict[str, NDArray]:
    start = f"plumed {walker} "
    own = {k.removeprefix(start): v for k, v in kept.items() if k.startswith(start)}
    if not own:
        raise PlumedError(
            f"the checkpoint holds no PLUMED state of walker {walker}; load it into a system with "
            "the plumed= and walkers= of the run that wrote it"
        )
    return own
