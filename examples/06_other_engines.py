"""The uncertainty in programs that know nothing of uncv, through the PLUMED action UNCERTAINTY.

    python 06_other_engines.py

You learn which three files another program needs: plumed_anywhere.dat, ala2.pt (the collective
variable as TorchScript) and uncvplumed.so (the plugin, compiled once). They are made here, a short
trajectory is sampled, and PLUMED's own program runs over it. What PLUMED finds for u is compared
with what uncv finds. It takes a minute, or two if the plugin must be compiled; UNCV_QUICK=1 makes
it short. PLUMED, cmake and a C++ compiler must be installed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import ase
import ase.io
import numpy as np
import torch

import uncv
from uncv.export import export
from uncv.units import uncertainty_in_openmm

QUICK = os.environ.get("UNCV_QUICK") == "1"
FRAMES = 5 if QUICK else 100
INPUT = Path(__file__).with_name("plumed_anywhere.dat")


def sampled(cv: uncv.UncertaintyCV, out: Path) -> uncv.Dataset:
    """Return frames of a short run, written to walk.xyz too."""
    topology, start = uncv.structures.alanine_dipeptide()
    settings = uncv.SampleSettings(steps=10 * FRAMES, stride=10, walkers=1)
    frames = uncv.sample(topology, start, cv, settings=settings, seed=0).frames
    export(cv, start, out / "ala2.pt")
    atoms = [ase.Atoms(frames.numbers[0], x) for x in frames.positions]
    # PLUMED reads a box in the second line: none
    ase.io.write(out / "walk.xyz", atoms, format="xyz", comment="0 0 0")
    return frames


def main(out: Path) -> None:
    """Run plumed driver and compare."""
    out.mkdir(parents=True, exist_ok=True)
    # in double precision, so that a difference would be one of the programs
    ensemble = uncv.load_potential("ani1x").to(torch.float64)
    cv = uncv.UncertaintyCV(ensemble, uncv.EnsembleUncertainty(of="energy"))
    frames = sampled(cv, out)
    plugin = out / "uncvplumed.so"
    plugin.unlink(missing_ok=True)
    plugin.symlink_to(uncv.plugin.build())
    shutil.copy(INPUT, out)

    program = shutil.which("plumed", path=Path(sys.executable).parent) or "plumed"
    driver = [program, "driver", "--plumed", INPUT.name, "--ixyz", "walk.xyz"]
    subprocess.run([*driver, "--length-units", "A"], check=True, cwd=out)

    found = uncv.analysis.read_colvar(out / "COLVAR").column("u")
    expected = cv.evaluate(frames).uncertainty * uncertainty_in_openmm(cv.kind)
    worst = np.abs(found / expected - 1.0).max()
    print(f"{len(found)} frames, u from {found.min():.2f} to {found.max():.2f} kJ/mol")
    print(f"largest relative difference between PLUMED and uncv: {worst:.1e}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("other_engines"), help="folder for files")
    main(parser.parse_args().out)
