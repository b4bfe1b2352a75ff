"""Labelled molecular dynamics with a force field: hot test sets and reference maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from uncv.data import Dataset, concatenate
from uncv.errors import ConfigError
from uncv.oracles import OpenMMForceField
from uncv.units import ANGSTROM_IN_NM, FS_IN_PS

if TYPE_CHECKING:
    from openmm import Context
    from openmm.app import Topology


@dataclass(frozen=True)
class ReferenceSettings:
    """How reference dynamics are run.

    Parameters
    ----------
    temperature : float
        Temperature in K.
    frames : int
        Number of frames to store.
    stride : int
        Steps between them.
    equilibration : int
        Steps before the first.
    timestep : float
        Time step in fs.
    friction : float
        Friction of the Langevin integrator in 1/ps.
    hydrogen_mass : float, optional
        Mass of hydrogen in amu, taken from the heavy atom it is bonded to.

    Raises
    ------
    ConfigError
        If a number is not positive.
    """

    temperature: float = 1200.0
    frames: int = 2000
    stride: int = 100
    equilibration: int = 2000
    timestep: float = 0.5
    friction: float = 2.0
    hydrogen_mass: float | None = None

    def __post_init__(self) -> None:
        for name in ("temperature", "frames", "stride", "timestep", "friction"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; give a positive number")


def reference_md(
    topology: Topology,
    files: tuple[str, ...],
    start: Dataset,
    settings: ReferenceSettings | None = None,
    *,
    seed: int = 0,
) -> Dataset:
    """Run Langevin dynamics with a force field and label the stored frames with it.

    Parameters
    ----------
    topology : openmm.app.Topology
        The molecule.
    files : tuple of str
        Force-field files as for openmm.app.ForceField.
    start : Dataset
        The start structure, its first frame.
    settings : ReferenceSettings, optional
        Temperature, lengths and steps.
    seed : int
        Seed of velocities and of the thermostat.

    Returns
    -------
    Dataset
        Frames with energy (eV), forces (eV/Å) and the column ``step``; centred on the origin.
    """
    import openmm

    settings = settings or ReferenceSettings()
    oracle = OpenMMForceField(topology, *files)
    integrator = openmm.LangevinMiddleIntegrator(
        settings.temperature, settings.friction, settings.timestep * FS_IN_PS
    )
    random = np.random.default_rng(seed)
    integrator.setRandomNumberSeed(int(random.integers(1, 2**31 - 1)))
    context = openmm.Context(
        oracle.make_system(settings.hydrogen_mass),
        integrator,
        openmm.Platform.getPlatformByName("Reference"),
    )
    context.setPositions(start.positions[0] * ANGSTROM_IN_NM)
    context.setVelocitiesToTemperature(settings.temperature, int(random.integers(1, 2**31 - 1)))
    integrator.step(settings.equilibration)
    frames = []
    for _ in range(settings.frames):
        integrator.step(settings.stride)
        frames.append(_frame(context, start))
    steps = settings.equilibration + settings.stride * np.arange(1, settings.frames + 1)
    return oracle.label(concatenate(frames).with_info(step=steps))


def _frame(context: Context, like: Dataset) -> Dataset:
    state = context.getState(getPositions=True)
    positions = np.asarray(state.getPositions(asNumpy=True)._value) / ANGSTROM_IN_NM  # noqa: SLF001
    cell = np.zeros((3, 3))
    if like.pbc[0].any():
        cell = np.asarray(state.getPeriodicBoxVectors(asNumpy=True)._value) / ANGSTROM_IN_NM  # noqa: SLF001
    else:
        positions = positions - positions.mean(axis=0)
    return Dataset(numbers=like.numbers[0], positions=positions[None], cell=cell)
