"""The uncertainty in programs that know nothing of uncv, through the PLUMED action UNCERTAINTY.

    python examples/06_other_engines.py

Builds the plugin (once), exports the collective variable as a TorchScript file, samples a short
trajectory, and lets PLUMED's own program run over it with plumed_anywhere.dat. What PLUMED finds
for u is compared with what uncv finds. For molecular dynamics give the same three files to the
program of your choice: plumed_anywhere.dat, ala2.pt and uncvplumed.so. UNCV_QUICK=1 makes it short.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import ase
import ase.io
import numpy as np

import uncv
import uncv.plugin
from uncv.export import export
from uncv.units import uncertainty_in_openmm

QUICK = os.environ.get("UNCV_QUICK") == "1"
FRAMES = 5 if QUICK else 100
INPUT = Path(__file__).with_name("plumed_anywhere.dat")


def sampled(cv: uncv.UncertaintyCV) -> uncv.Dataset:
    """Return frames of a short run, written to walk.xyz too."""
    topology, start = uncv.structures.alanine_dipeptide()
    settings = uncv.SampleSettings(steps=10 * FRAMES, stride=10, walkers=1)
    frames = uncv.sample(topology, start, cv, settings=settings, seed=0).frames
    export(cv, start, "ala2.pt")
    atoms = [ase.Atoms(frames.numbers[0], x) for x in frames.positions]
    ase.io.write("walk.xyz", atoms, format="xyz", comment="0 0 0")  # PLUMED reads a box there: none
    return frames


def main() -> None:
    """Run plumed driver and compare."""
    ensemble = uncv.load_potential("ani1x")
    cv = uncv.UncertaintyCV(ensemble, uncv.EnsembleUncertainty(of="energy"))
    frames = sampled(cv)
    plugin = Path("uncvplumed.so")
    plugin.unlink(missing_ok=True)
    plugin.symlink_to(uncv.plugin.build())
    shutil.copy(INPUT, ".")

    program = shutil.which("plumed", path=Path(sys.executable).parent) or "plumed"
    driver = [program, "driver", "--plumed", INPUT.name, "--ixyz", "walk.xyz"]
    subprocess.run([*driver, "--length-units", "A"], check=True)

    found = uncv.analysis.read_colvar("COLVAR").column("u")
    expected = cv.evaluate(frames).uncertainty * uncertainty_in_openmm(cv.kind)
    worst = np.abs(found / expected - 1.0).max()
    print(f"{len(found)} frames, u from {found.min():.2f} to {found.max():.2f} kJ/mol")
    print(f"largest relative difference between PLUMED and uncv: {worst:.1e}")


if __name__ == "__main__":
    main()
