"""How crystals are moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from uncv.schedule import Schedule, as_schedule


@dataclass(frozen=True)
class CrystalSettings:
    """Langevin dynamics of the walkers, each with its own cell.

    Parameters
    ----------
    temperature : float or Schedule
        In K; a schedule is followed at every step.
    timestep : float
        In fs.
    steps : int
        Steps of each walker.
    stride : int
        Steps between stored frames.
    walkers : int
        Number of walkers.
    pressure : float, optional
        In GPa, compressing if positive; constant volume without.
    cell : {'full', 'isotropic'}
        What pressure changes: lengths and angles, or the size alone.
    thermostat_time : float
        Inverse friction of the atoms, in fs.
    barostat_time : float
        In fs: about the period in which a cell of 10 GPa bulk modulus swings (see
        `uncv.ase.LangevinSettings`).
    hydrogen_mass : float, optional
        In amu; taken from the heavy neighbours.
    stress_strength : float, optional
        Of the adaptive bias: size of its stress relative to the physical one; that of the force by
        default.
    volume_limits : tuple of float
        At constant pressure a walker is stopped before its volume leaves this range, in units of
        the smallest and of the largest volume of the start structures.
    min_height : float
        The same for the shortest distance of opposite faces, in units of that of the starts.
    """

    temperature: float | Schedule = 300.0
    timestep: float = 1.0
    steps: int = 1000
    stride: int = 25
    walkers: int = 8
    pressure: float | None = None
    cell: Literal["full", "isotropic"] = "full"
    thermostat_time: float = 100.0
    barostat_time: float = 500.0
    hydrogen_mass: float | None = None
    stress_strength: float | None = None
    volume_limits: tuple[float, float] = (0.5, 3.0)
    min_height: float = 0.5

    def __post_init__(self) -> None:
        names = ("timestep", "steps", "stride", "walkers", "thermostat_time", "barostat_time")
        values = {name: getattr(self, name) for name in (*names, "min_height")}
        values["temperature"] = as_schedule(self.temperature).limits[0]
        values["volume_limits"] = self.volume_limits[0]
        for name, value in values.items():
            if not value > 0:
                raise ValueError(f"{name} is {value}; expected a positive number")
        if self.stride > self.steps:
            raise ValueError(f"stride {self.stride} is longer than the run of {self.steps} steps")
        if self.cell not in ("full", "isotropic"):
            raise ValueError(f"cell is {self.cell!r}; expected 'full' or 'isotropic'")
        if self.pressure is not None and not np.isfinite(self.pressure):
            raise ValueError(f"pressure is {self.pressure}; expected a finite number in GPa")
