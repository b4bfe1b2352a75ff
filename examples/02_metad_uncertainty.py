"""Metadynamics on the uncertainty: hills push walkers to where the members of ANI-1x disagree.

    python 02_metad_uncertainty.py

You learn how PLUMED sees u, and how to find the width of the hills. Eight walkers of alanine
dipeptide run twice for the same time: as they are, and with well-tempered metadynamics on u, whose
hills they share. The width of the hills is half the spread of u in the first run. Hills act above
its mean only: others would drive u towards zero half of the time. Far from what the model knows u
has no upper bound, so there is a wall. Printed are u and the coverage of the torsions (φ, ψ) in
both runs; PLUMED writes a COLVAR and a HILLS for each walker. Hills this frequent heat the
molecule; for free energies make PACE ten times as long.

It takes a minute; with UNCV_QUICK=1, a few steps of two walkers. PLUMED must be installed
(`uncv doctor` says how).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import uncv
from uncv.units import EV_IN_KJ_PER_MOL

QUICK = os.environ.get("UNCV_QUICK") == "1"
WALKERS = 2 if QUICK else 8
SETTINGS = uncv.SampleSettings(
    temperature=300.0,
    timestep=1.0,
    hydrogen_mass=4.0,
    steps=70 if QUICK else 1500,
    stride=10,
    walkers=WALKERS,
)
SCRIPT = """\
u: EXTRACV NAME=uncertainty
metad: METAD ...
  ARG=u SIGMA={sigma:.3f} HEIGHT=1.2 PACE=20 BIASFACTOR=20 INTERVAL={mean:.3f},1000
  WALKERS_N={walkers} WALKERS_RSTRIDE=20 FILE=HILLS
...
wall: UPPER_WALLS ARG=u AT={wall:.3f} KAPPA=1
PRINT ARG=u,metad.bias,wall.bias STRIDE=10 FILE=COLVAR
"""


def report(name: str, run: uncv.SampledRun) -> None:
    """Print how far a run has come."""
    u = run.uncertainty * EV_IN_KJ_PER_MOL
    covered = uncv.analysis.coverage(uncv.analysis.dihedrals(run.frames))
    print(
        f"{name:12s} u = {u.mean():.2f} ± {u.std():.2f} kJ/mol, at most {u.max():.2f}; "
        f"coverage of (φ, ψ) {covered:.3f} by {len(run.frames)} frames"
    )


def main(out: Path) -> None:
    """Run without and with metadynamics."""
    topology, start = uncv.structures.alanine_dipeptide()
    ensemble = uncv.load_potential("ani1x")
    cv = uncv.UncertaintyCV(ensemble, uncv.EnsembleUncertainty(of="energy"))

    free = uncv.sample(topology, start, cv, settings=SETTINGS, seed=0)
    report("unbiased", free)

    u = free.uncertainty * EV_IN_KJ_PER_MOL
    mean, spread = u.mean(), u.std()
    script = SCRIPT.format(mean=mean, sigma=spread / 2, wall=mean + 15 * spread, walkers=WALKERS)
    out.mkdir(parents=True, exist_ok=True)
    (out / "plumed.dat").write_text(script, encoding="utf-8")
    plumed = uncv.openmm.Plumed(script, directory=out)
    biased = uncv.sample(topology, start, cv, settings=SETTINGS, plumed=plumed, seed=0)
    report("metadynamics", biased)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("metadynamics"), help="folder for files")
    main(parser.parse_args().out)
