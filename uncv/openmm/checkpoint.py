"""The end of a run, and its continuation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from openmm import app

from uncv.driver import Driver
from uncv.errors import EngineError


def driver_of(simulation: app.Simulation) -> Driver:
    """Return the driver of a simulation whose System `create_system` made.

    Raises
    ------
    EngineError
        If the System is another one, or of the torchforce backend.
    """
    driver = getattr(simulation.system, "uncv_driver", None)
    if driver is None:
        raise EngineError(
            "the simulation's System has no driver of uncv; make it by "
            "uncv.openmm.create_system(..., backend='python') and pass that object to Simulation"
        )
    return driver


def finish(simulation: app.Simulation) -> None:
    """Complete a run: PLUMED's update of the last step is made and its files are written out."""
    driver_of(simulation).flush(simulation.context.getStepCount())


def save_checkpoint(simulation: app.Simulation, path: str | Path) -> None:
    """Write OpenMM's checkpoint and the driver's state to one file, for an exact continuation."""
    driver = driver_of(simulation)
    context = simulation.context.createCheckpoint()
    path = Path(path)
    scratch = path.with_name(path.name + ".part")
    with scratch.open("wb") as file:
        np.savez(file, openmm=np.frombuffer(context, dtype=np.uint8), **driver.state())  # type: ignore[arg-type]
    scratch.replace(path)


def load_checkpoint(simulation: app.Simulation, path: str | Path) -> None:
    """Take up a run at a checkpoint that `save_checkpoint` wrote on the same machine."""
    with np.load(Path(path), allow_pickle=False) as kept:
        simulation.context.loadCheckpoint(kept["openmm"].tobytes())
        driver_of(simulation).restore({k: kept[k] for k in kept.files if k != "openmm"})
