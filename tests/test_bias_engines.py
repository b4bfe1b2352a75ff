"""Biases in OpenMM and PLUMED: one energy everywhere, schedules, caps, conserved energy."""

from __future__ import annotations

import csv

import contracts
import numpy as np
import openmm
import pytest
import tiny
from openmm import app

import uncv.openmm as engine
from uncv.bias import (
    AdaptiveBias,
    CappedBias,
    CeilingBias,
    HarmonicBias,
    LinearBias,
    ScheduledBias,
    SumBias,
    TanhBias,
    UDDBias,
)
from uncv.cv import UncertaintyCV
from uncv.errors import EngineError
from uncv.models import load_potential
from uncv.schedule import Constant, Ramp, SawTooth
from uncv.uncertainty import EnsembleUncertainty

FORCE = 10.0 * tiny.KJ  # kJ/mol/nm in one eV/Å
KINDS = [("energy", "mean"), ("forces", "mean")]


def context_of(system, positions, timestep=0.0005):
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(timestep), platform)
    context.setPositions(positions.reshape(-1, 3) / 10.0)
    return context


def state(context):
    found = context.getState(energy=True, forces=True)
    return found.getPotentialEnergy()._value, found.getForces(asNumpy=True)._value


def bare_system(atoms):
    system = openmm.System()
    for _ in range(atoms):
        system.addParticle(12.0)
    return system


@pytest.mark.parametrize("of", KINDS, ids=lambda k: k[0])
@pytest.mark.parametrize("case", contracts.BIASES, ids=lambda c: c.name)
def test_openmm_and_plumed_evaluate_the_same_expression(tmp_path, case, of):
    """Natively, in a CustomCVForce around uncertainty_force, and by CUSTOM on EXTRACV in PLUMED."""
    pytest.importorskip("plumed")
    data, cv, bias = tiny.frames("CH3OH", seed=2), tiny.cv(*of), case.make()
    topology = tiny.topology(data)
    text = bias.openmm_expression(cv.kind, "u")
    custom = openmm.CustomCVForce(text)
    custom.addCollectiveVariable("u", engine.uncertainty_force(cv, topology))
    by_openmm = bare_system(6)
    by_openmm.addForce(custom)
    script = (
        "u: EXTRACV NAME=uncertainty\n"
        f"v: CUSTOM ARG=u VAR=u FUNC={text} PERIODIC=NO\nBIASVALUE ARG=v\n"
    )
    plumed = engine.Plumed(script, timestep=0.0005, directory=tmp_path)
    by_plumed = engine.create_system(topology, cv, plumed=plumed)
    native = engine.create_system(topology, cv, bias=bias)
    unbiased = state(context_of(engine.create_system(topology, cv), data.positions))
    expected = [
        x - y for x, y in zip(state(context_of(native, data.positions)), unbiased, strict=True)
    ]
    found = state(context_of(by_plumed, data.positions))
    by_plumed.uncv_driver.close()
    atol = 1e-8 * np.abs(unbiased[1]).max()
    for energy, forces in (
        state(context_of(by_openmm, data.positions)),
        [x - y for x, y in zip(found, unbiased, strict=True)],
    ):
        assert energy == pytest.approx(expected[0], rel=1e-8, abs=1e-8 * abs(unbiased[0]))
        np.testing.assert_allclose(forces, expected[1], atol=atol)
    u = cv.evaluate(data).uncertainty
    assert expected[0] == pytest.approx(case.formula(u)[0] * tiny.KJ, rel=1e-7, abs=1e-8)
    assert np.abs(expected[1]).max() > 1e-6 * np.abs(unbiased[1]).max()


@pytest.mark.parametrize("case", contracts.BIASES, ids=lambda c: c.name)
def test_forces_are_central_differences_of_the_energy(case):
    """The bias alone: the unbiased energy and forces are taken off."""
    data, cv = tiny.frames("CH3OH", seed=2), tiny.cv()
    topology = tiny.topology(data)
    systems = [engine.create_system(topology, cv, bias=b) for b in (case.make(), None)]
    contexts = [context_of(system, data.positions) for system in systems]

    def bias_at(x):
        values = []
        for context in contexts:
            context.setPositions(x / 10.0)
            values.append(context.getState(energy=True).getPotentialEnergy()._value)
        return values[0] - values[1]

    forces = state(contexts[0])[1] - state(contexts[1])[1]
    slopes = tiny.central_differences(bias_at, data.positions[0], 1e-4)
    np.testing.assert_allclose(forces, -10.0 * slopes, atol=1e-7 * np.abs(forces).max())


def test_ceiling_is_plumeds_upper_wall(tmp_path):
    pytest.importorskip("plumed")
    data, cv = tiny.frames("CH3OH", seed=2), tiny.cv()
    topology = tiny.topology(data)
    u = cv.evaluate(data).uncertainty[0]
    bias = CeilingBias(strength=40.0, u_max=0.5 * u)
    script = (
        "u: EXTRACV NAME=uncertainty\n"
        f"UPPER_WALLS ARG=u AT={bias.u_max * tiny.KJ!r} EXP=2 KAPPA={20.0 / tiny.KJ!r}\n"
    )
    plumed = engine.Plumed(script, timestep=0.0005, directory=tmp_path)
    by_plumed = engine.create_system(topology, cv, plumed=plumed)
    native = engine.create_system(topology, cv, bias=bias)
    expected = state(context_of(native, data.positions))
    found = state(context_of(by_plumed, data.positions))
    by_plumed.uncv_driver.close()
    assert found[0] == pytest.approx(expected[0], rel=1e-9)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-8 * np.abs(expected[1]).max())


def simulation_of(bias, count=1, timestep=0.0005):
    data = tiny.frames("CH3OH", count, seed=2)
    cv, topology = tiny.cv(), tiny.topology(data)
    system = engine.create_system(topology, cv, bias=bias, walkers=count)
    both, positions = engine.replicate(topology, data.positions / 10.0, count)
    platform = openmm.Platform.getPlatformByName("Reference")
    integrator = openmm.VerletIntegrator(timestep)
    simulation = app.Simulation(both, system, integrator, platform)
    simulation.context.setPositions(positions)
    simulation.context.setVelocitiesToTemperature(300, 3)
    return cv, data.numbers, simulation


def walk(cv, numbers, simulation, steps):
    """Forces (eV/Å) at each number of completed steps, and what the model says there."""
    for _ in range(steps):
        found = simulation.context.getState(positions=True, forces=True, energy=True)
        x = found.getPositions(asNumpy=True)._value.reshape(-1, numbers.shape[1], 3) * 10.0
        forces = found.getForces(asNumpy=True)._value.reshape(x.shape) / FORCE
        yield (
            found.getPotentialEnergy()._value / tiny.KJ,
            forces,
            cv.evaluate(tiny.Dataset(numbers, x)),
        )
        simulation.step(1)


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (Ramp(0.0, 2.0, steps=4), [0.0, 0.5, 1.0, 1.5, 2.0, 2.0]),
        (SawTooth(1.0, 4.0, period=3), [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]),
        (Constant(-1.5), [-1.5] * 6),
    ],
)
def test_a_schedule_multiplies_the_energy(schedule, factors):
    inner = TanhBias(0.3, 0.2)
    run = simulation_of(ScheduledBias(inner, schedule))
    for factor, (energy, forces, result) in zip(factors, walk(*run, 6), strict=True):
        u = result.uncertainty[0]
        slope = -factor * 0.3 / 0.2 / np.cosh(u / 0.2) ** 2
        assert energy == pytest.approx(result.energy[0] - factor * 0.3 * np.tanh(u / 0.2))
        expected = result.forces - slope * result.uncertainty_gradient
        np.testing.assert_allclose(forces, expected, atol=1e-8)


def test_a_schedule_multiplies_the_adaptive_force():
    bias = AdaptiveBias(0.25, hydrogen=0.5, window=1, elements={"O": 2.0})
    cv, numbers, simulation = simulation_of(ScheduledBias(bias, Ramp(0.0, 1.0, steps=4)), 2)
    weights = np.where(numbers == 1, 0.5, np.where(numbers == 8, 2.0, 1.0))[..., None]
    for step, (_, forces, result) in enumerate(walk(cv, numbers, simulation, 5)):
        for w in range(2):
            force, gradient = result.forces[w], result.uncertainty_gradient[w]
            c = np.linalg.norm(force) / np.linalg.norm(gradient)
            expected = force + 0.25 * 0.25 * step * c * weights[w] * gradient
            np.testing.assert_allclose(forces[w], expected, atol=1e-8)
            frame = engine.driver_of(simulation).frame
            assert frame.coefficient[w] == pytest.approx(c) or step == 4


def test_the_table_of_walkers_holds_the_coefficient_of_the_adaptive_bias(tmp_path):
    data, cv = tiny.frames("CH3OH", 2, seed=2), tiny.cv("forces")
    topology = tiny.topology(data)
    system = engine.create_system(topology, cv, bias=AdaptiveBias(window=1), walkers=2)
    both, positions = engine.replicate(topology, data.positions / 10.0, 2)
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(both, system, openmm.VerletIntegrator(0.0005), platform)
    simulation.context.setPositions(positions)
    with engine.WalkerReporter(tmp_path / "walkers.csv", 2) as reporter:
        simulation.reporters.append(reporter)
        simulation.step(2)
    with (tmp_path / "walkers.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = simulation.context.getState(positions=True).getPositions(asNumpy=True)._value
    result = cv.evaluate(tiny.Dataset(data.numbers, found.reshape(2, 6, 3) * 10.0))
    for w, row in enumerate(rows):
        c = np.linalg.norm(result.forces[w]) / np.linalg.norm(result.uncertainty_gradient[w])
        assert float(row["coefficient"]) == pytest.approx(0.1 * c, rel=1e-8)  # eV/(eV/Å) to nm


@pytest.mark.parametrize(("max_force", "max_ratio"), [(0.05, None), (None, 0.1), (0.3, 0.2)])
def test_a_cap_shortens_the_bias_force_and_keeps_its_direction(max_force, max_ratio):
    capped = CappedBias(LinearBias(4.0), max_force, max_ratio)
    run = simulation_of(capped, 3)
    steps = 4
    for energy, forces, result in walk(*run, steps):
        assert energy == pytest.approx(float((result.energy - 4.0 * result.uncertainty).sum()))
        for w in range(3):
            whole = 4.0 * result.uncertainty_gradient[w]
            limits = [1.0]
            if max_force:
                limits.append(max_force / np.linalg.norm(whole, axis=1).max())
            if max_ratio:
                limits.append(max_ratio * np.linalg.norm(result.forces[w]) / np.linalg.norm(whole))
            expected = result.forces[w] + min(limits) * whole
            np.testing.assert_allclose(forces[w], expected, atol=1e-8)
            assert min(limits) < 1.0
    assert engine.driver_of(run[2]).native.capped == 3 * steps


def test_a_cap_that_is_not_reached_changes_nothing():
    plain, capped = (
        [forces for _, forces, _ in walk(*simulation_of(bias, 2), 3)]
        for bias in (LinearBias(0.5), CappedBias(LinearBias(0.5), 1e3, 1e3))
    )
    np.testing.assert_allclose(capped, plain, atol=1e-10)


def test_a_checkpoint_remembers_the_cap_and_the_step_of_a_schedule(tmp_path):
    bias = ScheduledBias(CappedBias(LinearBias(4.0), max_ratio=0.1), Ramp(0.0, 1.0, steps=50))
    whole = simulation_of(bias, 2)[2]
    whole.step(5)
    engine.save_checkpoint(whole, tmp_path / "run.chk")
    whole.step(6)
    other = simulation_of(bias, 2)[2]
    engine.load_checkpoint(other, tmp_path / "run.chk")
    other.step(6)
    positions = [
        s.context.getState(positions=True).getPositions(asNumpy=True)._value for s in (whole, other)
    ]
    np.testing.assert_allclose(positions[1], positions[0], atol=1e-12)
    capped = [engine.driver_of(s).native.capped for s in (whole, other)]
    assert capped[0] == capped[1] > 0


@pytest.mark.parametrize(
    "bias",
    [UDDBias(0.3, 0.2), CappedBias(TanhBias(0.3, 0.2), max_ratio=0.1), AdaptiveBias(window=1)],
    ids=lambda b: type(b).__name__,
)
def test_a_broken_walker_does_not_reach_the_others(bias):
    data = tiny.frames("CH3OH", 2, seed=2)
    cv, topology = tiny.cv(), tiny.topology(data)
    system = engine.create_system(topology, cv, bias=bias, walkers=2)
    context = context_of(system, data.positions)
    _, expected = state(context)
    broken = data.positions.copy()
    broken[0, 1] = broken[0, 0]  # two atoms in one place: u is NaN
    context = context_of(engine.create_system(topology, cv, bias=bias, walkers=2), broken)
    energy, forces = state(context)
    assert np.isfinite(energy)
    assert not forces[:6].any()
    np.testing.assert_allclose(forces[6:], expected[6:], atol=1e-8 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("bias", "settings", "message"),
    [
        (CappedBias(LinearBias(1.0), 1.0), {"backend": "torchforce"}, "TorchForce cannot hold a c"),
        (
            ScheduledBias(LinearBias(1.0), Constant(1.0)),
            {"backend": "torchforce"},
            "TorchForce cannot hold ScheduledBias, which is more than a function of u; use backend",
        ),
        (
            CappedBias(LinearBias(1.0), 1.0),
            {"plumed": "u: EXTRACV NAME=uncertainty\n"},
            "a capped bias has no potential and cannot be combined with PLUMED",
        ),
        (
            ScheduledBias(AdaptiveBias(), Constant(1.0)),
            {"plumed": "u: EXTRACV NAME=uncertainty\n"},
            "the adaptive bias has no potential and cannot be combined with PLUMED",
        ),
    ],
)
def test_what_an_engine_cannot_hold(bias, settings, message):
    topology = tiny.topology(tiny.frames("CH3OH"))
    with pytest.raises(EngineError, match=message):
        engine.create_system(topology, tiny.cv(), bias=bias, **settings)


def test_a_barostat_needs_a_potential():
    data = tiny.frames("CH3OH")
    topology = tiny.topology(data, 3.0 * np.eye(3))
    capped = CappedBias(LinearBias(1.0), 1.0)
    system = engine.create_system(topology, tiny.cv(), bias=capped)
    system.addForce(openmm.MonteCarloBarostat(1.0, 300.0))
    with pytest.raises(openmm.OpenMMException, match="needs a potential and a capped bias has no"):
        state(context_of(system, data.positions))


@pytest.mark.slow
@pytest.mark.parametrize(
    "bias",
    [
        UDDBias(0.3, 0.0195, members=8, atoms=6),
        TanhBias(0.3, 0.05),
        HarmonicBias(60.0, 0.05),
        SumBias(LinearBias(1.0), CeilingBias(100.0, 0.04, max_slope=3.0)),
    ],
    ids=lambda b: type(b).__name__,
)
def test_a_biased_run_conserves_energy(bias):
    """At a quarter of a femtosecond with ANI-1x; LinearBias is in test_openmm."""
    data = tiny.frames("CH3OH", spread=0.02)
    cv = UncertaintyCV(load_potential("ani1x"), EnsembleUncertainty())
    system = engine.create_system(tiny.topology(data), cv, bias=bias)
    context = context_of(system, data.positions, 0.00025)
    context.setVelocitiesToTemperature(300, 3)
    engine.remove_center_of_mass_motion(context, 1)
    totals, biases = [], []
    for _ in range(160):
        context.getIntegrator().step(8)
        now = context.getState(energy=True)
        totals.append((now.getPotentialEnergy() + now.getKineticEnergy())._value)
        biases.append(float(system.uncv_driver.frame.bias[0]))
    drift = np.polyfit(0.002 * np.arange(160), totals, 1)[0] / tiny.KJ / 6  # eV/ps/atom
    assert np.ptp(biases) > 1e-3
    assert np.ptp(totals) > 1e-9
    assert abs(drift) < 1e-4, drift
