"""Walkers in one context that share their hills, each with a limit of its own.

    python 04_multiple_walkers.py

You learn WALKERS_N and @replicas. Four walkers of alanine dipeptide do well-tempered metadynamics
on (φ, ψ): each deposits its hills in HILLS.i and reads those of the others, so together they fill
the basins four times as fast. A wall keeps u of each walker below a value of its own: the first
stays where ANI-1x is sure, the last may go where it is not. (Walkers of different walls are for
exploration; to reweight, give all the same.) Printed are the hills and the coverage of each walker
and of all. It takes a minute; with UNCV_QUICK=1, a few steps. PLUMED must be installed.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

import uncv

QUICK = os.environ.get("UNCV_QUICK") == "1"
WALKERS = 4
SETTINGS = uncv.SampleSettings(
    temperature=300.0,
    timestep=1.0,
    hydrogen_mass=4.0,
    steps=70 if QUICK else 2500,
    stride=10,
    walkers=WALKERS,
)
SCRIPT = f"""\
phi: TORSION ATOMS=5,7,9,15
psi: TORSION ATOMS=7,9,15,17
u: EXTRACV NAME=uncertainty
metad: METAD ...
  ARG=phi,psi SIGMA=0.3,0.3 HEIGHT=2.5 PACE=20 BIASFACTOR=20
  WALKERS_N={WALKERS} WALKERS_RSTRIDE=20 FILE=HILLS
...
wall: UPPER_WALLS ARG=u AT=@replicas:6,8,12,20 KAPPA=2
PRINT ARG=phi,psi,u,metad.bias,wall.bias STRIDE=10 FILE=COLVAR FMT=%.8f
"""


def main(out: Path) -> None:
    """Run, and tell the walkers apart."""
    topology, start = uncv.structures.alanine_dipeptide()
    ensemble = uncv.load_potential("ani1x")
    cv = uncv.UncertaintyCV(ensemble, uncv.EnsembleUncertainty(of="energy"))
    plumed = uncv.openmm.Plumed(SCRIPT, directory=out)
    uncv.sample(topology, start, cv, settings=SETTINGS, plumed=plumed, seed=0)

    everywhere = []
    for walker in range(WALKERS):
        table = uncv.analysis.read_colvar(out / f"COLVAR.{walker}")
        angles = np.stack([table.column("phi"), table.column("psi")], axis=1)
        everywhere.append(angles)
        hills = len(np.loadtxt(out / f"HILLS.{walker}", ndmin=2))
        covered = uncv.analysis.coverage(angles)
        highest = table.column("u").max()
        print(f"walker {walker}: {hills} hills, coverage {covered:.3f}", end=", ")
        print(f"u at most {highest:.2f} kJ/mol")
    covered = uncv.analysis.coverage(np.concatenate(everywhere))
    print(f"all together: coverage {covered:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("walkers"), help="folder for files")
    main(parser.parse_args().out)
