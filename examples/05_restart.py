"""A run that may be killed at any time, and goes on from its last checkpoint.

    python 05_restart.py

You learn save_checkpoint and load_checkpoint. OPES on the torsion φ and the uncertainty of ANI-1x
runs in two parts with a checkpoint between them, each with a simulation of its own as in two jobs
of a queue. Kill it where you like and start it again: the files of PLUMED are ahead of the
checkpoint by then, and are cut back to it. A run that is complete stays as it is; remove run.chk to
begin anew. At the end the times in COLVAR are counted: none is missing and none is there twice. It
takes half a minute; with UNCV_QUICK=1, seconds. PLUMED must be installed.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import openmm
from openmm import app

import uncv

QUICK = os.environ.get("UNCV_QUICK") == "1"
STEPS = 120 if QUICK else 3000
EVERY = 20 if QUICK else 250  # steps between checkpoints
STRIDE = 2 if QUICK else 10  # steps between lines of COLVAR
TIMESTEP = 0.0005  # ps

# With STATE_WFILE and without STATE_WSTRIDE, OPES writes its state at every checkpoint: the
# continuation is exact.
SCRIPT = f"""\
u: EXTRACV NAME=uncertainty
phi: TORSION ATOMS=5,7,9,15
opes: OPES_METAD ARG=phi,u SIGMA=0.2,1.0 PACE={STRIDE} BARRIER=30 STATE_WFILE=STATE
PRINT ARG=phi,u,opes.bias STRIDE={STRIDE} FILE=COLVAR
"""


def run_to(steps: int, out: Path) -> None:
    """Set everything up as a new process does, take up the last checkpoint, and run on."""
    topology, start = uncv.structures.alanine_dipeptide()
    ensemble = uncv.load_potential("ani1x")
    cv = uncv.UncertaintyCV(ensemble, uncv.EnsembleUncertainty(of="energy"))
    plumed = uncv.openmm.Plumed(SCRIPT, timestep=TIMESTEP, temperature=300.0, directory=out)
    system = uncv.openmm.create_system(topology, cv, plumed=plumed)
    integrator = openmm.LangevinMiddleIntegrator(300.0, 2.0, TIMESTEP)
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(topology, system, integrator, platform)
    simulation.context.setPositions(start.positions[0] * 0.1)
    checkpoint = out / "run.chk"
    if checkpoint.exists():
        uncv.openmm.load_checkpoint(simulation, checkpoint)
        print(f"taken up at step {simulation.currentStep}")
    else:
        simulation.context.setVelocitiesToTemperature(300.0)
    while simulation.currentStep < steps:
        simulation.step(min(EVERY, steps - simulation.currentStep))
        uncv.openmm.save_checkpoint(simulation, checkpoint)
    print(f"complete to step {simulation.currentStep}")
    uncv.openmm.driver_of(simulation).close()


def main(out: Path) -> None:
    """Run in two parts and count the times in COLVAR."""
    out.mkdir(parents=True, exist_ok=True)
    run_to(STEPS // 2, out)
    run_to(STEPS, out)
    colvar = uncv.analysis.read_colvar(out / "COLVAR")
    found = np.rint(colvar.column("time") / TIMESTEP).astype(int)
    expected = np.arange(0, STEPS + 1, STRIDE)
    missing, twice = np.setdiff1d(expected, found), len(found) - len(np.unique(found))
    print(f"COLVAR has {len(found)} lines: {len(missing)} are missing, {twice} are there twice")
    print(f"last bias {colvar.column('opes.bias')[-1]:.2f} kJ/mol")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("restart"), help="folder for files")
    main(parser.parse_args().out)
