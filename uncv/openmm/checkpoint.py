"""The end of a run, and its continuation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from openmm import app

from uncv.driver import Driver, PlumedAlone
from uncv.errors import EngineError


def driver_of(simulation: app.Simulation) -> Driver:
    """Return the driver of a simulation whose System `create_system` made.

    Raises
    ------
    EngineError
        If the System is another one, or of the torchforce backend.
    """
    driver = getattr(simulation.system, "uncv_driver", None)
    if not isinstance(driver, Driver):
        raise EngineError(
            "the simulation's System has no driver of uncv; make it by "
            "uncv.openmm.create_system(..., backend='python') and pass that object to Simulation"
        )
    return driver


def finish(simulation: app.Simulation) -> None:
    """Complete a run: PLUMED's update of the last step is made and its files are written out."""
    _attached(simulation).flush(simulation.context.getStepCount())


def save_checkpoint(simulation: app.Simulation, path: str | Path) -> None:
    """Write OpenMM's checkpoint and the driver's state to one file, for an exact continuation.

    PLUMED makes its update of the present step now. Its output files stay where they are and run
    ahead of the checkpoint: where each of them ends now is part of it.

    Warns
    -----
    UserWarning
        If an action of the PLUMED input keeps in memory what it cannot take up, for instance OPES
        without STATE_WFILE.
    """
    driver = _attached(simulation)
    simulation.context.getState(energy=True)  # of the structure that the integrator goes on from
    context = simulation.context.createCheckpoint()
    state = driver.state(simulation.context.getStepCount())
    path = Path(path)
    scratch = path.with_name(path.name + ".part")
    with scratch.open("wb") as file:
        np.savez(file, openmm=np.frombuffer(context, dtype=np.uint8), **state)  # type: ignore[arg-type]
    scratch.replace(path)


def load_checkpoint(simulation: app.Simulation, path: str | Path) -> None:
    """Take up a run at a checkpoint that `save_checkpoint` wrote on the same machine.

    The output files of PLUMED are cut to where they ended at the checkpoint, and its restart reads
    them. Call it before the first evaluation: PLUMED renames the files of a former run when a new
    one begins.

    Raises
    ------
    PlumedError
        If an output file of PLUMED is not that of the run.
    """
    # A context that never had positions of its own crashes at its first step after loadCheckpoint.
    simulation.context.setPositions(np.zeros((simulation.system.getNumParticles(), 3)))
    with np.load(Path(path), allow_pickle=False) as kept:
        simulation.context.loadCheckpoint(kept["openmm"].tobytes())
        _attached(simulation).restore({k: kept[k] for k in kept.files if k != "openmm"})


def _attached(simulation: app.Simulation) -> Driver | PlumedAlone:
    driver = getattr(simulation.system, "uncv_driver", None)
    return driver if isinstance(driver, PlumedAlone) else driver_of(simulation)
