"""Molecular dynamics of ANI-1x pushed to where its eight members disagree.

    python 01_linear_bias.py

You learn how a potential and its uncertainty become an OpenMM System, how to run several walkers in
one context, and where their energies and uncertainties are written. Eight walkers of alanine
dipeptide move with V(u) = −u. A table of energy, uncertainty and bias goes to walkers.csv, the
trajectory to walkers.dcd. It takes half a minute; with UNCV_QUICK=1, a few steps.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

import uncv

QUICK = os.environ.get("UNCV_QUICK") == "1"
WALKERS = 2 if QUICK else 8
STEPS = 20 if QUICK else 2000


def main(out: Path) -> None:
    """Run the walkers and say how u and the dihedral angles spread."""
    topology, start = uncv.structures.alanine_dipeptide()
    potential = uncv.load_potential("ani1x")
    cv = uncv.UncertaintyCV(potential, uncv.EnsembleUncertainty(of="energy"))

    bias = uncv.LinearBias(strength=1.0)
    system = uncv.openmm.create_system(topology, cv, bias=bias, walkers=WALKERS)
    everyone, positions = uncv.openmm.replicate(topology, start.positions[0] * 0.1, WALKERS)
    integrator = openmm.LangevinMiddleIntegrator(300, 2.0 / unit.picosecond, 0.5 * unit.femtosecond)
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(everyone, system, integrator, platform)
    simulation.context.setPositions(positions)
    simulation.context.setVelocitiesToTemperature(300)
    out.mkdir(parents=True, exist_ok=True)
    every = STEPS // 20
    simulation.reporters.append(uncv.openmm.WalkerReporter(out / "walkers.csv", every))
    simulation.reporters.append(app.DCDReporter(str(out / "walkers.dcd"), every))

    simulation.step(STEPS)

    walkers = uncv.openmm.driver_of(simulation).frame
    final = uncv.Dataset(start.numbers[0], walkers.positions)
    angles = np.degrees(uncv.analysis.dihedrals(final))
    for walker, (phi, psi) in enumerate(angles):
        u = walkers.values.uncertainty[walker]
        print(f"walker {walker}: u = {u:.3f} eV, φ = {phi:4.0f}°, ψ = {psi:4.0f}°")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("linear_bias"), help="folder for files")
    main(parser.parse_args().out)
