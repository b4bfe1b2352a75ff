"""The System of a potential, biased or not, of one or several walkers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openmm
from openmm import app

from uncv.bias import AnyBias
from uncv.cv import UncertaintyCV
from uncv.driver import Driver, PlumedAlone
from uncv.errors import EngineError
from uncv.openmm.checks import Backend, check_bias, check_region
from uncv.openmm.forces import DriverCallback, python_force, torch_force
from uncv.openmm.mixed import embed
from uncv.openmm.particles import is_periodic, particles_of, region_of
from uncv.openmm.plumed_run import Plumed, plumed_walkers
from uncv.step import FusedStep


def create_system(
    topology: app.Topology,
    cv: UncertaintyCV,
    *,
    bias: AnyBias | None = None,
    plumed: str | Path | Plumed | None = None,
    walkers: int = 1,
    backend: Backend = "python",
    atoms: Sequence[int] | None = None,
    system: openmm.System | None = None,
    hydrogen_mass: float | None = None,
) -> openmm.System:
    """Return a System that moves on the ensemble's mean energy plus a bias of its uncertainty.

    Parameters
    ----------
    topology : openmm.app.Topology
        Of one walker; with ``walkers > 1`` simulate the topology that `replicate` returns.
    cv : UncertaintyCV
        Potential and uncertainty.
    bias : AnyBias, optional
        V(u), added to the energy.
    plumed : str, Path or Plumed, optional
        PLUMED input acting on u: by EXTRACV with the python backend, by the action UNCERTAINTY of
        ``uncv plugin``, a second evaluation of the model, with either.
    walkers : int
        Copies of the molecule in one System, evaluated as one batch; they never interact.
    backend : str
        'python' (openmm.PythonForce; everything works) or 'torchforce' (TorchForce, conservative
        biases only).
    atoms : sequence of int, optional
        The model's atoms; all by default.
    system : openmm.System, optional
        A molecular-mechanics System of the same topology: the copy returned has the forces within
        ``atoms`` replaced by the model (mechanical embedding). It is left as it is.
    hydrogen_mass : float, optional
        In amu; taken from the heavy neighbour. Only without ``system``.

    Raises
    ------
    EngineError
        If a combination cannot work, with the alternative.
    ElementError
        If the potential does not know an element.
    """
    check_region(walkers, atoms, system, hydrogen_mass)
    check_bias(cv, bias, plumed, backend)
    region = region_of(topology, atoms, walkers, is_periodic(topology, system))
    made = (
        particles_of(topology, walkers, hydrogen_mass)
        if system is None
        else embed(system, np.arange(region.particles) if atoms is None else np.asarray(atoms))
    )
    if made.getNumParticles() != region.particles:
        raise EngineError(
            f"the System has {made.getNumParticles()} particles and the topology "
            f"{region.particles}; give the topology of this System"
        )
    if backend == "torchforce":
        made.addForce(torch_force(cv, region, "total", bias))
        if plumed is not None:
            made.addForce(plumed_force(made, plumed, walkers))
        return made
    step = FusedStep(cv, region.numbers, walkers, periodic=region.periodic)
    atomic = len(region.numbers) if cv.uncertainty.per_atom else 0
    acting = None if plumed is None else plumed_walkers(plumed, made, walkers, atomic)
    driver = Driver(step, region, bias=bias, plumed=acting)
    made.addForce(python_force(DriverCallback(driver, made), region))
    made.uncv_driver = driver
    return made


def plumed_force(
    system: openmm.System, plumed: str | Path | Plumed, walkers: int = 1
) -> openmm.Force:
    """Return a Force by which PLUMED acts on a System of your own: any force field, or TorchForce.

    ``system.addForce(plumed_force(system, plumed))``. There is no u by EXTRACV here; an exported
    collective variable may be read by the action UNCERTAINTY of ``uncv plugin``. `finish`,
    `save_checkpoint` and `load_checkpoint` work as with `create_system`.

    Parameters
    ----------
    system : openmm.System
        Gives masses, charges (of a NonbondedForce) and whether the box counts; it remembers PLUMED.
    plumed : str, Path or Plumed
        PLUMED input.
    walkers : int
        Copies of a molecule that fill the System.

    Raises
    ------
    EngineError
        If the System has PLUMED or a model of uncv already.
    PlumedError
        If the input is refused.
    """
    if getattr(system, "uncv_driver", None) is not None:
        raise EngineError(
            "the System has a driver of uncv already; give plumed= to create_system instead"
        )
    if system.getNumParticles() % walkers:
        raise EngineError(f"{system.getNumParticles()} particles are not {walkers} equal walkers")
    acting = plumed_walkers(plumed, system, walkers, provides=())
    driver = PlumedAlone(acting, system.usesPeriodicBoundaryConditions())
    force = openmm.PythonForce(DriverCallback(driver, system))
    force.setUsesPeriodicBoundaryConditions(driver.periodic)
    system.uncv_driver = driver
    return force
