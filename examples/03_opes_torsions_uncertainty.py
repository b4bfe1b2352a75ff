"""OPES on the torsions φ and ψ that keeps to what the model knows, or looks for what it does not.

    python 03_opes_torsions_uncertainty.py wall        # bias (φ, ψ), wall on u
    python 03_opes_torsions_uncertainty.py variable    # bias (φ, ψ, u)

You learn two ways to use u beside geometric variables. The first is for free energies of a model as
it is: structures that the eight members of ANI-1x disagree on are kept out. The second is for
exploration: u is a third variable, and each (φ, ψ) is also visited in structures of high u. Eight
walkers have a bias of their own each, which OPES moves little once it has seen the basins. A run of
some hundred picoseconds is reweighted by

    uncv analyze COLVAR.* --bias opes.bias --bias wall.bias --discard 0.2 --out map.png

(without the wall in the second case). The few picoseconds that run here show how it begins. It
takes a minute; with UNCV_QUICK=1, a few steps of two walkers. PLUMED must be installed.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

import uncv

QUICK = os.environ.get("UNCV_QUICK") == "1"
WALKERS = 2 if QUICK else 8
SETTINGS = uncv.SampleSettings(
    temperature=300.0,
    timestep=1.0,
    hydrogen_mass=4.0,
    steps=70 if QUICK else 2500,
    stride=10,
    walkers=WALKERS,
)
VALUES = """\
phi: TORSION ATOMS=5,7,9,15
psi: TORSION ATOMS=7,9,15,17
u: EXTRACV NAME=uncertainty
"""
# In free runs u is 4.6 ± 1.0 kJ/mol and below 7.0 in 99 of 100 frames.
WALL = """\
opes: OPES_METAD ARG=phi,psi SIGMA=0.3,0.3 PACE=20 BARRIER=40 STATE_WFILE=STATE
wall: UPPER_WALLS ARG=u AT=8 KAPPA=2
PRINT ARG=phi,psi,u,opes.bias,wall.bias STRIDE=10 FILE=COLVAR
"""
VARIABLE = """\
opes: OPES_METAD ARG=phi,psi,u SIGMA=0.3,0.3,1.0 PACE=20 BARRIER=40 STATE_WFILE=STATE
PRINT ARG=phi,psi,u,opes.bias STRIDE=10 FILE=COLVAR
"""
INPUTS = {"wall": VALUES + WALL, "variable": VALUES + VARIABLE}


def main(choice: str, out: Path) -> None:
    """Run and say where the walkers have been."""
    topology, start = uncv.structures.alanine_dipeptide()
    ensemble = uncv.load_potential("ani1x")
    cv = uncv.UncertaintyCV(ensemble, uncv.EnsembleUncertainty(of="energy"))
    plumed = uncv.openmm.Plumed(INPUTS[choice], directory=out)
    uncv.sample(topology, start, cv, settings=SETTINGS, plumed=plumed, seed=0)

    tables = [uncv.analysis.read_colvar(out / f"COLVAR.{walker}") for walker in range(WALKERS)]
    phi, psi, u = (np.array([t.column(name) for t in tables]) for name in ("phi", "psi", "u"))
    covered = uncv.analysis.coverage(np.stack([phi.ravel(), psi.ravel()], axis=1))
    print(f"u = {u.mean():.2f} ± {u.std():.2f} kJ/mol, at most {u.max():.2f}")
    print(f"coverage of (φ, ψ) {covered:.3f} by {u.size} lines of COLVAR")
    crossed = int((np.degrees(phi) > 20).any(axis=1).sum())
    print(f"{crossed} of {WALKERS} walkers have been at φ > 20°")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("choice", nargs="?", choices=INPUTS, default="wall", help="role of u")
    parser.add_argument("--out", type=Path, default=Path("opes"), help="folder for files")
    arguments = parser.parse_args()
    main(arguments.choice, arguments.out)
