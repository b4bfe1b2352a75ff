"""Extended-system sampling of u: λ, its push, and the free energy that CZAR makes of them."""

from __future__ import annotations

import numpy as np
import openmm
import pytest
import tiny
from openmm import app

import uncv.openmm as engine
from uncv.bias import ExtendedBias, ExtendedVariables, czar
from uncv.errors import EngineError
from uncv.sampling import SampleSettings, sample
from uncv.units import KB_IN_EV_PER_K

KT = KB_IN_EV_PER_K * 300.0
BIAS = ExtendedBias(lower=0.0, upper=2.0, width=0.1, bins=20, full_samples=4, seed=3)
ALL = np.ones(2, dtype=bool)


def central(function, x, width=1e-6):
    return (function(x + width) - function(x - width)) / (2 * width)


def test_the_spring_has_the_thermal_width_and_its_slope_is_the_derivative():
    variables = ExtendedVariables(BIAS, 2)
    energy, slope = variables.energy_and_slope(np.array([0.4, 5.0]))
    assert variables.position.tolist() == [0.4, 2.0]  # λ begins at u, inside the range
    assert BIAS.spring == pytest.approx(KT / 0.01)
    assert energy == pytest.approx([0.0, 0.5 * KT / 0.01 * 9.0])
    u = np.array([0.47, 1.9])
    numeric = central(lambda x: variables.energy_and_slope(x)[0], u)
    assert variables.energy_and_slope(u)[1] == pytest.approx(numeric, rel=1e-7)
    assert slope[0] == 0.0


def test_a_free_lambda_oscillates_with_its_period():
    bias = ExtendedBias(-5.0, 5.0, 0.1, period=50.0, friction=1e-9, full_samples=10**9)
    variables = ExtendedVariables(bias, 1)
    variables.energy_and_slope(np.zeros(1))
    variables.position[:], variables.velocity[:] = 0.3, 0.0
    for _ in range(100):
        variables.advance(np.zeros(1), np.ones(1, bool), 0.5)
    assert variables.position == pytest.approx([0.3], rel=1e-4)
    half = ExtendedVariables(bias, 1)
    half.energy_and_slope(np.zeros(1))
    half.position[:], half.velocity[:] = 0.3, 0.0
    for _ in range(50):
        half.advance(np.zeros(1), np.ones(1, bool), 0.5)
    assert half.position == pytest.approx([-0.3], rel=1e-3)


def test_lambda_keeps_its_temperature():
    """A fixed u and no push: λ is a thermal oscillator of width σ around it."""
    bias = ExtendedBias(-9.0, 9.0, 0.2, period=60.0, friction=30.0, full_samples=10**9, seed=5)
    variables = ExtendedVariables(bias, 400)
    u, active = np.full(400, 1.0), np.ones(400, bool)
    variables.energy_and_slope(u)
    for _ in range(300):
        variables.advance(u, active, 1.0)
    assert variables.position.mean() == pytest.approx(1.0, abs=4 * 0.2 / 20)
    assert variables.position.std() == pytest.approx(0.2, rel=4 / np.sqrt(800))
    kinetic = 0.5 * bias.mass * (variables.velocity**2).mean()
    assert kinetic == pytest.approx(0.5 * KT, rel=4 * np.sqrt(2 / 400))


def test_abf_cancels_the_mean_force_once_a_bin_is_full():
    variables = ExtendedVariables(BIAS, 2)
    u = np.array([0.45, 1.25])
    variables.energy_and_slope(u)
    pulls = []
    for step in range(6):
        variables.position[:] = [0.43, 1.27]  # held in their bins
        assert variables.push(np.array([0.43]))[0] == pytest.approx(
            -min(1.0, step / 4) * np.mean(pulls or [0.0])
        )
        pulls.append(BIAS.spring * (0.45 - 0.43))
        variables.advance(u, ALL, 0.5)
    assert variables.push(np.array([1.27]))[0] == pytest.approx(BIAS.spring * 0.02)


def test_hills_shrink_by_what_lies_below_them_and_push_away():
    bias = ExtendedBias(
        0.0, 2.0, 0.1, bins=200, height=0.02, bias_factor=5.0, pace=1, full_samples=10**9,
        hill_width=10.0,
    )  # fmt: skip
    variables = ExtendedVariables(bias, 1)
    for _ in range(3):
        variables.position[:] = 1.0
        variables.advance(np.ones(1), np.ones(1, bool), 1e-9)
    heights, total = [], 0.0
    for _ in range(3):
        heights.append(0.02 * np.exp(-total / (4.0 * KT)))
        total += heights[-1]
    assert variables.hills[100] == pytest.approx(total, rel=1e-9)
    assert variables.push(np.array([1.055]))[0] > 0 > variables.push(np.array([0.945]))[0]
    gaussian = total * np.exp(-0.5 * ((variables.edges - 1.0) / 0.1) ** 2)
    np.testing.assert_allclose(variables.hills, gaussian, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("height", [0.0, 0.2 * KT])
def test_the_free_energy_of_a_double_well_is_recovered(height):
    """u = x in A(x) = 6 k_BT (x² − 1)², from one well: within 0.5 k_BT up to 8 k_BT."""
    bias = ExtendedBias(-1.6, 1.6, 0.06, bins=54, height=height, pace=50, seed=1)
    walkers, timestep, mass = 16, 2.0, KT / 0.003**2
    variables = ExtendedVariables(bias, walkers)
    random = np.random.default_rng(0)
    x, v, active = -np.ones(walkers), np.zeros(walkers), np.ones(walkers, bool)
    keep = np.exp(-0.02)
    force = np.zeros(walkers)
    for _ in range(18_000):
        v += 0.5 * timestep * force / mass
        x += 0.5 * timestep * v
        v = keep * v + np.sqrt((1 - keep**2) * KT / mass) * random.normal(size=walkers)
        x += 0.5 * timestep * v
        variables.advance(x, active, timestep)
        force = -6 * KT * 4 * x * (x * x - 1) - variables.energy_and_slope(x)[1]
        v += 0.5 * timestep * force / mass
    found = variables.profile()
    expected = 6 * KT * (found.centres**2 - 1) ** 2
    low = expected < 8 * KT
    gap = (found.free_energy - expected)[low] / KT
    assert np.abs(gap - gap.mean()).max() < 0.5
    assert found.samples[low].min() > 100


def test_czar_of_exact_samples_is_exact():
    """u in A(u) = κ/2 u² and λ around it with any bias on λ: here none, so both are Gaussian."""
    random = np.random.default_rng(4)
    spring, stiffness = 4.0 * KT, 1.5 * KT
    u = random.normal(scale=np.sqrt(KT / stiffness), size=400_000)
    position = u + random.normal(scale=np.sqrt(KT / spring), size=len(u))
    found = czar(u, position, edges=np.linspace(-1.5, 1.5, 31), spring=spring, temperature=300.0)
    expected = 0.5 * stiffness * found.centres**2
    gap = (found.free_energy - expected) / KT
    assert np.abs(gap - gap.mean()).max() < 0.03


def test_czar_checks_its_series():
    with pytest.raises(ValueError, match=r"u has shape \(3,\) and λ \(2,\)"):
        czar([1, 2, 3], [1, 2], edges=[0, 1, 2], spring=1.0, temperature=300.0)
    with pytest.raises(ValueError, match="edges must rise in equal steps"):
        czar([1.0], [1.0], edges=[0, 1, 3], spring=1.0, temperature=300.0)


@pytest.mark.slow
def test_plumeds_extended_lagrangian_gives_the_same_free_energy(tmp_path):
    """METAD on PLUMED's fictitious variable of u = x in 4 k_BT (x² − 1)²; CZAR of its COLVAR."""
    pytest.importorskip("plumed")
    from uncv.plumed import PlumedDriver, PlumedSettings, StepGate
    from uncv.units import EV_IN_KJ_PER_MOL

    kt = KT * EV_IN_KJ_PER_MOL
    kappa = kt / 0.08**2
    script = (
        f"u: EXTRACV NAME=uncertainty\nel: EXTENDED_LAGRANGIAN ARG=u KAPPA={kappa} TAU=0.1 "
        "FRICTION=10 TEMP=300\nMETAD ARG=el.u_fict SIGMA=0.1 HEIGHT=0.5 PACE=50 BIASFACTOR=6 "
        "TEMP=300 GRID_MIN=-4 GRID_MAX=4 GRID_BIN=800\nPRINT ARG=u,el.u_fict FILE=COLVAR\n"
    )
    settings = PlumedSettings(script, [1.0], timestep=0.002, directory=tmp_path)
    gate = StepGate(PlumedDriver(settings))
    random = np.random.default_rng(2)
    x, v, force, mass, keep = -1.0, 0.0, 0.0, kt / 3.0**2, np.exp(-0.02)
    for step in range(60_000):
        v += 0.001 * force / mass
        x += 0.001 * v
        v = keep * v + np.sqrt((1 - keep**2) * kt / mass) * random.normal()
        x += 0.001 * v
        if (answer := gate.begin(step, np.zeros((1, 3)))) is None:
            answer = gate.finish({"uncertainty": x})
        force = -4 * kt * 4 * x * (x * x - 1) - answer.derivatives["uncertainty"]
        v += 0.001 * force / mass
    gate.flush(60_000)
    gate.close()
    _, u, position = np.loadtxt(tmp_path / "COLVAR").T
    found = czar(
        u, position, edges=np.linspace(-1.6, 1.6, 41), spring=kappa / EV_IN_KJ_PER_MOL,
        temperature=300.0,
    )  # fmt: skip
    expected = 4 * KT * (found.centres**2 - 1) ** 2
    low = expected < 6 * KT
    gap = (found.free_energy - expected)[low] / KT
    assert np.abs(gap - gap.mean()).max() < 0.5


def test_a_profile_needs_neighbouring_bins_and_tells_what_was_not_seen():
    variables = ExtendedVariables(BIAS, 2)
    variables.energy_and_slope(np.array([0.45, 1.25]))
    variables.advance(np.array([0.45, 1.25]), ALL, 0.5)
    with pytest.raises(ValueError, match="u was sampled in 2 of 20 bins, none of them neighbours"):
        variables.profile()
    for u in (0.55, 0.65):
        variables.advance(np.array([u, 7.0]), ALL, 0.5)
    found = variables.profile()
    assert np.flatnonzero(np.isfinite(found.free_energy)).tolist() == [4, 5, 6]
    assert found.samples.sum() == 4  # u = 7 lies outside of the range
    assert np.nanmin(found.free_energy) == 0.0


def test_a_walker_that_is_put_back_begins_at_its_own_u():
    variables = ExtendedVariables(BIAS, 2)
    variables.energy_and_slope(np.array([0.4, 1.0]))
    variables.advance(np.array([0.4, 1.0]), np.array([True, False]), 1.0)
    assert variables.position[1] == 1.0
    assert variables.samples.sum() == 1
    variables.forget(0)
    variables.energy_and_slope(np.array([1.7, 1.0]))
    assert variables.position.tolist() == [1.7, 1.0]


def test_a_state_continues_exactly():
    u = np.array([0.45, 1.25])
    whole, parts = ExtendedVariables(BIAS, 2), ExtendedVariables(BIAS, 2)
    for variables in (whole, parts):
        variables.energy_and_slope(u)
        for _ in range(5):
            variables.advance(u, ALL, 0.5)
    again = ExtendedVariables(BIAS, 2)
    again.restore(parts.state())
    for _ in range(5):
        whole.advance(u, ALL, 0.5)
        again.advance(u, ALL, 0.5)
    assert again.position.tolist() == whole.position.tolist()
    assert again.force_sum.tolist() == whole.force_sum.tolist()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lower": 2.0}, "the range is 2.0 to 2.0; expected lower < upper"),
        ({"width": 0.0}, "width is 0.0; expected a positive number"),
        ({"bins": 3}, "bins is 3; expected at least 4"),
        ({"bias_factor": 1.0}, "bias_factor 1.0; expected a height"),
    ],
)
def test_settings_check_themselves(settings, message):
    with pytest.raises(ValueError, match=message):
        ExtendedBias(**{"lower": 0.0, "upper": 2.0, "width": 0.1, **settings})


def engine_run(bias, walkers=2, **settings):
    data = tiny.frames("CH3OH", walkers, seed=2)
    topology = tiny.topology(data)
    system = engine.create_system(topology, tiny.cv(), bias=bias, walkers=walkers, **settings)
    both, positions = engine.replicate(topology, data.positions / 10.0, walkers)
    integrator = openmm.LangevinMiddleIntegrator(300, 2, 0.0005)
    integrator.setRandomNumberSeed(4)
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(both, system, integrator, platform)
    simulation.context.setPositions(positions)
    simulation.context.setVelocitiesToTemperature(300, 7)
    return simulation, data


def of_methanol():
    u = tiny.cv().evaluate(tiny.frames("CH3OH", 2, seed=2)).uncertainty
    spread = abs(u[1] - u[0]) + 0.1 * u.mean()
    return ExtendedBias(0.0, 3 * u.max(), 0.2 * spread, bins=30, period=20.0, seed=8)


def test_forces_in_openmm_are_central_differences_at_a_fixed_lambda():
    simulation, _ = engine_run(of_methanol(), walkers=1)
    simulation.step(3)
    context = simulation.context
    x0 = context.getState(positions=True).getPositions(asNumpy=True)._value

    def energy_at(x):
        context.setPositions(x)
        return context.getState(energy=True).getPotentialEnergy()._value

    forces = context.getState(forces=True).getForces(asNumpy=True)._value
    frame = engine.driver_of(simulation).frame
    expected = -tiny.central_differences(energy_at, x0, 1e-5)
    np.testing.assert_allclose(forces, expected, rtol=1e-5, atol=1e-6 * np.abs(forces).max())
    assert frame.bias[0] > 0.0
    variables = engine.driver_of(simulation).native.extended
    gap = frame.values.uncertainty[0] - variables.position[0]
    assert frame.bias[0] == pytest.approx(0.5 * variables.bias.spring * gap**2)


def test_lambda_moves_once_a_step_with_the_u_of_that_step():
    simulation, _ = engine_run(of_methanol())
    driver = engine.driver_of(simulation)
    alone = ExtendedVariables(of_methanol(), 2)
    for step in range(6):
        for _ in range(step):  # a reporter, a minimiser
            simulation.context.getState(energy=True)
        simulation.context.getState(energy=True)
        u = driver.frame.values.uncertainty
        alone.energy_and_slope(u)
        np.testing.assert_allclose(driver.native.extended.position, alone.position, rtol=1e-9)
        alone.advance(u, ALL, 0.5)
        simulation.step(1)
    assert driver.native.extended.steps.tolist() == [5, 5]  # the sixth waits for an evaluation


def test_a_checkpoint_continues_lambda_exactly(tmp_path):
    whole, _ = engine_run(of_methanol())
    whole.step(12)
    first, _ = engine_run(of_methanol())
    first.step(5)
    engine.save_checkpoint(first, tmp_path / "chk")
    second, _ = engine_run(of_methanol())
    engine.load_checkpoint(second, tmp_path / "chk")
    second.step(7)
    for simulation in (whole, second):
        simulation.context.getState(energy=True)
    one, two = (engine.driver_of(s).native.extended for s in (whole, second))
    np.testing.assert_allclose(two.position, one.position, rtol=1e-9)
    np.testing.assert_array_equal(two.samples, one.samples)


def test_a_run_gives_the_free_energy_and_is_not_reweighted_by_its_spring():
    data = tiny.frames("CH3OH", 2, seed=2)
    settings = SampleSettings(timestep=0.5, steps=60, stride=5, walkers=2)
    run = sample(tiny.topology(data), data, tiny.cv(), settings=settings, bias=of_methanol())
    assert not run.reweightable
    assert "CZAR" in run.reason
    assert run.profile is not None
    assert run.profile.samples.sum() == 120
    assert np.nanmin(run.profile.free_energy) == 0.0
    plain = sample(tiny.topology(data), data, tiny.cv(), settings=settings)
    assert plain.profile is None


def test_torchforce_cannot_hold_lambda():
    with pytest.raises(EngineError, match=r"cannot hold the extended bias.*backend='python'"):
        engine_run(of_methanol(), backend="torchforce")
