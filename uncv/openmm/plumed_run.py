"""What PLUMED is told of a run in OpenMM."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import openmm
from openmm import unit

from uncv.plumed import PlumedSettings, PlumedWalkers


@dataclass(frozen=True)
class Plumed:
    """A PLUMED input with what PLUMED must know of the run.

    Parameters
    ----------
    script : str or Path
        Input file, or the input itself (a string with a line break). It reads u by
        ``u: EXTRACV NAME=uncertainty``, the potential energy by ``EXTRACV NAME=energy``, and the
        uncertainties of A atoms by ``atomic_uncertainty: PUT SHAPE=A UNIT=number PERIODIC=NO``.
    timestep : float
        Of the integrator, in ps; another one found while running is an error.
    temperature : float
        In K.
    directory : str or Path, optional
        Where relative paths in the script begin.
    log : str or Path, optional
        PLUMED's log.
    """

    script: str | Path
    timestep: float = 0.001
    temperature: float = 300.0
    directory: str | Path | None = None
    log: str | Path | None = None


def plumed_walkers(
    plumed: str | Path | Plumed,
    system: openmm.System,
    walkers: int,
    model_atoms: int = 0,
    provides: tuple[str, ...] = ("uncertainty", "energy"),
) -> PlumedWalkers:
    """Return PLUMED for the walkers of a System: masses, charges and what the input may ask for.

    Parameters
    ----------
    plumed : str, Path or Plumed
        The input.
    system : openmm.System
        All walkers.
    walkers : int
        How many.
    model_atoms : int
        Number of atomic uncertainties that PUT may take; 0 for none.
    provides : tuple of str
        Names that EXTRACV may ask for.
    """
    run = plumed if isinstance(plumed, Plumed) else Plumed(plumed)
    each = range(system.getNumParticles() // walkers)
    settings = PlumedSettings(
        run.script,
        [system.getParticleMass(i).value_in_unit(unit.dalton) for i in each],
        run.timestep,
        run.temperature,
        _charges(system, each),
        provides,
        {"atomic_uncertainty": model_atoms} if model_atoms else {},
        directory=run.directory,
        log=run.log,
    )
    return PlumedWalkers(settings, walkers)


def _charges(system: openmm.System, particles: range) -> list[float] | None:
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            of = (force.getParticleParameters(i)[0] for i in particles)
            return [charge.value_in_unit(unit.elementary_charge) for charge in of]
    return None
