"""Molecular dynamics of several walkers, biased or not: frames, series of u, reasons to stop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from uncv.bias import AnyBias, FreeEnergyProfile
from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.driver import Driver, Frame
from uncv.errors import DataError, EngineError
from uncv.io import write
from uncv.openmm import Plumed, create_system, driver_of, finish, replicate
from uncv.plumed import plumed_of_run
from uncv.sampling_reweightable import judge_run
from uncv.sampling_run import RunLog, SampledRun, checker_of
from uncv.schedule import Schedule, as_schedule
from uncv.stopping import StopChecker, StopRules
from uncv.units import ANGSTROM_IN_NM, FS_IN_PS, KB_IN_KJ_PER_MOL_K

if TYPE_CHECKING:
    from openmm import app

FloatArray = NDArray[np.float64]
SMALL = 1000
"""Particles up to which OpenMM's Reference platform is the quickest around a Python force."""
TEMPERATURE_INTERVAL = 5
"""Steps between changes of the thermostat's temperature, where it follows a schedule."""


@dataclass(frozen=True)
class SampleSettings:
    """Langevin dynamics of the walkers.

    Parameters
    ----------
    temperature : float or Schedule
        In K; a schedule is followed by the thermostat in intervals of some steps, and by the
        velocities of walkers that begin again.
    timestep : float
        In fs.
    friction : float
        In 1/ps.
    hydrogen_mass : float or None
        In amu; taken from the heavy neighbours.
    steps : int
        Steps of each walker.
    stride : int
        Steps between stored frames.
    walkers : int
        Number of walkers.
    """

    temperature: float | Schedule = 300.0
    timestep: float = 0.5
    friction: float = 2.0
    hydrogen_mass: float | None = None
    steps: int = 1000
    stride: int = 25
    walkers: int = 8

    def __post_init__(self) -> None:
        given = self.temperature
        values = {"temperature": given.limits[0] if isinstance(given, Schedule) else given}
        names = ("timestep", "friction", "steps", "stride", "walkers")
        for name, value in (values | {name: getattr(self, name) for name in names}).items():
            if not value > 0:
                raise ValueError(f"{name} is {value}; expected a positive number")
        if self.stride > self.steps:
            raise ValueError(f"stride {self.stride} is longer than the run of {self.steps} steps")


def sample(
    topology: app.Topology,
    starts: Dataset,
    cv: UncertaintyCV,
    *,
    settings: SampleSettings | None = None,
    bias: AnyBias | None = None,
    stop: StopRules | StopChecker | None = None,
    plumed: str | Path | Plumed | None = None,
    restart_pool: Dataset | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SampledRun:
    """Run the walkers for a fixed number of steps.

    A stopped walker is put back to a random frame of ``restart_pool`` with fresh velocities until
    the steps are spent; the frame that stopped it is kept with the reason.

    Parameters
    ----------
    topology : openmm.app.Topology
        Of one walker.
    starts : Dataset
        Start structures, taken in turn; the bonds of stop rules are those of the first.
    cv : UncertaintyCV
        Potential and uncertainty.
    settings : SampleSettings, optional
        Of the dynamics.
    bias : AnyBias, optional
        V(u).
    stop : StopRules or StopChecker, optional
        When a walker stops; values that are not finite always stop it. A checker, made by
        `StopRules.prepare`, knows its bonds from a structure of your choice.
    plumed : str, Path or Plumed, optional
        PLUMED input.
    restart_pool : Dataset, optional
        Where stopped walkers begin again; the starts by default.
    seed : int
        Of velocities, noise and restarts.
    out : str or Path, optional
        A file for the frames (.extxyz or .npz); also written, as far as the run came, when it
        fails.
    progress : callable, optional
        Called with steps done and steps in all.

    Raises
    ------
    DataError
        If there is no start structure or it does not fit the topology.
    EngineError
        If PLUMED is to learn the temperature of a run in which it changes.
    """
    settings = settings or SampleSettings()
    pool = starts if restart_pool is None or not len(restart_pool) else restart_pool
    walkers = Walkers(topology, starts, cv, settings, bias, plumed, seed)
    if stop is not None:
        walkers.driver.checker = checker_of(stop, starts, cv, periodic=walkers.driver.periodic)
    log = RunLog(starts, settings.walkers)
    random = np.random.default_rng([seed, 1])
    done = 0
    with closing(walkers), log.kept_on_failure(out):
        while done < settings.steps:
            steps = min(settings.stride, settings.steps - done)
            frame = walkers.advance(steps)
            done += steps
            if steps == settings.stride:
                log.store(frame)
            stopped = walkers.driver.stops[log.stops :]
            log.stop(stopped)
            for event in stopped:
                walkers.restart(event.walker, pool.positions[random.integers(len(pool))], random)
            if progress is not None:
                progress(done, settings.steps)
        finish(walkers.simulation)
    verdict = judge_run(
        bias,
        as_schedule(settings.temperature),
        plumed,
        stops=len(walkers.driver.stops),
        capped=0 if walkers.driver.native is None else walkers.driver.native.capped,
    )
    run = log.run(settings.steps * settings.walkers, verdict)
    run = replace(run, profile=_profile(walkers.driver))
    if out is not None:
        write(out, run.frames)
    return run


def _profile(driver: Driver) -> FreeEnergyProfile | None:
    extended = None if driver.native is None else driver.native.extended
    if extended is None or not extended.has_profile:
        return None
    return extended.profile()


class Walkers:
    """W copies of a molecule in one OpenMM context."""

    def __init__(
        self,
        topology: app.Topology,
        starts: Dataset,
        cv: UncertaintyCV,
        settings: SampleSettings,
        bias: AnyBias | None,
        plumed: str | Path | Plumed | None,
        seed: int,
    ) -> None:
        import openmm
        from openmm import app, unit

        atoms = topology.getNumAtoms()
        if not len(starts) or starts.positions.shape[1] != atoms:
            raise DataError(
                f"the start structures are {len(starts)} frames of {starts.positions.shape[1]} "
                f"atoms; expected at least one of {atoms}, as in the topology"
            )
        expected = [a.element and a.element.atomic_number for a in topology.atoms()]
        if (starts.numbers != expected).any():
            raise DataError(
                "the atoms of the start structures are not those of the topology; expected "
                f"atomic numbers {expected}, found {starts.numbers[0].tolist()}"
            )
        begin = starts.positions[np.arange(settings.walkers) % len(starts)] * ANGSTROM_IN_NM
        everything, positions = replicate(topology, begin, settings.walkers)
        system = create_system(
            topology,
            cv,
            bias=bias,
            plumed=plumed_of_run(plumed, settings.timestep, settings.temperature),
            walkers=settings.walkers,
            hydrogen_mass=settings.hydrogen_mass,
        )
        self._temperature = as_schedule(settings.temperature)
        integrator = openmm.LangevinMiddleIntegrator(
            self._temperature.at(0), settings.friction, settings.timestep * FS_IN_PS
        )
        integrator.setRandomNumberSeed(1 + seed % (2**31 - 2))
        name = "Reference" if system.getNumParticles() <= SMALL else "CPU"
        platform = openmm.Platform.getPlatformByName(name)
        self.simulation = app.Simulation(everything, system, integrator, platform)
        self.simulation.context.setPositions(positions)
        self.driver: Driver = driver_of(self.simulation)
        self._walkers = settings.walkers
        masses = [system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(atoms)]
        self._masses = np.array(masses)
        random = np.random.default_rng([seed, 0])
        velocities = np.concatenate([self._thermal(random) for _ in range(settings.walkers)])
        self.simulation.context.setVelocities(velocities)

    def advance(self, steps: int) -> Frame:
        """Take steps and return the walkers where they now are."""
        import openmm

        try:
            self._step(steps)
            self.simulation.context.getState(energy=True)  # the next step reuses this evaluation
        except openmm.OpenMMException as error:
            raise self.driver.failure or EngineError(f"OpenMM: {error}") from error
        if self.driver.frame is None:
            raise RuntimeError("the engine has not evaluated its forces; this is a bug in uncv")
        return self.driver.frame

    def restart(self, walker: int, positions: FloatArray, random: np.random.Generator) -> None:
        """Put a walker to a structure (A, 3) in Å, with thermal velocities."""
        context = self.simulation.context
        state = context.getState(positions=True, velocities=True)
        everywhere = self._by_walker(state.getPositions(asNumpy=True))
        velocities = self._by_walker(state.getVelocities(asNumpy=True))
        everywhere[walker] = positions * ANGSTROM_IN_NM
        velocities[walker] = self._thermal(random)
        self.driver.restart(walker)
        context.setPositions(everywhere.reshape(-1, 3))
        context.setVelocities(velocities.reshape(-1, 3))

    def close(self) -> None:
        """End the PLUMED instances, which writes out what they hold back."""
        self.driver.close()

    def _step(self, steps: int) -> None:
        """Take steps, with the temperature of each interval where it changes."""
        while self._temperature.varies and steps > TEMPERATURE_INTERVAL:
            self._heat()
            self.simulation.step(TEMPERATURE_INTERVAL)
            steps -= TEMPERATURE_INTERVAL
        self._heat()
        self.simulation.step(steps)

    def _heat(self) -> None:
        if self._temperature.varies:
            now = self._temperature.at(self.simulation.currentStep)
            self.simulation.integrator.setTemperature(now)

    def _by_walker(self, values: Any) -> FloatArray:
        from openmm import unit

        plain = values.value_in_unit_system(unit.md_unit_system)
        return np.array(plain).reshape(self._walkers, -1, 3)

    def _thermal(self, random: np.random.Generator) -> FloatArray:
        # sqrt(k_B T / m) is in nm/ps when k_B T is in kJ/mol and m in amu.
        energy = KB_IN_KJ_PER_MOL_K * self._temperature.at(self.simulation.currentStep)
        spread = np.sqrt(energy / self._masses)
        velocities = random.normal(size=(len(self._masses), 3)) * spread[:, None]
        return velocities - self._masses @ velocities / self._masses.sum()
