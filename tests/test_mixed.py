"""A model's region inside an AMBER System (mechanical embedding)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import openmm
import pytest
import tiny
from openmm import app, unit

import uncv.openmm as engine
from uncv.bias import LinearBias
from uncv.errors import EngineError
from uncv.openmm.mixed import embed

ATOMS = np.arange(22)


class Solvated(NamedTuple):
    topology: app.Topology
    system: openmm.System
    positions: np.ndarray  # nm


@pytest.fixture(scope="module")
def solvated():
    """Alanine dipeptide in a small box of rigid TIP3P water."""
    from uncv.structures import alanine_dipeptide

    topology, start = alanine_dipeptide()
    field = app.ForceField("amber14/protein.ff14SB.xml", "amber14/tip3p.xml")
    modeller = app.Modeller(topology, start.positions[0] / 10.0 * unit.nanometer)
    modeller.addSolvent(field, model="tip3p", boxSize=openmm.Vec3(1.8, 1.8, 1.8) * unit.nanometer)
    system = field.createSystem(
        modeller.topology,
        nonbondedMethod=app.PME,
        nonbondedCutoff=0.8 * unit.nanometer,
        constraints=app.HBonds,
    )
    positions = np.array(modeller.positions.value_in_unit(unit.nanometer))
    return Solvated(modeller.topology, system, positions)


def context_of(system, positions):
    integrator = openmm.VerletIntegrator(0.0005)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, integrator, platform)
    context.setPositions(positions)
    return context


def energy_of(context, positions=None, **what):
    if positions is not None:
        context.setPositions(positions)
    return context.getState(energy=True, **what).getPotentialEnergy()._value


def by_name(system, name):
    return next(f for f in system.getForces() if f.__class__.__name__ == name)


def cutoff_system(solvated):
    """The same System with a plain cutoff, quick and without a reciprocal sum."""
    system = openmm.XmlSerializer.clone(solvated.system)
    nonbonded = by_name(system, "NonbondedForce")
    nonbonded.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    nonbonded.setUseDispersionCorrection(False)
    return system


def test_forces_on_the_region_are_central_differences(solvated):
    cv = tiny.cv("atomic_energy", "softmax")
    system = engine.create_system(
        solvated.topology, cv, bias=LinearBias(3.0), system=cutoff_system(solvated), atoms=ATOMS
    )
    context = context_of(system, solvated.positions)
    forces = context.getState(forces=True).getForces(asNumpy=True)._value
    step = 1e-5
    for atom, axis in ((0, 0), (6, 1), (8, 2), (14, 0), (21, 1), (22, 2)):
        values = []
        for sign in (1, -1):
            moved = solvated.positions.copy()
            moved[atom, axis] += sign * step
            values.append(energy_of(context, moved))
        slope = (values[0] - values[1]) / (2 * step)
        assert -slope == pytest.approx(forces[atom, axis], abs=1e-4 * np.abs(forces).max())


def test_energy_is_the_models_and_that_between_region_and_water(solvated):
    """Region far from everything else: its force field within the region is gone, nothing more."""
    cv = tiny.cv()
    data = tiny.Dataset(numbers_of(solvated), solvated.positions[None, :22] * 10.0)
    plain = cutoff_system(solvated)
    mixed = engine.create_system(solvated.topology, cv, system=plain, atoms=ATOMS)
    vacuum_topology = app.Modeller(solvated.topology, solvated.positions * unit.nanometer)
    vacuum_topology.delete([r for r in solvated.topology.residues() if r.name == "HOH"])
    field = app.ForceField("amber14/protein.ff14SB.xml")
    # The plain cutoff of the solvated System, so that the pairs within the region are the same.
    vacuum = field.createSystem(
        vacuum_topology.topology,
        nonbondedMethod=app.CutoffPeriodic,
        nonbondedCutoff=0.8 * unit.nanometer,
    )
    by_name(vacuum, "NonbondedForce").setUseDispersionCorrection(False)
    vacuum.setDefaultPeriodicBoxVectors(*solvated.system.getDefaultPeriodicBoxVectors())
    whole = energy_of(context_of(plain, solvated.positions))
    # Bonds to hydrogen are constraints in the solvated System and springs in this one.
    springs = by_name(vacuum, "HarmonicBondForce")
    for k in range(springs.getNumBonds()):
        *pair, length, _ = springs.getBondParameters(k)
        if 1 in data.numbers[0][pair]:
            springs.setBondParameters(k, *pair, length, 0.0)
    inside = energy_of(context_of(vacuum, solvated.positions[:22]))
    model = cv.evaluate(data).energy[0] * tiny.KJ
    found = energy_of(context_of(mixed, solvated.positions))
    assert abs(inside) > 1.0
    assert found == pytest.approx(whole - inside + model, abs=2e-3)


def numbers_of(solvated):
    return [a.element.atomic_number for a in solvated.topology.atoms()][:22]


def test_pme_runs_and_water_stays_rigid(solvated):
    before = openmm.XmlSerializer.serialize(solvated.system)
    cv = tiny.cv()
    system = engine.create_system(solvated.topology, cv, system=solvated.system, atoms=ATOMS)
    assert openmm.XmlSerializer.serialize(solvated.system) == before
    kept = [system.getConstraintParameters(i)[:2] for i in range(system.getNumConstraints())]
    assert min(min(pair) for pair in kept) >= 22
    waters = sum(r.name == "HOH" for r in solvated.topology.residues())
    assert len(kept) == 3 * waters
    assert solvated.system.getNumConstraints() == 3 * waters + 12  # the dipeptide's hydrogens
    context = context_of(system, solvated.positions)
    context.getIntegrator().step(2)
    assert np.isfinite(energy_of(context))


def test_force_on_an_atom_within_the_region_comes_from_the_model_alone(solvated):
    """Far from any water the force on the region is that of the model."""
    cv = tiny.cv("atomic_energy", "mean")
    system = cutoff_system(solvated)
    nonbonded = by_name(system, "NonbondedForce")
    for i in range(22, nonbonded.getNumParticles()):
        nonbonded.setParticleParameters(i, 0.0, 1.0, 0.0)
    for k in range(nonbonded.getNumExceptions()):
        i, j, *_ = nonbonded.getExceptionParameters(k)
        if min(i, j) >= 22:
            nonbonded.setExceptionParameters(k, i, j, 0.0, 1.0, 0.0)
    mixed = engine.create_system(
        solvated.topology, cv, bias=LinearBias(2.0), system=system, atoms=ATOMS
    )
    context = context_of(mixed, solvated.positions)
    forces = context.getState(forces=True).getForces(asNumpy=True)._value[:22]
    data = tiny.Dataset(numbers_of(solvated), solvated.positions[None, :22] * 10.0)
    result = cv.evaluate(data)
    expected = (result.forces + 2.0 * result.uncertainty_gradient)[0] * tiny.KJ * 10.0
    np.testing.assert_allclose(forces, expected, atol=1e-6 * np.abs(expected).max())


def test_a_region_across_the_box_is_whole(solvated):
    """Atoms of the region moved by box vectors change nothing."""
    cv = tiny.cv()
    system = engine.create_system(
        solvated.topology, cv, system=cutoff_system(solvated), atoms=ATOMS
    )
    context = context_of(system, solvated.positions)
    energy = energy_of(context)
    moved = solvated.positions.copy()
    moved[3] += [1.8, 0.0, -1.8]
    assert energy_of(context, moved) == pytest.approx(energy, abs=1e-6)


def test_torchforce_backend_takes_a_region(solvated):
    cv, start = tiny.cv(), solvated.positions
    answers = []
    for backend in ("python", "torchforce"):
        system = engine.create_system(
            solvated.topology,
            cv,
            bias=LinearBias(1.0),
            system=cutoff_system(solvated),
            atoms=ATOMS,
            backend=backend,
        )
        found = context_of(system, start).getState(energy=True, forces=True)
        answers.append((found.getPotentialEnergy()._value, found.getForces(asNumpy=True)._value))
    assert answers[0][0] == pytest.approx(answers[1][0], rel=1e-8)
    largest = np.abs(answers[0][1]).max()
    np.testing.assert_allclose(answers[0][1], answers[1][1], atol=1e-5 * largest)


def test_a_force_that_cannot_be_told_apart_is_refused():
    system = openmm.System()
    for _ in range(3):
        system.addParticle(1.0)
    system.addForce(openmm.CustomExternalForce("x"))
    with pytest.raises(EngineError, match="CustomExternalForce cannot be switched off"):
        embed(system, np.array([0, 1]))


def test_a_region_too_large_is_refused():
    with pytest.raises(EngineError, match="2001 atoms; at most 2000"):
        embed(openmm.System(), np.arange(2001))


def chain(count=6):
    """A System with every kind of term, on all atoms; energies differ for each subset."""
    system = openmm.System()
    for _ in range(count):
        system.addParticle(12.0)
    bonds, angles = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    torsions, rb = openmm.PeriodicTorsionForce(), openmm.RBTorsionForce()
    maps = openmm.CMAPTorsionForce()
    maps.addMap(4, np.arange(16.0))
    pairs = openmm.CustomNonbondedForce("a1*a2/r")
    pairs.addPerParticleParameter("a")
    for i in range(count):
        pairs.addParticle([1.0 + i])
    for i in range(count - 1):
        bonds.addBond(i, i + 1, 0.1, 100.0)
        pairs.addExclusion(i, i + 1)
    for i in range(count - 2):
        angles.addAngle(i, i + 1, i + 2, 1.5, 10.0)
    for i in range(count - 3):
        torsions.addTorsion(i, i + 1, i + 2, i + 3, 2, 0.3, 5.0)
        rb.addTorsion(i, i + 1, i + 2, i + 3, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    for i in range(count - 4):
        maps.addTorsion(0, i, i + 1, i + 2, i + 3, i + 1, i + 2, i + 3, i + 4)
    for group, force in enumerate((bonds, angles, torsions, rb, maps, pairs)):
        force.setForceGroup(group)
        system.addForce(force)
    return system


@pytest.mark.parametrize("group", range(6))
def test_terms_within_the_region_are_gone_and_others_stay(group, rng):
    positions = 0.15 * rng.normal(size=(6, 3))
    whole = energy_of(context_of(chain(), positions), groups={group})
    everything = energy_of(context_of(embed(chain(), np.arange(6)), positions), groups={group})
    part = energy_of(context_of(embed(chain(), np.arange(5)), positions), groups={group})
    inside = energy_of(context_of(chain(5), positions[:5]), groups={group})
    assert everything == pytest.approx(0.0, abs=1e-12)
    assert part == pytest.approx(whole - inside, abs=1e-9)
    assert abs(inside) > 1e-3
