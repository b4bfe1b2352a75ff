"""OpenMM's own metadynamics on the uncertainty of ANI-1x, without PLUMED.

    python 08_openmm_metadynamics.py

You learn uncertainty_force: an openmm.Force whose energy is u, so that OpenMM's CustomCVForce,
BiasVariable and Metadynamics can use it. Alanine dipeptide runs freely first; the mean and the
spread of u there say where the grid ends and how wide the hills are. Then app.Metadynamics raises
u. Printed is u in both runs; u.csv holds the series and hills.csv the free energy that OpenMM
estimates.

Hills on u itself would push it down half of the time. The variable here is therefore how far u lies
above its mean, w log(1 + exp((u − mean)/w)): close to 0 below the mean, close to u − mean above.

Traps: the grid must reach further than the variable ever will, for there is no bias beyond it; u is
large in many structures and small in few, so F along u is not a barrier that atoms feel; and each
step evaluates the model for the energy and for u apart, where PLUMED (02) needs one evaluation.
There is one walker: BiasVariables know nothing of several.

It takes a minute; with UNCV_QUICK=1, seconds.
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
FREE, BIASED, STRIDE = (60, 60, 5) if QUICK else (1000, 2000, 10)
PACE = 10 if QUICK else 20  # steps between hills
TEMPERATURE = 300 * unit.kelvin


def simulation_of(topology: app.Topology, system: openmm.System) -> app.Simulation:
    """Return a simulation with Langevin dynamics."""
    integrator = openmm.LangevinMiddleIntegrator(
        TEMPERATURE, 5 / unit.picosecond, 0.5 * unit.femtosecond
    )
    integrator.setRandomNumberSeed(1)
    platform = openmm.Platform.getPlatformByName("Reference")
    return app.Simulation(topology, system, integrator, platform)


def free_run(topology: app.Topology, start: uncv.Dataset, cv: uncv.UncertaintyCV) -> np.ndarray:
    """Return u of a run without bias in kJ/mol, its first quarter left out."""
    settings = uncv.SampleSettings(timestep=0.5, friction=5.0, steps=FREE, stride=STRIDE, walkers=1)
    run = uncv.sample(topology, start, cv, settings=settings, seed=0)
    u = run.uncertainty[:, 0] * uncv.units.EV_IN_KJ_PER_MOL
    return u[len(u) // 4 :]


def write(file: Path, header: str, *columns: np.ndarray) -> None:
    """Write a table with a header."""
    np.savetxt(file, np.stack(columns, axis=1), "%.6g", delimiter=",", header=header, comments="")


def main(out: Path) -> None:
    """Measure u, then bias it."""
    out.mkdir(parents=True, exist_ok=True)
    topology, start = uncv.structures.alanine_dipeptide()
    ensemble = uncv.load_potential("ani1x")
    cv = uncv.UncertaintyCV(ensemble, uncv.EnsembleUncertainty(of="energy"))
    free = free_run(topology, start, cv)
    mean, width, reach = free.mean(), free.std() / 2, 25 * free.std()
    print(f"free run: u = {mean:.2f} ± {free.std():.2f} kJ/mol, at most {free.max():.2f}")
    print(f"hills {width:.2f} kJ/mol wide on a grid to {reach:.0f} kJ/mol above the mean")

    system = uncv.openmm.create_system(topology, cv)
    above = openmm.CustomCVForce(f"{width}*log(1+exp((u-{mean})/{width}))")
    above.addCollectiveVariable("u", uncv.openmm.uncertainty_force(cv, topology))
    variable = app.BiasVariable(above, 0.0, reach, width, periodic=False)
    height = 2.0 * unit.kilojoule_per_mole
    metadynamics = app.Metadynamics(system, [variable], TEMPERATURE, 10.0, height, PACE)
    simulation = simulation_of(topology, system)
    simulation.context.setPositions(start.positions[0] * 0.1)
    simulation.context.setVelocitiesToTemperature(TEMPERATURE, 1)
    simulation.reporters.append(app.DCDReporter(str(out / "biased.dcd"), 10 * STRIDE))
    series = []
    for _ in range(BIASED // STRIDE):
        metadynamics.step(simulation, STRIDE)
        series.append(metadynamics.getCollectiveVariables(simulation)[0])
    u = mean + width * np.log(np.expm1(np.array(series) / width))

    profile = metadynamics.getFreeEnergy().value_in_unit(unit.kilojoule_per_mole)
    grid = np.linspace(0.0, reach, len(profile))
    write(out / "hills.csv", "above the mean (kJ/mol),F (kJ/mol)", grid, profile - profile.min())
    times = 0.0005 * STRIDE * np.arange(1, len(u) + 1)
    write(out / "u.csv", "time (ps),u (kJ/mol)", times, u)
    late = u[len(u) // 2 :]
    print(f"with {BIASED // PACE} hills: u = {late.mean():.2f} ± {late.std():.2f} kJ/mol", end=", ")
    print(f"at most {late.max():.2f} (second half)")
    print(f"{np.mean(u > free.max()):.0%} of the biased run lies above all of the free one")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("openmm_metad"), help="folder for files")
    main(parser.parse_args().out)
