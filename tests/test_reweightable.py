"""When SampledRun says that exp(+V/k_BT) gives averages, and its reasons; changing temperatures."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tiny

import uncv.openmm
from uncv.bias import (
    AdaptiveBias,
    CappedBias,
    LinearBias,
    ScheduledBias,
    SumBias,
    TanhBias,
    UDDBias,
)
from uncv.errors import EngineError
from uncv.plumed import plumed_of_run
from uncv.sampling import SampleSettings, Walkers, sample
from uncv.schedule import Constant, Ramp, SawTooth
from uncv.stopping import StopRules
from uncv.units import KB_IN_KJ_PER_MOL_K

STATIC = "u: EXTRACV NAME=uncertainty\nRESTRAINT ARG=u AT=0 KAPPA=0.1\n"
NO_POTENTIAL = "the adaptive bias has no potential"
STRENGTH = "the strength of the bias changed during the run"
CAP = "the cap shortened the bias force in 10 steps of walkers"
TEMPERATURE = "the temperature changed during the run"
STOP = "2 walkers were stopped and put back"
PLUMED = "PLUMED's bias may change in time: reweight by its own columns in COLVAR"

BIASES = {
    "none": (None, []),
    "linear": (LinearBias(0.1), []),
    "sum": (SumBias(UDDBias(0.1, 0.2), TanhBias(0.1, 0.2)), []),
    "adaptive": (AdaptiveBias(window=2), [NO_POTENTIAL]),
    "constant schedule": (ScheduledBias(LinearBias(0.1), Constant(2.0)), []),
    "flat ramp": (ScheduledBias(LinearBias(0.1), Ramp(1.0, 1.0, 9)), []),
    "ramp": (ScheduledBias(LinearBias(0.1), Ramp(0.0, 1.0, 9)), [STRENGTH]),
    "adaptive ramp": (ScheduledBias(AdaptiveBias(), Ramp(0.0, 1.0, 9)), [NO_POTENTIAL, STRENGTH]),
    "distant cap": (CappedBias(LinearBias(0.1), max_force=1e3), []),
    "cap": (CappedBias(LinearBias(1.0), max_ratio=1e-6), [CAP]),
    "capped teeth": (
        ScheduledBias(CappedBias(LinearBias(1.0), max_ratio=1e-6), SawTooth(1.0, 2.0, 2)),
        [CAP, STRENGTH],
    ),
}
TEMPERATURES = {"one": (300.0, []), "teeth": (SawTooth(300.0, 400.0, 3), [TEMPERATURE])}
STOPS = {"free": (None, []), "stopped": (StopRules(max_bond_factor=1.5), [STOP])}


def start(count=2, spread=0.03):
    data = tiny.frames("CH3OH", count, spread, seed=1)
    return tiny.topology(data), data


def stretched(data):
    """Both walkers begin with a broken bond."""
    positions = data.positions.copy()
    positions[:, 0] += [0.0, 0.0, 1.6]
    return tiny.Dataset(data.numbers, positions)


@pytest.mark.parametrize(
    ("bias", "temperature", "stop"), list(itertools.product(BIASES, TEMPERATURES, STOPS))
)
def test_every_combination_says_all_its_reasons(bias, temperature, stop):
    topology, data = start()
    (made, one), (kelvin, two), (rules, three) = (
        BIASES[bias],
        TEMPERATURES[temperature],
        STOPS[stop],
    )
    cv = tiny.cv()
    settings = SampleSettings(temperature=kelvin, timestep=0.1, steps=4, stride=1, walkers=2)
    checker, starts = None, data
    if rules is not None:
        checker = rules.prepare(data.numbers[0], data.positions[0], cv.kind)
        starts = stretched(data)
    run = sample(
        topology, starts, cv, settings=settings, bias=made, stop=checker, restart_pool=data
    )
    expected = "; ".join([*one, *two, *three])
    if three:  # the two walkers do not move until they are put back
        expected = expected.replace("in 10 steps", "in 8 steps")
    assert (run.reweightable, run.reason) == (not expected, expected)
    told = "; ".join(part for part in expected.split("; ") if part not in (NO_POTENTIAL, STOP))
    assert set(run.frames.info.get("not_reweightable", [""])) == {told}


@pytest.mark.parametrize(
    ("bias", "reasons"),
    [
        (None, [PLUMED]),
        (LinearBias(0.1), [PLUMED]),
        (ScheduledBias(LinearBias(0.1), Ramp(0.0, 1.0, 9)), [STRENGTH, PLUMED]),
    ],
)
def test_with_plumed(tmp_path, bias, reasons):
    pytest.importorskip("plumed")
    topology, data = start()
    settings = SampleSettings(timestep=0.5, steps=4, stride=2, walkers=2)
    plumed = uncv.openmm.Plumed(STATIC, timestep=0.0005, directory=tmp_path)
    run = sample(topology, data, tiny.cv(), settings=settings, bias=bias, plumed=plumed)
    assert (run.reweightable, run.reason) == (False, "; ".join(reasons))


def test_an_input_takes_from_the_run_what_it_does_not_name():
    given = uncv.openmm.Plumed(STATIC, directory="here")
    assert (given.timestep, given.temperature) == (None, None)
    assert tuple(given.told()) == (0.001, 300.0)
    filled = plumed_of_run(given, 0.5, 450.0)
    assert (filled.timestep, filled.temperature, filled.directory) == (0.0005, 450.0, "here")
    named = plumed_of_run(uncv.openmm.Plumed(STATIC, temperature=10.0), 0.5, 450.0)
    assert tuple(named.told()) == (0.0005, 10.0)
    assert plumed_of_run(STATIC, 2.0, 300.0).timestep == 0.002
    assert plumed_of_run(None, 2.0, 300.0) is None


def test_plumed_is_told_one_temperature(tmp_path):
    pytest.importorskip("plumed")
    topology, data = start()
    heating = SampleSettings(
        temperature=Ramp(300.0, 400.0, 4), timestep=0.5, steps=4, stride=2, walkers=2
    )
    with pytest.raises(EngineError, match="PLUMED is told one temperature but that of the run"):
        sample(topology, data, tiny.cv(), settings=heating, plumed=STATIC)
    plumed = uncv.openmm.Plumed(STATIC, 0.0005, temperature=300.0, directory=tmp_path)
    run = sample(topology, data, tiny.cv(), settings=heating, plumed=plumed)
    assert run.reason == f"{TEMPERATURE}; {PLUMED}"


def test_the_thermostat_follows_its_schedule():
    topology, data = start()
    settings = SampleSettings(temperature=Ramp(300.0, 500.0, 20), steps=23, stride=1, walkers=2)
    walkers = Walkers(topology, data, tiny.cv(), settings, None, None, 0)
    temperature = walkers.simulation.integrator.getTemperature
    assert temperature()._value == 300.0
    seen = []
    original = walkers.simulation.step
    walkers.simulation.step = lambda n: (
        seen.append((walkers.simulation.currentStep, n, temperature()._value)) or original(n)
    )
    for steps in (12, 3, 8):
        walkers.advance(steps)
    assert seen == [
        (0, 5, 300.0), (5, 5, 350.0), (10, 2, 400.0), (12, 3, 420.0), (15, 5, 450.0),
        (20, 3, 500.0),
    ]  # fmt: skip


def test_velocities_after_a_restart_have_the_temperature_of_the_step():
    topology, data = start()
    settings = SampleSettings(temperature=Ramp(10.0, 900.0, 2), steps=2, stride=1, walkers=40)
    walkers = Walkers(topology, data, tiny.cv(), settings, None, None, 2)
    walkers.advance(2)
    random = np.random.default_rng(0)
    for walker in range(40):
        walkers.restart(walker, data.positions[0], random)
    state = walkers.simulation.context.getState(velocities=True)
    velocities = state.getVelocities(asNumpy=True)._value.reshape(40, 6, 3)
    masses = np.array([{1: 1.008, 6: 12.011, 8: 15.999}[int(z)] for z in data.numbers[0]])
    kinetic = 0.5 * (masses[:, None] * velocities**2).sum()
    freedom = 40 * 15
    found = 2 * kinetic / freedom / KB_IN_KJ_PER_MOL_K
    assert found == pytest.approx(900.0, abs=4 * 900.0 * np.sqrt(2 / freedom))


def test_a_temperature_below_zero_is_refused_in_a_schedule_too():
    with pytest.raises(ValueError, match=r"temperature is -5\.0; expected a positive number"):
        SampleSettings(temperature=Ramp(300.0, -5.0, 10))


def test_the_coefficients_of_the_adaptive_bias_are_kept_for_each_stored_frame():
    topology, data = start()
    cv = tiny.cv()
    settings = SampleSettings(timestep=0.5, steps=6, stride=1, walkers=2)
    run = sample(topology, data, cv, settings=settings, bias=AdaptiveBias(window=1), seed=4)
    result = cv.evaluate(run.frames)
    squares = [(x**2).sum(axis=(1, 2)) for x in (result.forces, result.uncertainty_gradient)]
    expected = np.sqrt(squares[0] / squares[1]).reshape(6, 2)
    np.testing.assert_allclose(run.coefficients, expected, rtol=1e-6)
    longer = sample(topology, data, cv, settings=settings, bias=AdaptiveBias(window=4))
    assert (longer.coefficients[:2] == 0).all()
    assert (longer.coefficients[3:] > 0).all()
    assert sample(topology, data, cv, settings=settings, bias=LinearBias(0.1)).coefficients is None


def test_coefficients_of_parked_walkers_are_nan():
    topology, data = start()
    cv = tiny.cv()
    checker = StopRules(max_bond_factor=1.5).prepare(data.numbers[0], data.positions[0], cv.kind)
    settings = SampleSettings(timestep=0.1, steps=3, stride=1, walkers=2)
    run = sample(
        topology, stretched(data), cv, settings=settings, bias=AdaptiveBias(window=1),
        stop=checker, restart_pool=data,
    )  # fmt: skip
    np.testing.assert_array_equal(np.isnan(run.coefficients), np.isnan(run.uncertainty))
    assert np.isnan(run.coefficients[0]).all()
