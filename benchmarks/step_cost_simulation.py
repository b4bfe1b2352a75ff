"""Simulations of `step_cost.py`: OpenMM steps of a system, biased by its uncertainty."""

from __future__ import annotations

from pathlib import Path

import openmm
from openmm import app
from step_cost_systems import topology

import uncv
from uncv.bias import LinearBias

TIMESTEP = 0.0005
"""In ps."""
STRENGTH = 1e-4
"""Of the linear bias: so weak that it costs what any costs and moves nothing."""
METAD = """\
u: EXTRACV NAME=uncertainty
METAD ARG=u SIGMA=0.5 HEIGHT=0.001 PACE=100 GRID_MIN=-10 GRID_MAX=400 GRID_BIN=2000
PRINT ARG=u STRIDE=100 FILE=COLVAR
"""


def simulation(
    cv: uncv.UncertaintyCV,
    frame: uncv.Dataset,
    *,
    walkers: int = 1,
    backend: str = "python",
    plumed: Path | None = None,
    temperature: float = 300.0,
) -> app.Simulation:
    """Return a simulation on OpenMM's Reference platform, the quickest around a Python force.

    Parameters
    ----------
    cv : UncertaintyCV
        Potential and uncertainty; a weak linear bias acts on the latter.
    frame : Dataset
        Where it starts.
    walkers, backend
        As of `uncv.openmm.create_system`.
    plumed : Path, optional
        Folder for the files of PLUMED, which then acts in place of the bias.
    temperature : float
        In K; drawn weights hold nothing together and want a low one.
    """
    one = topology(frame)
    script = None if plumed is None else uncv.openmm.Plumed(METAD, TIMESTEP, directory=plumed)
    system = uncv.openmm.create_system(
        one,
        cv,
        bias=LinearBias(STRENGTH) if plumed is None else None,
        plumed=script,
        walkers=walkers,
        backend=backend,
    )
    everyone, positions = uncv.openmm.replicate(one, frame.positions[0] * 0.1, walkers)
    return started(system, everyone, positions, temperature)


def started(
    system: openmm.System, everyone: app.Topology, positions: object, temperature: float = 300.0
) -> app.Simulation:
    """Return a simulation of a System with velocities."""
    integrator = openmm.LangevinMiddleIntegrator(temperature, 1, TIMESTEP)
    integrator.setRandomNumberSeed(1)
    platform = openmm.Platform.getPlatformByName("Reference")
    made = app.Simulation(everyone, system, integrator, platform)
    made.context.setPositions(positions)
    made.context.setVelocitiesToTemperature(temperature, 1)
    return made
