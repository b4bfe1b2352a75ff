"""The table of walkers."""

from __future__ import annotations

import csv

import numpy as np
import openmm
import pytest
from openmm import app

import uncv
from uncv.models import AniPotential, AniSettings
from uncv.openmm import WalkerReporter


def tiny_cv() -> uncv.UncertaintyCV:
    import torch

    potential = AniPotential(AniSettings(elements=(1, 6, 7, 8), members=2, hidden=((6,),) * 4))
    for network in potential.networks:
        network.initialise(torch.Generator().manual_seed(1))
    return uncv.UncertaintyCV(potential, uncv.EnsembleUncertainty(of="energy"))


@pytest.fixture
def simulation(alanine):
    from uncv.openmm import create_system, replicate

    topology, positions = replicate(alanine.topology, alanine.start.positions[0] * 0.1, 2)
    system = create_system(alanine.topology, tiny_cv(), bias=uncv.LinearBias(0.5), walkers=2)
    platform = openmm.Platform.getPlatformByName("Reference")
    run = app.Simulation(topology, system, openmm.VerletIntegrator(0.0002), platform)
    run.context.setPositions(positions)
    return run


def test_table_holds_energy_uncertainty_and_bias_of_each_walker(simulation, tmp_path):
    with WalkerReporter(tmp_path / "walkers.csv", 5) as reporter:
        simulation.reporters.append(reporter)
        simulation.step(10)
    with (tmp_path / "walkers.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(int(r["step"]), int(r["walker"])) for r in rows] == [(5, 0), (5, 1), (10, 0), (10, 1)]
    total = sum(float(r["energy (kJ/mol)"]) + float(r["bias (kJ/mol)"]) for r in rows[2:])
    state = simulation.context.getState(energy=True)
    assert total == pytest.approx(state.getPotentialEnergy()._value, rel=1e-12)
    for row in rows:
        u = float(row["uncertainty (kJ/mol)"])
        assert float(row["bias (kJ/mol)"]) == pytest.approx(-0.5 * u, rel=1e-12)
        assert u > 0


def test_table_goes_on_where_it_ended(simulation, tmp_path):
    for append in (False, True):
        reporter = WalkerReporter(tmp_path / "walkers.csv", 2, append=append)
        simulation.reporters[:] = [reporter]
        simulation.step(2)
        reporter.close()
    lines = (tmp_path / "walkers.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 * 2
    assert sum(line.startswith("step") for line in lines) == 1


def test_trajectory_of_openmm_holds_all_walkers(simulation, tmp_path):
    import mdtraj

    path = str(tmp_path / "walkers.dcd")
    simulation.reporters.append(app.DCDReporter(path, 2))
    simulation.step(4)
    del simulation.reporters[:]
    topology = mdtraj.Topology.from_openmm(simulation.topology)
    trajectory = mdtraj.load_dcd(path, topology)
    assert trajectory.xyz.shape == (2, 44, 3)
    positions = simulation.context.getState(positions=True).getPositions(asNumpy=True)._value
    np.testing.assert_allclose(trajectory.xyz[-1], positions, atol=2e-6)


def test_interval_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="at least 1"):
        WalkerReporter(tmp_path / "walkers.csv", 0)


def test_another_system_is_refused(tmp_path):
    system = openmm.System()
    system.addParticle(1.0)
    topology = app.Topology()
    topology.addAtom("H", app.element.hydrogen, topology.addResidue("X", topology.addChain()))
    run = app.Simulation(topology, system, openmm.VerletIntegrator(0.001))
    run.context.setPositions(np.zeros((1, 3)))
    with WalkerReporter(tmp_path / "walkers.csv", 1) as reporter:
        run.reporters.append(reporter)
        with pytest.raises(uncv.errors.EngineError, match="no driver of uncv"):
            run.step(1)
