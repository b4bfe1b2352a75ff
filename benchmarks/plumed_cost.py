"""What PLUMED adds to a step inside OpenMM.

    OMP_NUM_THREADS=1 python benchmarks/plumed_cost.py [--json] [--blocks 12] [--steps 40]

Two measurements. The driver alone: CPU time of one PLUMED step, deposits and files included,
without any model. Walkers: one and eight walkers of alanine dipeptide with the eight members of
ANI-1x, with PLUMED and without, in turns. Figures are medians. For the plugin see plugin_cost.py.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import openmm
import torch
from openmm import app

import uncv
from uncv.plumed import PlumedDriver, PlumedSettings, StepGate

U = "u: EXTRACV NAME=uncertainty\n"
GRID = "GRID_MIN=-10 GRID_MAX=400 GRID_BIN=2000"
INPUTS = {
    "restraint on u": U + "RESTRAINT ARG=u AT=1 KAPPA=0.1\n",
    "METAD on u, grid": U + f"METAD ARG=u SIGMA=0.5 HEIGHT=1 PACE=500 {GRID}\n",
    "METAD on (u, phi), grid": U + "phi: TORSION ATOMS=5,7,9,15\n"
    "METAD ARG=u,phi SIGMA=0.5,0.3 HEIGHT=1 PACE=500 GRID_MIN=-10,-pi GRID_MAX=400,pi "
    "GRID_BIN=800,100\n",
    "OPES on (phi, psi)": "phi: TORSION ATOMS=5,7,9,15\npsi: TORSION ATOMS=7,9,15,17\n"
    "OPES_METAD ARG=phi,psi PACE=500 BARRIER=30\n",
}
PRINT = "PRINT ARG=* STRIDE=100 FILE=COLVAR\n"
METAD = INPUTS["METAD on u, grid"] + "PRINT ARG=u STRIDE=100 FILE=COLVAR\n"
TARGETS = {"METAD on u, grid, us": 100.0, "8 walkers, with / without PLUMED": 1.3}


def driver_alone(script: str, atoms: int, blocks: int, steps: int) -> float:
    """Return CPU microseconds of a PLUMED step: values in, forces out, update, files."""
    noise = np.random.default_rng(0).normal(size=(steps, atoms, 3))
    with tempfile.TemporaryDirectory() as folder:
        settings = PlumedSettings(script + PRINT, np.ones(atoms), directory=Path(folder))
        gate = StepGate(PlumedDriver(settings))
        times = []
        for block in range(blocks + 2):
            begun = time.process_time()
            for k in range(steps):
                if gate.begin(block * steps + k, noise[k]) is None:
                    gate.finish({"uncertainty": 9.0 + noise[k, 0, 0], "energy": -1.0})
            times.append((time.process_time() - begun) / steps * 1e6)
        gate.close()
    return float(np.median(times[2:]))


def simulation(
    cv: uncv.UncertaintyCV, script: str | None, walkers: int, folder: Path
) -> app.Simulation:
    """Return a simulation of the walkers, with PLUMED or without."""
    topology, start = uncv.structures.alanine_dipeptide()
    plumed = None if script is None else uncv.openmm.Plumed(script, 0.0005, directory=folder)
    system = uncv.openmm.create_system(topology, cv, plumed=plumed, walkers=walkers)
    everyone, positions = uncv.openmm.replicate(topology, start.positions[0] * 0.1, walkers)
    integrator = openmm.LangevinMiddleIntegrator(300, 2, 0.0005)
    integrator.setRandomNumberSeed(1)
    made = app.Simulation(
        everyone, system, integrator, openmm.Platform.getPlatformByName("Reference")
    )
    made.context.setPositions(positions)
    made.context.setVelocitiesToTemperature(300, 1)
    made.step(10)
    return made


def in_turns(
    one: app.Simulation, other: app.Simulation, blocks: int, steps: int
) -> tuple[list[float], float]:
    """Return milliseconds of a step of both, and the median ratio of neighbouring turns."""
    times: list[tuple[float, float]] = []
    for _ in range(blocks):
        pair = []
        for run in (one, other):
            begun = time.perf_counter()
            run.step(steps)
            pair.append((time.perf_counter() - begun) / steps * 1e3)
        times.append((pair[0], pair[1]))
    both = np.array(times)
    return np.median(both, axis=0).tolist(), float(np.median(both[:, 0] / both[:, 1]))


def measure(blocks: int, steps: int) -> dict[str, float]:
    """Return all figures."""
    found: dict[str, float] = {}
    for name, script in INPUTS.items():
        found[f"{name}, us"] = driver_alone(script, 22, blocks, 1000)
    cv = uncv.UncertaintyCV(uncv.load_potential("ani1x"), uncv.EnsembleUncertainty(of="energy"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for walkers in (1, 8):
            here = folder / f"w{walkers}"
            pair = simulation(cv, METAD, walkers, here), simulation(cv, None, walkers, here)
            (with_plumed, without), ratio = in_turns(*pair, blocks, steps)
            found[f"{walkers} walkers, with PLUMED, ms"] = with_plumed
            found[f"{walkers} walkers, without, ms"] = without
            found[f"{walkers} walkers, with / without PLUMED"] = ratio
    return found


def main() -> None:
    """Print the table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--blocks", type=int, default=12, help="turns that count")
    parser.add_argument("--steps", type=int, default=40, help="steps of a turn")
    options = parser.parse_args()
    found = measure(options.blocks, options.steps)
    about = {"torch": torch.__version__, "threads": torch.get_num_threads(),
             "machine": platform.processor() or platform.machine()}  # fmt: skip
    if options.json:
        json.dump({"figures": found, "about": about}, sys.stdout, indent=2)
        return
    print(f"alanine dipeptide, 22 atoms; {about}")
    for name, value in found.items():
        target = f"target <= {TARGETS[name]:g}" if name in TARGETS else ""
        print(f"{name:40s} {value:9.2f}   {target}")


if __name__ == "__main__":
    main()
