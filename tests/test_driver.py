"""The driver between model and engine: PLUMED in OpenMM, stop rules, repeated evaluations."""

from __future__ import annotations

import pickle

import numpy as np
import openmm
import pytest
import tiny
from openmm import app

import uncv.openmm as engine
from uncv.bias import AdaptiveBias, LinearBias
from uncv.driver import Driver, Region, Window
from uncv.errors import EngineError, PlumedError
from uncv.step import FusedStep
from uncv.stopping import StopRules

U = "u: EXTRACV NAME=uncertainty\n"


def plumed_system(tmp_path, script, cv, topology, **settings):
    pytest.importorskip("plumed")
    given = {k: settings.pop(k) for k in ("timestep", "temperature") if k in settings}
    run = engine.Plumed(script, directory=tmp_path, **{"timestep": 0.0005, **given})
    return engine.create_system(topology, cv, plumed=run, **settings)


def simulation_of(system, topology, positions, timestep=0.0005):
    integrator = openmm.LangevinMiddleIntegrator(300, 2, timestep)
    integrator.setRandomNumberSeed(4)
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(topology, system, integrator, platform)
    simulation.context.setPositions(positions.reshape(-1, 3) / 10.0)
    simulation.context.setVelocitiesToTemperature(300, 7)
    return simulation


def state(context):
    found = context.getState(energy=True, forces=True)
    return found.getPotentialEnergy()._value, found.getForces(asNumpy=True)._value


def frames_of(tmp_path, name):
    return np.loadtxt(tmp_path / name, ndmin=2)


def test_plumeds_restraint_on_u_is_the_harmonic_formula(tmp_path):
    data = tiny.frames("CH3OH", seed=2)
    cv, topology = tiny.cv("forces", "mean"), tiny.topology(data)
    result = cv.evaluate(data)
    u = result.uncertainty[0] * tiny.KJ * 10.0  # kJ/mol/nm
    centre, kappa = 0.6 * u, 50.0 / u**2
    script = U + f"RESTRAINT ARG=u AT={centre:.12g} KAPPA={kappa:.12g}\n"
    simulation = simulation_of(
        plumed_system(tmp_path, script, cv, topology), topology, data.positions
    )
    energy, forces = state(simulation.context)
    bias = 0.5 * kappa * (u - centre) ** 2
    slope = kappa * (u - centre) * tiny.KJ * 10.0 * 10.0
    expected = result.forces[0] * tiny.KJ * 10.0 - slope * result.uncertainty_gradient[0]
    assert energy == pytest.approx(result.energy[0] * tiny.KJ + bias, rel=1e-9)
    np.testing.assert_allclose(forces, expected, atol=1e-6 * np.abs(expected).max())
    assert engine.driver_of(simulation).frame.bias[0] == pytest.approx(bias / tiny.KJ)


def test_forces_of_plumed_on_everything_are_central_differences(tmp_path):
    data = tiny.frames("CH3OH", seed=2)
    cv, topology = tiny.cv(), tiny.topology(data)
    u = cv.evaluate(data).uncertainty[0] * tiny.KJ
    e = cv.evaluate(data).energy[0] * tiny.KJ
    script = (
        U
        + "e: EXTRACV NAME=energy\nd: DISTANCE ATOMS=1,2\n"
        + f"RESTRAINT ARG=u,e,d AT={u / 2},{e - 1},0.2 KAPPA=0.5,0.02,700\n"
    )
    system = plumed_system(tmp_path, script, cv, topology, bias=LinearBias(0.4))
    simulation = simulation_of(system, topology, data.positions)

    def energy_at(x):
        simulation.context.setPositions(x / 10.0)
        return simulation.context.getState(energy=True).getPotentialEnergy()._value

    _, forces = state(simulation.context)
    expected = -10.0 * tiny.central_differences(energy_at, data.positions[0], 1e-3)
    np.testing.assert_allclose(forces, expected, atol=1e-4 * np.abs(forces).max())


def test_colvar_has_one_line_for_each_step_however_often_somebody_asks(tmp_path):
    data = tiny.frames("CH3OH", seed=2)
    cv, topology = tiny.cv(), tiny.topology(data)
    script = U + "PRINT ARG=u FILE=COLVAR FMT=%.10f\nMETAD ARG=u SIGMA=0.2 HEIGHT=0.5 PACE=2\n"
    simulation = simulation_of(
        plumed_system(tmp_path, script, cv, topology), topology, data.positions
    )
    expected, numbers = [], data.numbers
    for _ in range(7):
        for _ in range(3):
            simulation.context.getState(energy=True, forces=True)
        now = simulation.context.getState(positions=True).getPositions(asNumpy=True)._value
        expected.append(cv.evaluate(tiny.Dataset(numbers, now[None] * 10.0)).uncertainty[0])
        simulation.step(1)
    simulation.step(4)
    engine.finish(simulation)
    engine.finish(simulation)
    engine.driver_of(simulation).close()
    colvar = frames_of(tmp_path, "COLVAR")
    np.testing.assert_allclose(colvar[:, 0], 0.0005 * np.arange(11), atol=1e-9)
    np.testing.assert_allclose(colvar[:7, 1], np.array(expected) * tiny.KJ, rtol=1e-8)
    assert len(frames_of(tmp_path, "HILLS")) == 5  # after steps 2, 4, 6, 8, 10


def test_each_walker_has_its_own_plumed(tmp_path):
    data = tiny.frames("CH3OH", 3, seed=2)
    cv, topology = tiny.cv(), tiny.topology(data)
    u = cv.evaluate(data).uncertainty * tiny.KJ
    script = U + "PRINT ARG=u FILE=COLVAR FMT=%.10f\nRESTRAINT ARG=u AT=0 KAPPA=0.3\n"
    system = plumed_system(tmp_path, script, cv, topology, walkers=3)
    both, positions = engine.replicate(topology, data.positions / 10.0, 3)
    simulation = simulation_of(system, both, np.array(positions._value) * 10.0)
    energy, forces = state(simulation.context)
    result = cv.evaluate(data)
    assert energy == pytest.approx(float(result.energy.sum() * tiny.KJ + 0.15 * (u**2).sum()))
    slope = 0.3 * (u * tiny.KJ * 10.0)[:, None, None]
    expected = result.forces * tiny.KJ * 10.0 - slope * result.uncertainty_gradient
    np.testing.assert_allclose(forces, expected.reshape(-1, 3), atol=1e-6 * np.abs(forces).max())
    simulation.step(2)
    engine.finish(simulation)
    engine.driver_of(simulation).close()
    first = [frames_of(tmp_path, f"COLVAR.{w}")[0, 1] for w in range(3)]
    np.testing.assert_allclose(first, u, rtol=1e-8)


def test_a_broken_walker_does_not_reach_plumed(tmp_path):
    data = tiny.frames("CH3OH", 2, seed=2)
    cv, topology = tiny.cv(), tiny.topology(data)
    script = U + "PRINT ARG=u FILE=COLVAR\nRESTRAINT ARG=u AT=0 KAPPA=0.3\n"
    system = plumed_system(tmp_path, script, cv, topology, walkers=2)
    both, _ = engine.replicate(topology, data.positions / 10.0, 2)
    simulation = simulation_of(system, both, data.positions)
    _, before = state(simulation.context)
    simulation.step(1)
    broken = data.positions.copy()
    broken[0, 1] = broken[0, 0]  # a finite structure whose energy is not
    simulation.context.setPositions(broken.reshape(-1, 3) / 10.0)
    _, forces = state(simulation.context)
    assert not forces[:6].any()
    np.testing.assert_allclose(forces[6:], before[6:], atol=1e-8)
    simulation.step(3)
    engine.driver_of(simulation).restart(0)
    simulation.context.setPositions(data.positions.reshape(-1, 3) / 10.0)
    np.testing.assert_allclose(state(simulation.context)[1], before, atol=1e-7)
    engine.finish(simulation)
    engine.driver_of(simulation).close()
    assert len(frames_of(tmp_path, "COLVAR.1")) == 4


def test_another_time_step_than_plumed_was_told_is_an_error(tmp_path):
    data = tiny.frames("CH3OH")
    cv, topology = tiny.cv(), tiny.topology(data)
    script = U + "RESTRAINT ARG=u AT=0 KAPPA=0.3\n"
    system = plumed_system(tmp_path, script, cv, topology, timestep=0.001)
    simulation = simulation_of(system, topology, data.positions, timestep=0.0005)
    told = (
        r"time step is 0\.5 fs but PLUMED was told 1 fs; give .*Plumed\(script, timestep=0\.0005\)"
    )
    with pytest.raises(openmm.OpenMMException, match=told):
        simulation.step(3)
    engine.driver_of(simulation).close()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("x: EXTRACV NAME=wrong\n", "asks for 'wrong', which is not provided"),
        (U + "RESTRAINT ARG=v AT=0 KAPPA=1\n", "PLUMED refused .*v"),
        (U + "NONSENSE ARG=u\n", "PLUMED refused .*NONSENSE"),
        ("missing.dat", "no PLUMED input file missing.dat"),
    ],
)
def test_a_wrong_script_is_refused_before_the_first_step(tmp_path, script, message):
    topology = tiny.topology(tiny.frames("CH3OH"))
    with pytest.raises(PlumedError, match=message):
        plumed_system(tmp_path, script, tiny.cv(), topology)


def test_plumed_cannot_be_serialised(tmp_path):
    data = tiny.frames("CH3OH")
    topology = tiny.topology(data)
    system = plumed_system(tmp_path, U + "PRINT ARG=u\n", tiny.cv(), topology)
    simulation = simulation_of(system, topology, data.positions)
    with pytest.raises(EngineError, match="serialise it without plumed"):
        pickle.dumps(engine.driver_of(simulation))
    with pytest.raises(openmm.OpenMMException, match="could not be pickled"):
        openmm.XmlSerializer.serialize(system)
    engine.driver_of(simulation).close()


def test_a_stop_rule_parks_the_walker_and_keeps_the_frame():
    data = tiny.frames("CH3OH", 2, seed=2)
    cv, topology = tiny.cv(), tiny.topology(data)
    system = engine.create_system(topology, cv, bias=LinearBias(0.4), walkers=2)
    both, _ = engine.replicate(topology, data.positions / 10.0, 2)
    simulation = simulation_of(system, both, data.positions)
    driver = engine.driver_of(simulation)
    rules = StopRules(max_bond_factor=1.5)
    driver.checker = rules.prepare(data.numbers[0], data.positions[0], kind=cv.kind)
    state(simulation.context)
    assert driver.active.all()
    simulation.step(1)
    stretched = data.positions.copy()
    stretched[1, 0] += [0.0, 0.0, 1.6]
    simulation.context.setPositions(stretched.reshape(-1, 3) / 10.0)
    energy, forces = state(simulation.context)
    (event,) = driver.stops
    result = cv.evaluate(tiny.Dataset(data.numbers, stretched))
    assert (event.walker, event.step) == (1, 1)
    assert "were bonded" in event.reason
    assert event.energy == pytest.approx(result.energy[1])
    assert event.uncertainty == pytest.approx(result.uncertainty[1])
    assert event.bias == pytest.approx(-0.4 * result.uncertainty[1])
    centred = stretched[1] - stretched[1].mean(axis=0)
    np.testing.assert_allclose(event.positions, centred, atol=1e-9)
    assert not forces[6:].any()
    assert energy == pytest.approx((result.energy[0] - 0.4 * result.uncertainty[0]) * tiny.KJ)


def driver_alone(walkers=1, **settings):
    data = tiny.frames("CH3OH", walkers, seed=2)
    region = Region(data.numbers[0], 6 * walkers, walkers)
    step = FusedStep(tiny.cv(), data.numbers[0], walkers)
    return Driver(step, region, **settings), data.positions.reshape(-1, 3) / 10.0


def test_the_same_question_is_answered_once_and_inputs_are_left_alone():
    driver, positions = driver_alone()
    before = positions.copy()
    answer = driver.evaluate(positions, None, 3, 0.003)
    assert driver.evaluate(positions, None, 3, 0.003) is answer
    other = driver.evaluate(positions, None, 4, 0.004)
    assert other is not answer
    assert other[0] == answer[0]
    moved = driver.evaluate(positions + 0.01 * np.eye(6, 3), None, 4, 0.004)
    assert moved[0] != answer[0]
    np.testing.assert_array_equal(positions, before)


def test_no_sound_walker_is_an_error():
    driver, positions = driver_alone()
    with pytest.raises(EngineError, match="every walker are NaN"):
        driver.evaluate(np.full_like(positions, np.nan), None, 0, 0.0)


def test_forces_of_a_region_are_put_in_their_places():
    atoms = np.array([7, 2, 4])
    region = Region(np.array([8, 1, 1]), 9, atoms=atoms)
    positions = np.arange(27.0).reshape(9, 3)
    np.testing.assert_array_equal(region.split(positions)[0], positions[atoms])
    forces = np.arange(1.0, 10.0).reshape(1, 3, 3)
    everywhere = region.join(forces)
    np.testing.assert_array_equal(everywhere[atoms], forces[0])
    assert np.abs(everywhere).sum() == forces.sum()
    with pytest.raises(EngineError, match="has 8 particles but the force was made for 9"):
        region.split(positions[:8])


def test_the_window_is_a_running_mean_of_each_walker(rng):
    window = Window(AdaptiveBias(window=3), np.array([6, 1]), 2)
    force, gradient = rng.normal(size=(2, 8, 2, 2, 3))
    both = np.array([True, True])
    for step in range(8):
        window.push(force[step], gradient[step], both if step != 4 else np.array([True, False]))
        c = window.coefficient()
        assert bool(c[0]) == (step >= 2)
        assert bool(c[1]) == (step >= 2)

    def expected(walker, steps):
        squares = [(x[steps, walker] ** 2).sum() for x in (force, gradient)]
        return np.sqrt(squares[0] / squares[1])

    np.testing.assert_allclose(c, [expected(0, [5, 6, 7]), expected(1, [5, 6, 7])])
    window.forget(1)
    assert window.coefficient()[1] == 0.0
    np.testing.assert_allclose(window.coefficient()[0], expected(0, [5, 6, 7]))
    for _ in range(3):
        window.push(np.ones((2, 2, 3)), 2 * np.ones((2, 2, 3)), both)
    np.testing.assert_allclose(window.coefficient(), 0.5)


def test_an_unfilled_window_gives_no_coefficient_and_no_bias_says_none():
    driver, positions = driver_alone(bias=AdaptiveBias(window=2))
    for step in range(3):
        driver.evaluate(positions + 0.001 * step * np.eye(6, 3), None, step, 0.001 * step)
        assert bool(driver.coefficients()[0]) == (step >= 1)
    assert driver_alone()[0].coefficients() is None


def test_box_of_a_periodic_region_counts():
    data = tiny.crystal()
    cv = tiny.cv()
    region = Region(data.numbers[0], 4, periodic=True)
    driver = Driver(FusedStep(cv, data.numbers[0], periodic=True), region)
    positions, box = data.positions[0] / 10.0, data.cell[0] / 10.0
    energy, forces = driver.evaluate(positions, box, 0, 0.0)
    assert energy == pytest.approx(cv.evaluate(data).energy[0] * tiny.KJ)
    expected = cv.evaluate(data).forces[0] * tiny.KJ * 10.0
    np.testing.assert_allclose(forces, expected, atol=1e-7 * np.abs(expected).max())
    scaled, _ = driver.evaluate(positions, 1.05 * box, 0, 0.0)
    larger = tiny.Dataset(data.numbers, data.positions, cell=1.05 * data.cell)
    assert scaled == pytest.approx(cv.evaluate(larger).energy[0] * tiny.KJ)
