"""The end of a run, and its continuation."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app

from uncv.driver import Driver, PlumedAlone
from uncv.errors import EngineError, FileFormatError


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
    FileNotFoundError
    FileFormatError
        If it is another file, or a damaged one.
    EngineError
        If it belongs to another System, integrator or platform.
    PlumedError
        If an output file of PLUMED is not that of the run.
    """
    kept = _read(Path(path))
    driver = _attached(simulation)
    # A context that never had positions of its own crashes at its first step after loadCheckpoint.
    simulation.context.setPositions(np.zeros((simulation.system.getNumParticles(), 3)))
    try:
        simulation.context.loadCheckpoint(kept.pop("openmm").tobytes())
    except openmm.OpenMMException as error:
        raise EngineError(
            f"OpenMM refuses the checkpoint {path}: {error}; load it into a simulation of the same "
            "System, integrator and platform"
        ) from error
    driver.restore(kept)


def _read(path: Path) -> dict[str, NDArray]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            kept = {name: content[name] for name in content.files}
    except (ValueError, BadZipFile, EOFError) as error:
        raise FileFormatError(
            f"{path} is not a whole checkpoint ({error}); expected a file written by "
            "uncv.openmm.save_checkpoint"
        ) from error
    if "openmm" not in kept:
        raise FileFormatError(
            f"{path} holds {', '.join(sorted(kept)) or 'nothing'}; expected a file written by "
            "uncv.openmm.save_checkpoint"
        )
    return kept


def _attached(simulation: app.Simulation) -> Driver | PlumedAlone:
    driver = getattr(simulation.system, "uncv_driver", None)
    return driver if isinstance(driver, PlumedAlone) else driver_of(simulation)
