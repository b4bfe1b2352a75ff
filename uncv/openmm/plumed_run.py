"""What PLUMED is told of a run in OpenMM."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import openmm
from openmm import unit

from uncv.driver import Region
from uncv.plumed import PlumedDriver, PlumedSettings, StepGate


@dataclass(frozen=True)
class Plumed:
    """A PLUMED input with what PLUMED must know of the run.

    Parameters
    ----------
    script : str or Path
        Input file, or the input itself (a string with a line break). It reads u by
        ``u: EXTRACV NAME=uncertainty`` and the potential energy by ``EXTRACV NAME=energy``.
    timestep : float
        Of the integrator, in ps; another one found while running is an error.
    temperature : float
        In K.
    directory : Path, optional
        Where relative paths in the script begin.
    log : Path, optional
        PLUMED's log.
    """

    script: str | Path
    timestep: float = 0.001
    temperature: float = 300.0
    directory: Path | None = None
    log: Path | None = None


def step_gates(
    plumed: str | Path | Plumed, system: openmm.System, region: Region
) -> list[StepGate]:
    """Return one PLUMED instance for each walker; with several, outputs get .0, .1, ..."""
    run = plumed if isinstance(plumed, Plumed) else Plumed(plumed)
    masses = [
        system.getParticleMass(i).value_in_unit(unit.dalton)
        for i in range(region.particles // region.walkers)
    ]
    settings = PlumedSettings(
        run.script, masses, run.timestep, run.temperature, directory=run.directory, log=run.log
    )
    if region.walkers == 1:
        return [StepGate(PlumedDriver(settings))]
    return [
        StepGate(PlumedDriver(replace(settings, suffix=f".{walker}")))
        for walker in range(region.walkers)
    ]
