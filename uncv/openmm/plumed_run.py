"""What PLUMED is told of a run in OpenMM."""

from __future__ import annotations

from pathlib import Path

import openmm
from openmm import unit

from uncv.plumed import Plumed, PlumedSettings, PlumedWalkers


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
        run.told().timestep,
        run.told().temperature,
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
