"""Cost of a restraint on u for alanine dipeptide with ANI-1x: by the plugin and by EXTRACV.

    python benchmarks/plugin_cost.py [--json] [--repeats 40]

The plugin evaluates the model a second time; EXTRACV shares the evaluation of the step. The
contenders take turns of ten steps; the figures are medians in milliseconds a step.
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
import uncv.plugin
from uncv.export import export
from uncv.plumed import PlumedDriver, PlumedSettings
from uncv.structures import alanine_dipeptide

STEPS = 10
RESTRAINT = "RESTRAINT ARG=u AT=5 KAPPA=0.01\n"
EXTRACV = "u: EXTRACV NAME=uncertainty\n" + RESTRAINT


def context(
    topology: app.Topology, cv: uncv.UncertaintyCV, plumed: str | None, x: np.ndarray
) -> openmm.Context:
    """Return a run on the Reference platform."""
    run = None if plumed is None else uncv.openmm.Plumed(plumed, timestep=0.0005)
    system = uncv.openmm.create_system(topology, cv, plumed=run)
    reference = openmm.Platform.getPlatformByName("Reference")
    made = openmm.Context(system, openmm.VerletIntegrator(0.0005), reference)
    made.setPositions(x / 10.0)
    return made


def measure(of: str, repeats: int, folder: Path) -> dict[str, float]:
    """Return milliseconds a step for one uncertainty."""
    topology, data = alanine_dipeptide()
    cv = uncv.UncertaintyCV(uncv.load_potential("ani1x"), uncv.EnsembleUncertainty(of=of))
    file = export(cv, data, folder / f"{of}.pt")
    plugin = f"LOAD FILE={uncv.plugin.build()}\nu: UNCERTAINTY MODEL={file} ATOMS=1-22\n"
    x = data.positions[0]
    runs = {
        "no bias": context(topology, cv, None, x),
        "EXTRACV": context(topology, cv, EXTRACV, x),
        "plugin": context(topology, cv, plugin + RESTRAINT, x),
    }
    driver = PlumedDriver(PlumedSettings(plugin + RESTRAINT, np.ones(22)))
    noise = np.random.default_rng(0)
    times: dict[str, list[float]] = {name: [] for name in [*runs, "plugin alone"]}
    for turn in range(repeats + 3):
        spent = {}
        for name, run in runs.items():
            begun = time.perf_counter()
            run.getIntegrator().step(STEPS)
            spent[name] = time.perf_counter() - begun
        begun = time.perf_counter()
        for step in range(STEPS):
            driver.begin(STEPS * turn + step, (x + noise.normal(scale=0.01, size=x.shape)) / 10)
            driver.finish({})
        spent["plugin alone"] = time.perf_counter() - begun
        for name, value in spent.items():
            if turn >= 3:
                times[name].append(1e3 * value / STEPS)
    driver.close()
    return {f"u of {of}, {name} ms": float(np.median(v)) for name, v in times.items()}


def main() -> None:
    """Print the table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--repeats", type=int, default=40, help="turns that count")
    options = parser.parse_args()
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for of, share in (("energy", 1), ("forces", 4)):
            found |= measure(of, max(options.repeats // share, 1), Path(folder))
    about = {"torch": torch.__version__, "threads": torch.get_num_threads(),
             "machine": platform.processor() or platform.machine()}  # fmt: skip
    if options.json:
        json.dump({"figures": found, "about": about}, sys.stdout, indent=2)
        return
    print(f"alanine dipeptide, 22 atoms, ANI-1x, 8 members; {about}")
    for name, value in found.items():
        print(f"{name:32s} {value:8.2f}")


if __name__ == "__main__":
    main()
