"""The OpenMM engine: forces of E, u and V by both backends, walkers, biases, checkpoints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import openmm
import pytest
import tiny
from openmm import app, unit

import uncv.openmm as engine
from uncv.bias import AdaptiveBias, LinearBias
from uncv.calibration import GaussianCalibrator
from uncv.cv import UncertaintyCV
from uncv.errors import EngineError, GradientError, PlumedError
from uncv.models import load_potential
from uncv.uncertainty import EnsembleUncertainty, GMMUncertainty, GradientUncertainty

BACKENDS = ("python", "torchforce")
FORCE = tiny.KJ * 10.0  # kJ/mol/nm in one eV/Å


def context_of(system, positions, timestep=0.0005):
    """A context on the Reference platform with one structure (n, 3) in Å."""
    integrator = openmm.VerletIntegrator(timestep)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions.reshape(-1, 3) / 10.0)
    return context


def of_force(force, count):
    """A System of one Force."""
    system = openmm.System()
    for _ in range(count):
        system.addParticle(12.0)
    system.addForce(force)
    return system


def state(context, **what):
    found = context.getState(energy=True, forces=True, **what)
    energy = found.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    return energy, found.getForces(asNumpy=True)._value


def energy_at(context, positions):
    context.setPositions(positions.reshape(-1, 3) / 10.0)
    return context.getState(energy=True).getPotentialEnergy()._value


def langevin(system, topology, positions, timestep=0.0005, seed=5):
    integrator = openmm.LangevinMiddleIntegrator(300, 2, timestep)
    integrator.setRandomNumberSeed(seed)
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(topology, system, integrator, platform)
    simulation.context.setPositions(positions)
    simulation.context.setVelocitiesToTemperature(300, seed)
    return simulation


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("what", ["energy", "uncertainty", "total"])
def test_forces_are_central_differences_of_the_engines_energy(backend, what):
    data = tiny.frames("CH3OH", seed=3)
    cv, topology = tiny.cv(), tiny.topology(data)
    result = cv.evaluate(data)
    if what == "total":
        bias = LinearBias(0.7)
        system = engine.create_system(topology, cv, bias=bias, backend=backend)
        expected = result.energy[0] - 0.7 * result.uncertainty[0]
    else:
        make = engine.energy_force if what == "energy" else engine.uncertainty_force
        system = of_force(make(cv, topology, backend=backend), 6)
        expected = getattr(result, what)[0]
    context = context_of(system, data.positions)
    energy, forces = state(context)
    assert energy == pytest.approx(expected * tiny.KJ, rel=1e-9)
    slope = tiny.central_differences(lambda x: energy_at(context, x), data.positions[0], 1e-3)
    assert np.abs(slope).max() > 1.0
    np.testing.assert_allclose(forces, -10.0 * slope, atol=2e-5 * np.abs(forces).max())


@pytest.mark.parametrize(("of", "factor"), [("atomic_energy", tiny.KJ), ("forces", FORCE)])
def test_u_is_in_openmms_units_by_its_kind(of, factor):
    data = tiny.frames("CH3OH", seed=4)
    cv, topology = tiny.cv(of, "softmax"), tiny.topology(data)
    context = context_of(of_force(engine.uncertainty_force(cv, topology), 6), data.positions)
    energy, forces = state(context)
    result = cv.evaluate(data)
    assert energy == pytest.approx(result.uncertainty[0] * factor, rel=1e-10)
    np.testing.assert_allclose(
        forces, -result.uncertainty_gradient[0] * factor * 10.0, atol=1e-8 * np.abs(forces).max()
    )


@pytest.mark.parametrize("walkers", [1, 3])
def test_backends_agree(walkers):
    data = tiny.frames("CH3OH", 4 * walkers, 0.08)
    cv, topology = tiny.cv("atomic_energy", "softmax"), tiny.topology(data)
    python, torchforce = (
        context_of(
            engine.create_system(
                topology, cv, bias=LinearBias(2.0), walkers=walkers, backend=backend
            ),
            data.positions[:walkers],
        )
        for backend in BACKENDS
    )
    for positions in data.positions.reshape(4, -1, 3):
        answers = []
        for context in (python, torchforce):
            context.setPositions(positions / 10.0)
            answers.append(state(context))
        (energy, forces), (other_energy, other_forces) = answers
        assert energy == pytest.approx(other_energy, rel=1e-9)
        np.testing.assert_allclose(forces, other_forces, atol=1e-5 * np.abs(forces).max())


@pytest.mark.parametrize("backend", BACKENDS)
def test_periodic_system_is_that_of_the_evaluation(backend):
    data = tiny.crystal()
    cell = np.diag([3.4, 4.1, 5.0])
    data = tiny.Dataset(data.numbers, data.positions, cell=cell)
    cv = tiny.cv()
    topology = tiny.topology(data, cell / 10.0)
    system = engine.create_system(topology, cv, bias=LinearBias(0.5), backend=backend)
    assert system.usesPeriodicBoundaryConditions()
    result = cv.evaluate(data)
    energy, forces = state(context_of(system, data.positions))
    expected = result.forces + 0.5 * result.uncertainty_gradient
    assert energy == pytest.approx((result.energy - 0.5 * result.uncertainty)[0] * tiny.KJ)
    np.testing.assert_allclose(forces, expected[0] * FORCE, atol=1e-7 * np.abs(forces).max())


def test_barostat_sees_the_bias_and_a_trial_moves_no_window():
    data = tiny.crystal()
    cell = np.diag([4.0, 4.0, 4.0])
    topology = tiny.topology(data, cell / 10.0)
    system = engine.create_system(topology, tiny.cv(), bias=LinearBias(0.5))
    system.addForce(openmm.MonteCarloBarostat(1.0, 300, 1))
    simulation = langevin(system, topology, data.positions[0] / 10.0)
    simulation.step(20)
    volume = simulation.context.getState().getPeriodicBoxVolume()._value
    assert volume != pytest.approx(0.064, abs=1e-9)
    energy = simulation.context.getState(energy=True).getPotentialEnergy()._value
    frame = engine.driver_of(simulation).frame
    assert np.linalg.det(frame.cell) == pytest.approx(volume * 1000.0)
    assert energy == pytest.approx(float(frame.values.energy[0] + frame.bias[0]) * tiny.KJ)


@pytest.mark.parametrize("backend", BACKENDS)
def test_u_works_inside_a_custom_cv_force(backend):
    data = tiny.frames("CH3OH", seed=6)
    cv, topology = tiny.cv(), tiny.topology(data)
    u = float(cv.evaluate(data).uncertainty[0]) * tiny.KJ
    gradient = cv.evaluate(data).uncertainty_gradient[0] * FORCE
    outer = openmm.CustomCVForce("0.5*k*(u-u0)^2")
    outer.addGlobalParameter("k", 0.3)
    outer.addGlobalParameter("u0", 1.5 * u)
    outer.addCollectiveVariable("u", engine.uncertainty_force(cv, topology, backend=backend))
    energy, forces = state(context_of(of_force(outer, 6), data.positions))
    assert energy == pytest.approx(0.15 * (0.5 * u) ** 2)
    np.testing.assert_allclose(forces, 0.3 * 0.5 * u * gradient, atol=1e-6 * np.abs(forces).max())


@pytest.mark.parametrize("backend", BACKENDS)
def test_metadynamics_of_openmm_runs_on_u(backend):
    data = tiny.frames("CH3OH", seed=7)
    cv, topology = tiny.cv(), tiny.topology(data)
    u = float(cv.evaluate(data).uncertainty[0]) * tiny.KJ
    system = of_force(engine.energy_force(cv, topology), 6)
    variable = app.BiasVariable(
        engine.uncertainty_force(cv, topology, backend=backend), 0.0, 4 * u, 0.2 * u, False, 40
    )
    metadynamics = app.Metadynamics(system, [variable], 300, 5.0, 2.0, 5)
    simulation = langevin(system, topology, data.positions[0] / 10.0)
    metadynamics.step(simulation, 30)
    surface = metadynamics.getFreeEnergy()._value
    (value,) = metadynamics.getCollectiveVariables(simulation)
    assert value == pytest.approx(u, rel=1.0)
    assert surface.shape == (40,)
    assert np.isfinite(surface).all()
    assert surface.min() < -2.0
    total = simulation.context.getState(energy=True, groups={31}).getPotentialEnergy()._value
    assert total > 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_system_with_another_particle_count_is_refused(backend):
    data = tiny.frames("CH3OH")
    force = engine.uncertainty_force(tiny.cv(), tiny.topology(data), backend=backend)
    context = context_of(of_force(force, 7), np.zeros((7, 3)))
    with pytest.raises(openmm.OpenMMException, match=r"System has 7 particles.* for 6"):
        context.getState(energy=True)


def test_uncertainty_force_of_several_walkers_is_refused():
    data = tiny.frames("CH3OH")
    cv, topology = tiny.cv(), tiny.topology(data)
    system = engine.create_system(topology, cv, walkers=2)
    system.addForce(engine.uncertainty_force(cv, topology))
    context = context_of(system, np.concatenate([data.positions] * 2))
    with pytest.raises(openmm.OpenMMException, match="12 particles but the force was made for 6"):
        context.getState(energy=True)


def test_single_force_takes_a_subset_of_atoms():
    data = tiny.frames("CH3OH", seed=8)
    atoms = [1, 0, 5]
    part = tiny.Dataset(data.numbers[:, atoms], data.positions[:, atoms])
    cv = tiny.cv()
    force = engine.energy_force(cv, tiny.topology(data), atoms=atoms)
    energy, forces = state(context_of(of_force(force, 6), data.positions))
    result = cv.evaluate(part)
    assert energy == pytest.approx(result.energy[0] * tiny.KJ)
    np.testing.assert_allclose(forces[atoms], result.forces[0] * FORCE, rtol=1e-7, atol=1e-6)
    assert not forces[[2, 3, 4]].any()


def test_eight_walkers_have_the_forces_of_eight_single_runs():
    data = tiny.frames("CH3OH", 8, 0.08)
    cv, topology = tiny.cv("forces", "mean"), tiny.topology(data)
    both, _ = engine.replicate(topology, data.positions / 10.0, 8)
    system = engine.create_system(topology, cv, bias=LinearBias(0.3), walkers=8)
    away = data.positions + 30.0 * np.arange(8)[:, None, None]
    energy, forces = state(context_of(system, away))
    single = context_of(engine.create_system(topology, cv, bias=LinearBias(0.3)), data.positions[0])
    energies = []
    for walker in range(8):
        single.setPositions(data.positions[walker] / 10.0)
        one, alone = state(single)
        energies.append(one)
        np.testing.assert_allclose(forces[6 * walker : 6 * walker + 6], alone, atol=1e-6)
    assert both.getNumAtoms() == 48
    assert energy == pytest.approx(sum(energies))


def test_replicate_copies_topology_and_positions():
    data = tiny.frames("CH3OH", 3)
    topology = tiny.topology(data)
    both, same = engine.replicate(topology, data.positions[0] / 10.0 * unit.nanometer, 3)
    assert (both.getNumAtoms(), both.getNumBonds(), both.getNumChains()) == (18, 15, 3)
    assert [a.element for a in both.atoms()] == [a.element for a in topology.atoms()] * 3
    expected = np.concatenate([data.positions[0]] * 3) / 10.0
    np.testing.assert_allclose(same.value_in_unit(unit.nanometer), expected)
    _, each = engine.replicate(topology, data.positions / 10.0, 3)
    np.testing.assert_allclose(each._value, data.positions.reshape(-1, 3) / 10.0)
    with pytest.raises(ValueError, match=r"\(2, 6, 3\); expected \(6, 3\) or \(3, 6, 3\)"):
        engine.replicate(topology, data.positions[:2], 3)


def test_own_centre_of_mass_motion_is_taken_from_each_walker(rng):
    data = tiny.frames("CH3OH")
    topology = tiny.topology(data)
    system = engine.create_system(topology, tiny.cv(), walkers=2)
    context = context_of(system, np.concatenate([data.positions] * 2))
    before = rng.normal(size=(2, 6, 3))
    context.setVelocities(before.reshape(-1, 3))
    engine.remove_center_of_mass_motion(context, 2)
    after = context.getState(velocities=True).getVelocities(asNumpy=True)._value.reshape(2, 6, 3)
    masses = np.array([system.getParticleMass(i)._value for i in range(6)])
    np.testing.assert_allclose(np.einsum("a,wax->wx", masses, after), 0.0, atol=1e-12)
    shift = before - after
    np.testing.assert_allclose(shift, np.broadcast_to(shift[:, :1], shift.shape), atol=1e-12)


def walkers_of_methanol(count=3, bias=None):
    data = tiny.frames("CH3OH", count, 0.05, seed=9)
    topology = tiny.topology(data)
    system = engine.create_system(topology, tiny.cv(), bias=bias, walkers=count)
    both, positions = engine.replicate(topology, data.positions / 10.0, count)
    return data, langevin(system, both, positions)


def test_a_walker_with_nan_is_parked_and_the_others_go_on():
    data, simulation = walkers_of_methanol(3, LinearBias(0.5))
    _, before = state(simulation.context)
    broken = data.positions.copy() / 10.0
    broken[1, 2, 0] = np.nan
    simulation.context.setPositions(broken.reshape(-1, 3))
    energy, forces = state(simulation.context)
    driver = engine.driver_of(simulation)
    assert np.isfinite(energy)
    assert not forces[6:12].any()
    np.testing.assert_allclose(forces[:6], before[:6], atol=1e-8)
    np.testing.assert_allclose(forces[12:], before[12:], atol=1e-8)
    assert [(e.walker, e.step) for e in driver.stops] == [(1, 0)]
    assert "not finite" in driver.stops[0].reason
    assert driver.active.tolist() == [True, False, True]
    simulation.step(5)
    assert len(driver.stops) == 1
    moved = simulation.context.getState(positions=True).getPositions(asNumpy=True)._value.copy()
    assert np.isfinite(moved[[0, 1, 2, 3, 4, 5, *range(12, 18)]]).all()
    moved[6:12] = data.positions[1] / 10.0
    driver.restart(1)
    simulation.context.setPositions(moved)
    simulation.context.setVelocitiesToTemperature(300, 1)
    _, forces = state(simulation.context)
    np.testing.assert_allclose(forces[6:12], before[6:12], atol=1e-8)
    simulation.step(2)
    assert driver.active.all()


def test_atoms_on_top_of_each_other_stop_that_walker_alone():
    data, simulation = walkers_of_methanol(2)
    _, before = state(simulation.context)
    broken = data.positions.copy() / 10.0
    broken[0, 1] = broken[0, 0]
    simulation.context.setPositions(broken.reshape(-1, 3))
    _, forces = state(simulation.context)
    assert engine.driver_of(simulation).active.tolist() == [False, True]
    assert not forces[:6].any()
    np.testing.assert_allclose(forces[6:], before[6:], atol=1e-8)


def test_a_parked_walker_feels_nothing():
    _, simulation = walkers_of_methanol(2)
    _, before = state(simulation.context)
    engine.driver_of(simulation).park(0)
    energy, forces = state(simulation.context)
    assert not forces[:6].any()
    np.testing.assert_allclose(forces[6:], before[6:], atol=1e-8)
    frame = engine.driver_of(simulation).frame
    assert energy == pytest.approx(frame.values.energy[1] * tiny.KJ)


def test_barostat_with_walkers_or_adaptive_bias_is_an_error():
    data = tiny.crystal()
    topology = tiny.topology(data, np.diag([0.4, 0.4, 0.4]))
    for settings, message in (
        ({"walkers": 2}, "one box for all walkers"),
        ({"bias": AdaptiveBias()}, "adaptive bias has none"),
    ):
        system = engine.create_system(topology, tiny.cv(), **settings)
        system.addForce(openmm.MonteCarloBarostat(1.0, 300))
        count = settings.get("walkers", 1)
        context = context_of(system, np.concatenate([data.positions] * count))
        with pytest.raises(openmm.OpenMMException, match=message):
            context.getState(energy=True)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"backend": "cuda"}, ValueError, "backend 'cuda' is unknown"),
        ({"walkers": 0}, ValueError, "walkers is 0"),
        ({"atoms": [0]}, EngineError, "use energy_force"),
        ({"walkers": 2, "atoms": [0]}, EngineError, "neither atoms= nor system="),
        ({"walkers": 2, "system": openmm.System()}, EngineError, "neither atoms= nor system="),
        ({"system": openmm.System(), "hydrogen_mass": 4.0}, EngineError, "set hydrogenMass"),
        ({"system": openmm.System()}, EngineError, "0 particles and the topology 6"),
        ({"bias": 0.5}, TypeError, "bias is a float"),
        ({"bias": AdaptiveBias(), "backend": "torchforce"}, EngineError, "adaptive bias's window"),
        (
            {"plumed": "u: EXTRACV NAME=uncertainty\n", "backend": "torchforce"},
            PlumedError,
            "no value of a model; use the action UNCERTAINTY",
        ),
        ({"plumed": "plumed.dat", "bias": AdaptiveBias()}, EngineError, "cannot be combined"),
        ({"hydrogen_mass": 20.0}, EngineError, "cannot be taken from the heavy"),
    ],
)
def test_requests_that_cannot_work_are_refused(settings, error, message):
    topology = tiny.topology(tiny.frames("CH3OH"))
    with pytest.raises(error, match=message):
        engine.create_system(topology, tiny.cv(), **settings)


def test_a_gradient_that_jumps_is_refused_for_bias_and_allowed_without():
    data = tiny.frames("CH3OH")
    cv, topology = tiny.cv("atomic_energy", "max"), tiny.topology(data)
    with pytest.raises(EngineError, match="'max' has a gradient that jumps"):
        engine.create_system(topology, cv, bias=LinearBias(1.0))
    with pytest.raises(EngineError, match="'max' has a gradient that jumps"):
        engine.uncertainty_force(cv, topology)
    energy, _ = state(context_of(engine.create_system(topology, cv), data.positions))
    assert energy == pytest.approx(cv.evaluate(data).energy[0] * tiny.KJ)


@pytest.mark.parametrize("bias", [LinearBias(1.0), AdaptiveBias(window=2)])
def test_an_uncertainty_without_slope_is_an_error_in_the_engine(bias):
    data = tiny.frames("CH3OH")
    cv = UncertaintyCV(tiny.same_members(), EnsembleUncertainty())
    system = engine.create_system(tiny.topology(data), cv, bias=bias)
    with pytest.raises(openmm.OpenMMException, match="a bias would do nothing"):
        state(context_of(system, data.positions))
    with pytest.raises(GradientError, match="a bias would do nothing"):
        cv.evaluate(data)


def test_hydrogen_mass_is_taken_from_the_heavy_neighbours():
    data = tiny.frames("CH3OH")  # C, O, H (on O), three H on C
    topology = tiny.topology(data)
    plain, heavy = (
        [system.getParticleMass(i)._value for i in range(12)]
        for system in (
            engine.create_system(topology, tiny.cv(), walkers=2, hydrogen_mass=m)
            for m in (None, 3.0)
        )
    )
    hydrogen = [i for i, z in enumerate(data.numbers[0]) if z == 1]
    assert heavy[:6] == heavy[6:]
    assert [heavy[i] for i in hydrogen] == [3.0] * 4
    assert sum(heavy) == pytest.approx(sum(plain))
    assert heavy[0] == pytest.approx(plain[0] - 3 * (3.0 - 1.007947), abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "members", "strength"),
    [
        (EnsembleUncertainty, 8, 0.5),
        (lambda: GMMUncertainty(components=1, pca=4), 1, 0.05),
        (lambda: GradientUncertainty("posterior", "last_layer"), 1, 1.0),
        (lambda: GradientUncertainty("distance", "last_layer"), 1, 0.5),
    ],
    ids=["ensemble", "mixture", "posterior", "distance"],
)
def test_biased_run_conserves_energy(make, members, strength):
    """At a quarter of a femtosecond, with forces of single precision, each bias felt.

    Over a third of a picosecond the fluctuations of the integrator leave the drift uncertain by
    some 3e-5 eV/ps/atom, with a bias or without.
    """
    data = tiny.frames("CH3OH", spread=0.02)
    potential = load_potential("ani1x")
    potential = potential if members == 8 else potential.member(0)
    uncertainty = make().fit(potential, tiny.frames("CH3OH", 30, 0.05, seed=1))
    cv = UncertaintyCV(potential, uncertainty)
    topology = tiny.topology(data)
    system = engine.create_system(topology, cv, bias=LinearBias(strength))
    context = context_of(system, data.positions, timestep=0.00025)
    context.setVelocitiesToTemperature(300, 3)
    engine.remove_center_of_mass_motion(context, 1)
    totals, biases = [], []
    for _ in range(160):
        context.getIntegrator().step(8)
        now = context.getState(energy=True)
        totals.append((now.getPotentialEnergy() + now.getKineticEnergy())._value)
        biases.append(float(system.uncv_driver.frame.bias[0]))
    times = 0.002 * np.arange(160)  # ps
    drift = np.polyfit(times, totals, 1)[0] / tiny.KJ / 6
    assert np.ptp(biases) > 1e-3
    assert np.ptp(totals) > 1e-9
    assert abs(drift) < 1e-4, drift


def adaptive_run(factor, window=6, steps=10):
    """u calibrated by a factor; returns the driver and the forces of each completed step."""
    data = tiny.frames("CH3OH", 2, seed=11)
    calibrator = GaussianCalibrator()
    calibrator.factor, calibrator.kind = factor, "energy"
    cv, topology = tiny.cv(calibrator=calibrator), tiny.topology(data)
    bias = AdaptiveBias(strength=0.25, hydrogen=0.4, window=window)
    system = engine.create_system(topology, cv, bias=bias, walkers=2)
    both, positions = engine.replicate(topology, data.positions / 10.0, 2)
    simulation = langevin(system, both, positions, seed=2)
    frames, forces = [], []
    for _ in range(steps):
        found = simulation.context.getState(positions=True, forces=True, energy=True)
        frames.append(found.getPositions(asNumpy=True)._value.reshape(2, 6, 3) * 10.0)
        forces.append(found.getForces(asNumpy=True)._value.reshape(2, 6, 3) / FORCE)
        simulation.step(1)
    return data.numbers[0], cv, np.array(frames), np.array(forces)


def test_adaptive_bias_is_the_published_formula_once_its_window_is_full():
    numbers, cv, frames, forces = adaptive_run(1.0)
    weight = np.where(numbers == 1, 0.4, 1.0)[:, None]
    results = [cv.evaluate(tiny.Dataset(numbers, x)) for x in frames]
    physical = np.array([r.forces for r in results])
    gradient = np.array([r.uncertainty_gradient for r in results])
    np.testing.assert_allclose(forces[:5], physical[:5], atol=1e-9)
    for step in range(5, 10):
        here = slice(step - 5, step + 1)
        for walker in range(2):
            squares = (physical[here, walker] ** 2).sum(), (gradient[here, walker] ** 2).sum()
            c = np.sqrt(squares[0] / squares[1])
            expected = physical[step, walker] + 0.25 * c * weight * gradient[step, walker]
            np.testing.assert_allclose(forces[step, walker], expected, atol=1e-9)
            assert np.abs(forces[step] - physical[step]).max() > 1e-3


def test_adaptive_bias_does_not_know_the_scale_of_u():
    *_, frames, forces = adaptive_run(1.0)
    *_, other_frames, other_forces = adaptive_run(37.0)
    np.testing.assert_allclose(frames, other_frames, atol=1e-9)
    np.testing.assert_allclose(forces, other_forces, atol=1e-8)


def test_adaptive_window_counts_steps_and_not_evaluations():
    data = tiny.frames("CH3OH", 2, seed=12)
    topology = tiny.topology(data)
    system = engine.create_system(topology, tiny.cv(), bias=AdaptiveBias(window=50), walkers=2)
    both, positions = engine.replicate(topology, data.positions / 10.0, 2)
    simulation = langevin(system, both, positions)
    driver = engine.driver_of(simulation)
    for _ in range(4):
        simulation.context.getState(energy=True)
        simulation.context.setPositions(np.concatenate(data.positions) / 10.0)
        simulation.context.getState(energy=True)
        driver.restart(1)
        simulation.context.getState(energy=True)
        simulation.step(1)
    assert driver.native.window.filled[0] == 4


@pytest.mark.parametrize("bias", [None, LinearBias(0.5), AdaptiveBias(window=4)])
@pytest.mark.parametrize("asked", [False, True])
def test_a_checkpoint_continues_as_if_nothing_had_happened(tmp_path, bias, asked):
    """``asked``: somebody has looked at the energy just before the checkpoint."""

    def fresh():
        return walkers_of_methanol(2, bias)[1]

    def end(simulation):
        found = simulation.context.getState(positions=True, velocities=True)
        return found.getPositions(asNumpy=True)._value, found.getVelocities(asNumpy=True)._value

    whole = fresh()
    whole.step(7)
    if asked:
        whole.context.getState(energy=True)
    engine.save_checkpoint(whole, tmp_path / "run.chk")
    whole.step(9)
    expected = end(whole)
    other = fresh()
    engine.load_checkpoint(other, tmp_path / "run.chk")
    other.step(9)
    np.testing.assert_allclose(end(other)[0], expected[0], atol=1e-12)
    np.testing.assert_allclose(end(other)[1], expected[1], atol=1e-10)
    assert not list(tmp_path.glob("*.part"))


def test_a_parked_walker_is_still_parked_after_a_checkpoint(tmp_path):
    _, simulation = walkers_of_methanol(2)
    simulation.step(2)
    engine.driver_of(simulation).park(1)
    engine.save_checkpoint(simulation, tmp_path / "run.chk")
    _, other = walkers_of_methanol(2)
    engine.load_checkpoint(other, tmp_path / "run.chk")
    assert not state(other.context)[1][6:].any()


def test_a_system_with_a_python_force_serialises():
    data = tiny.frames("CH3OH", 2, seed=13)
    topology = tiny.topology(data)
    system = engine.create_system(
        topology, tiny.cv("forces"), bias=LinearBias(0.5), walkers=2, hydrogen_mass=2.0
    )
    untouched = openmm.XmlSerializer.serialize(system)
    context = context_of(system, data.positions)
    energy, forces = state(context)
    used = openmm.XmlSerializer.serialize(system)
    for text in (untouched, used):
        again = openmm.XmlSerializer.deserialize(text)
        same_energy, same_forces = state(context_of(again, data.positions))
        assert same_energy == pytest.approx(energy, rel=1e-12)
        np.testing.assert_allclose(same_forces, forces, rtol=1e-10, atol=1e-8)
        assert again.getParticleMass(1)._value == system.getParticleMass(1)._value
    force = engine.uncertainty_force(tiny.cv(), topology)
    one = of_force(openmm.XmlSerializer.clone(force), 6)
    u = tiny.cv().evaluate(data).uncertainty[0] * tiny.KJ
    assert state(context_of(one, data.positions[0]))[0] == pytest.approx(u)


def test_driver_of_another_system_is_an_error():
    data = tiny.frames("CH3OH")
    topology = tiny.topology(data)
    system = of_force(engine.energy_force(tiny.cv(), topology), 6)
    with pytest.raises(EngineError, match="has no driver of uncv"):
        engine.finish(langevin(system, topology, data.positions[0] / 10.0))


@pytest.mark.parametrize(
    ("atoms", "message"), [([0, 0], "distinct"), ([], "at least one"), ([9], "has 6 atoms")]
)
def test_atoms_are_checked(atoms, message):
    with pytest.raises(ValueError, match=message):
        engine.energy_force(tiny.cv(), tiny.topology(tiny.frames("CH3OH")), atoms=atoms)


def test_an_atom_without_element_is_an_error():
    topology = tiny.topology(tiny.frames("H2O"))
    topology.addAtom("M", None, next(topology.residues()))
    with pytest.raises(EngineError, match=r"atoms \[3\] .* no element"):
        engine.create_system(topology, tiny.cv())


def test_torchforce_works_where_openmm_was_imported_before_torch():
    program = (
        "import openmm; from openmm import app\n"
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import tiny, uncv.openmm\n"
        "data = tiny.frames()\n"
        "system = openmm.System()\n"
        "for _ in data.numbers[0]: system.addParticle(1.0)\n"
        "force = uncv.openmm.energy_force(tiny.cv(), tiny.topology(data), backend='torchforce')\n"
        "system.addForce(force)\n"
        "reference = openmm.Platform.getPlatformByName('Reference')\n"
        "context = openmm.Context(system, openmm.VerletIntegrator(0.001), reference)\n"
        "context.setPositions(data.positions[0] * 0.1)\n"
        "print(context.getState(energy=True).getPotentialEnergy()._value)\n"
    )
    here = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, here],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    expected = tiny.cv().evaluate(tiny.frames()).energy[0] * tiny.KJ
    assert float(done.stdout.split()[-1]) == pytest.approx(expected, rel=1e-6)
