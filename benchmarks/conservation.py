"""Agreement of the backends, and conservation of energy with a bias: figures of one run.

    python benchmarks/conservation.py [--json] [--frames 100] [--steps 4000]

The drift is the slope of the total energy in NVE dynamics (Verlet, 0.25 fs) of alanine dipeptide
with ANI-1x and each conservative bias; u is some 0.05 eV.
"""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np
import openmm
from openmm import app, unit

import uncv
from uncv.bias import ACETYLACETONE, Bias
from uncv.structures import alanine_dipeptide
from uncv.units import EV_IN_KJ_PER_MOL

BIASES = {
    "linear": uncv.LinearBias(0.5),
    "UDD": uncv.UDDBias(*ACETYLACETONE, members=8, atoms=22),
    "tanh": uncv.TanhBias(depth=0.1, width=0.1),
    "harmonic": uncv.HarmonicBias(strength=40.0, centre=0.1),
    "linear under a ceiling": uncv.SumBias(
        uncv.LinearBias(1.0), uncv.CeilingBias(100.0, u_max=0.05, max_slope=3.0)
    ),
}
TIMESTEP_PS = 0.00025
FORCE = unit.kilojoule_per_mole / unit.nanometer


def simulation(backend: str, integrator: openmm.Integrator, bias: Bias) -> app.Simulation:
    """Return a biased simulation at the minimum."""
    topology, data = alanine_dipeptide()
    cv = uncv.UncertaintyCV(uncv.load_potential("ani1x"), uncv.EnsembleUncertainty(of="energy"))
    system = uncv.openmm.create_system(topology, cv, bias=bias, backend=backend)
    reference = openmm.Platform.getPlatformByName("Reference")
    made = app.Simulation(topology, system, integrator, reference)
    made.context.setPositions(data.positions[0] * 0.1)
    made.minimizeEnergy(maxIterations=50)
    return made


def agreement(frames: int) -> float:
    """Return the largest relative difference of forces between the backends over MD frames."""
    bias = BIASES["linear"]
    one = simulation("python", openmm.LangevinMiddleIntegrator(300, 2.0, 0.0005), bias)
    two = simulation("torchforce", openmm.VerletIntegrator(0.0005), bias)
    one.context.setVelocitiesToTemperature(300, 1)
    worst = 0.0
    for _ in range(frames):
        one.step(5)
        state = one.context.getState(positions=True, forces=True)
        two.context.setPositions(state.getPositions(asNumpy=True))
        a = np.array(state.getForces(asNumpy=True).value_in_unit(FORCE))
        other = two.context.getState(forces=True)
        b = np.array(other.getForces(asNumpy=True).value_in_unit(FORCE))
        worst = max(worst, float(np.linalg.norm(a - b) / np.linalg.norm(a)))
    return worst


def drift(bias: Bias, steps: int) -> float:
    """Return |dE_total/dt| in eV/ps/atom by a straight line through NVE dynamics."""
    run = simulation("python", openmm.VerletIntegrator(TIMESTEP_PS), bias)
    run.context.setVelocitiesToTemperature(300, 1)
    run.step(200)
    times, energies = [], []
    for _ in range(steps // 10):
        run.step(10)
        state = run.context.getState(energy=True)
        total = state.getPotentialEnergy() + state.getKineticEnergy()
        times.append(state.getTime().value_in_unit(unit.picosecond))
        energies.append(total.value_in_unit(unit.kilojoule_per_mole) / EV_IN_KJ_PER_MOL)
    slope = np.polyfit(times, energies, 1)[0]
    return float(abs(slope) / run.system.getNumParticles())


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--steps", type=int, default=4000)
    options = parser.parse_args()
    found = {
        "largest relative difference of forces, python and torchforce": agreement(options.frames),
        **{
            f"NVE drift eV/ps/atom, {name}": drift(bias, options.steps)
            for name, bias in BIASES.items()
        },
    }
    if options.json:
        json.dump(found, sys.stdout, indent=2)
        return
    for name, value in found.items():
        print(f"{name:64s} {value:.2e}")


if __name__ == "__main__":
    main()
