"""One crystal that moves, stops and begins again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncv.ase import (
    CellError,
    CellLimits,
    CrystalLangevin,
    LangevinSettings,
    Plumed,
    UncertaintyCalculator,
    repartitioned,
    thermal_momenta,
)
from uncv.ase.drive import AseBias
from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.driver import StopEvent
from uncv.sampling_crystal_settings import CrystalSettings
from uncv.schedule import as_schedule
from uncv.stopping import StopChecker

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class CrystalRun:
    """What the walkers of a run have in common.

    Parameters
    ----------
    cv : UncertaintyCV
        Potential and uncertainty.
    settings : CrystalSettings
        Of the dynamics.
    bias : AseBias, optional
        V(u).
    plumed : Plumed, optional
        Its input.
    checker : StopChecker, optional
        When a walker stops.
    seed : int
        Of velocities, noise and restarts.
    """

    cv: UncertaintyCV
    settings: CrystalSettings
    bias: AseBias | None
    plumed: Plumed | None
    checker: StopChecker | None
    seed: int


class Place(NamedTuple):
    """Where a walker is, and what is known there.

    Attributes
    ----------
    positions, cell : numpy.ndarray
        (A, 3) and (3, 3), Å.
    energy, bias : float
        E and V in eV.
    uncertainty : float
        By its kind.
    coefficient : float or None
        c_F of the adaptive bias.
    """

    positions: FloatArray
    cell: FloatArray
    energy: float
    uncertainty: float
    bias: float
    coefficient: float | None


class CrystalWalker:
    """One of the walkers of `uncv.sampling_crystal.sample_crystal`.

    Parameters
    ----------
    run : CrystalRun
        What all walkers share.
    starts : Dataset
        Start structures, taken in turn.
    number : int
        Of the walker.

    Attributes
    ----------
    active : bool
        False from a stop to the restart.
    here : Place
        The structure evaluated last.
    """

    def __init__(self, run: CrystalRun, starts: Dataset, number: int) -> None:
        from ase import Atoms

        self._run, self.number = run, number
        self._random = np.random.default_rng([run.seed, number])
        frame = number % len(starts)
        self._atoms = Atoms(
            starts.numbers[frame],
            starts.positions[frame],
            cell=starts.cell[frame],
            pbc=starts.pbc[frame],
        )
        if run.settings.hydrogen_mass is not None:
            self._atoms.set_masses(repartitioned(self._atoms, run.settings.hydrogen_mass))
        self._calculator = self._atoms.calc = UncertaintyCalculator(
            run.cv,
            run.bias,
            stress_strength=run.settings.stress_strength,
            plumed=run.plumed,
            walker=number,
            walkers=run.settings.walkers,
        )
        self._limits = _limits(run.settings, starts)
        self._temperature = as_schedule(run.settings.temperature)
        self._stops: list[StopEvent] = []
        self._step = 0
        self.active = True
        here = self._atoms.positions.copy(), self._atoms.cell.array.copy()
        self.here = Place(*here, np.nan, np.nan, 0.0, None)

    @property
    def capped(self) -> int:
        """Steps whose bias force was shortened by a cap."""
        return self._calculator.capped

    def begin(self) -> None:
        """Evaluate the start structure."""
        self._launch()
        if self._calculator.plumed is not None:
            self._calculator.plumed.set_aside_shared()

    def advance(self, steps: int) -> None:
        """Take steps, or rest for as many."""
        end = self._step + steps
        while self.active and self._step < end:
            if self._temperature.varies:
                self._dynamics.set_temperature(self._temperature.at(self._step))
            self._step += 1
            self._calculator.completed_steps = self._step
            self._evaluate(self._dynamics.step)
        self._step = end

    def restart(self, pool: Dataset) -> None:
        """Begin again at a random frame of a pool, with thermal velocities."""
        frame = int(self._random.integers(len(pool)))
        self._atoms.set_cell(pool.cell[frame])
        self._atoms.positions = pool.positions[frame]
        self._calculator.reset()
        self.active = True
        self._launch()

    def taken_stops(self) -> list[StopEvent]:
        """Return the stops since this was asked last."""
        taken, self._stops = self._stops, []
        return taken

    def flush(self) -> None:
        """Complete the run: what PLUMED has due is deposited and printed."""
        self._calculator.flush()

    def close(self) -> None:
        """End PLUMED."""
        self._calculator.close()

    def _launch(self) -> None:
        """Begin the dynamics at the present structure."""
        given, now = self._run.settings, self._temperature.at(self._step)
        momenta = thermal_momenta(self._atoms.get_masses(), now, self._random)
        self._atoms.set_momenta(momenta)
        self._calculator.completed_steps = self._step
        settings = LangevinSettings(
            now,
            given.timestep,
            given.thermostat_time,
            given.pressure,
            given.cell == "isotropic",
            given.barostat_time,
        )

        def launch() -> None:
            self._dynamics = CrystalLangevin(self._atoms, settings, self._random, self._limits)

        self._evaluate(launch)

    def _evaluate(self, move: Callable[[], object]) -> None:
        """Move on, look where that led, and stop if a rule says so."""
        try:
            move()
        except CellError as error:
            self._stop(str(error))
            return
        found = self._calculator.results
        values = [found[name] for name in ("energy", "uncertainty", "forces", "stress")
                  if name in found]  # fmt: skip
        if not all(np.isfinite(value).all() for value in values):
            self._stop("energy, force or uncertainty is not finite")
            return
        coefficients = self._calculator.coefficients
        self.here = Place(
            self._atoms.positions.copy(),
            self._atoms.cell.array.copy(),
            found["energy_unbiased"],
            found["uncertainty"],
            found.get("bias", 0.0),
            None if coefficients is None else coefficients.force,
        )
        self._stop(self._reason())

    def _reason(self) -> str:
        """Return why the walker must stop here, '' if it may go on."""
        if self._calculator.plumed is not None and self._calculator.plumed.stop_requested():
            return "PLUMED asked for the end of the run (COMMITTOR)"
        if self._run.checker is None:
            return ""
        found, here = self._calculator.results, self.here
        atomic = found.get("atomic_uncertainty")
        return self._run.checker.check(
            here.positions[None],
            [here.energy],
            [here.uncertainty],
            None if atomic is None else atomic[None],
            found["forces"][None],
            cell=here.cell if self._atoms.pbc.any() else None,
        )[0]

    def _stop(self, reason: str) -> None:
        if not reason:
            return
        self.active = False
        here = self.here
        self._stops.append(
            StopEvent(
                self.number,
                self._step,
                reason,
                here.positions,
                here.energy,
                here.uncertainty,
                here.bias,
                here.cell,
            )
        )


def _limits(settings: CrystalSettings, starts: Dataset) -> CellLimits | None:
    """Return the limits of the cell, where it moves."""
    if settings.pressure is None:
        return None
    volumes = np.abs(np.linalg.det(starts.cell))
    heights = 1.0 / np.linalg.norm(np.linalg.inv(starts.cell), axis=1)
    low, high = settings.volume_limits
    return CellLimits(
        (low * float(volumes.min()), high * float(volumes.max())),
        settings.min_height * float(heights.min()),
    )
