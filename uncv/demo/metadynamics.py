"""A short well-tempered metadynamics on the uncertainty, by PLUMED inside OpenMM."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.errors import EngineError
from uncv.openmm import Plumed, create_system, driver_of, finish
from uncv.units import ANGSTROM_IN_NM, FS_IN_PS, uncertainty_in_openmm

if TYPE_CHECKING:
    from openmm.app import Topology

SCRIPT = """\
# Well-tempered metadynamics on the uncertainty of the potential.
u: EXTRACV NAME=uncertainty
METAD ...
  LABEL=metad ARG=u
  SIGMA={sigma:.4g} HEIGHT=1.0 BIASFACTOR=8 PACE=25 TEMP={temperature:g}
  FILE=HILLS
... METAD
# Beyond what the campaign has seen the potential is no guide.
wall: UPPER_WALLS ARG=u AT={wall:.4g} KAPPA={kappa:.4g}
PRINT ARG=u,metad.bias,wall.bias STRIDE=5 FILE=COLVAR
"""


@dataclass(frozen=True)
class Metadynamics:
    """Where and how long.

    Parameters
    ----------
    folder : pathlib.Path
        Gets ``plumed.dat``, ``COLVAR`` and ``HILLS``.
    steps : int
        Steps of 0.5 fs.
    temperature : float
        In K.
    seed : int
        Of velocities and thermostat.
    """

    folder: Path
    steps: int
    temperature: float = 300.0
    seed: int = 0


def run_metadynamics(
    topology: Topology,
    start: Dataset,
    cv: UncertaintyCV,
    seen: NDArray[np.float64],
    run: Metadynamics,
) -> NDArray[np.float64]:
    """Run and return COLVAR as an array (T, 4): time (ps), u, bias and wall (PLUMED's units).

    Parameters
    ----------
    topology : openmm.app.Topology
        The molecule.
    start : Dataset
        One frame.
    cv : UncertaintyCV
        Potential and uncertainty.
    seen : numpy.ndarray
        Uncertainties of frames met before, in the unit of the kind; their spread sets the width of
        the hills and their 99 % quantile the wall.
    run : Metadynamics
        Settings.

    Raises
    ------
    PlumedError
        With PLUMED's own message, if it refuses its input.
    EngineError
        If the simulation leaves the finite.
    """
    from openmm import LangevinMiddleIntegrator, Platform
    from openmm.app import Simulation

    script = run.folder / "plumed.dat"
    script.write_text(_script(cv, seen, run), encoding="utf-8")
    for name in ("COLVAR", "HILLS"):
        (run.folder / name).unlink(missing_ok=True)
    timestep = 0.5 * FS_IN_PS
    plumed = Plumed(script, timestep, run.temperature, directory=run.folder)
    system = create_system(topology, cv, plumed=plumed)
    integrator = LangevinMiddleIntegrator(run.temperature, 2.0, timestep)
    integrator.setRandomNumberSeed(run.seed + 1)
    platform = Platform.getPlatformByName("Reference")
    simulation = Simulation(topology, system, integrator, platform)
    simulation.context.setPositions(start.positions[0] * ANGSTROM_IN_NM)
    simulation.context.setVelocitiesToTemperature(run.temperature, run.seed + 1)
    simulation.step(run.steps)
    finish(simulation)
    driver_of(simulation).close()  # PLUMED writes the last lines when it ends
    colvar = np.atleast_2d(np.loadtxt(run.folder / "COLVAR", comments="#"))
    if not np.isfinite(colvar).all():
        raise EngineError(f"{run.folder / 'COLVAR'} holds values that are not finite")
    return colvar


def _script(cv: UncertaintyCV, seen: NDArray[np.float64], run: Metadynamics) -> str:
    values = seen[np.isfinite(seen)] * uncertainty_in_openmm(cv.kind)
    spread = max(float(np.std(values)), 1e-3)
    return SCRIPT.format(
        sigma=0.5 * spread,
        temperature=run.temperature,
        wall=float(np.quantile(values, 0.99)),
        kappa=10.0 / spread**2,
    )
