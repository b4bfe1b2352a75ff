"""The bias of a campaign: saturating by default, chosen in each round by a warm-up, reported."""

from __future__ import annotations

import numpy as np
import pytest
import tiny

import uncv
from uncv.bias import (
    AdaptiveBias,
    CeilingBias,
    LinearBias,
    ScheduledBias,
    SumBias,
    TanhBias,
    UDDBias,
    WarmUp,
    choose_tanh,
    choose_udd,
    mean_force_ratio,
)
from uncv.config import make_config
from uncv.journal import Journal
from uncv.learning import learn
from uncv.learning.bias import choose_bias, warm_up_steps
from uncv.learning.directory import RunDirectory
from uncv.learning.dynamics import Dynamics
from uncv.sampling import SampleSettings
from uncv.schedule import Ramp, SawTooth
from uncv.stopping import StopRules
from uncv.uncertainty import EnsembleUncertainty

SETTINGS = SampleSettings(timestep=0.5, steps=40, stride=8, walkers=2)


def section(**values):
    return make_config({"bias": values}).bias


def dynamics(cv=None, **values):
    data = tiny.frames("CH3OH", 2, 0.03, seed=1)
    return Dynamics(tiny.topology(data), data, cv or tiny.cv(), SETTINGS, **values)


def test_what_needs_no_warm_up(monkeypatch):
    monkeypatch.setattr("uncv.learning.dynamics.sample", None)
    run = dynamics()
    assert choose_bias(section(kind="none"), run) is None
    assert choose_bias(section(kind="linear"), run).strength == 0.25
    assert choose_bias(section(kind="linear", strength=2.0), run).strength == 2.0
    given = section(kind="adaptive", elements={"O": 0.5}, window=7, hydrogen=0.1)
    assert choose_bias(given, run) == AdaptiveBias(0.25, 0.1, 7, {"O": 0.5})
    bias = choose_bias(section(kind="udd", depth_ev=0.3, width=0.01), run)
    assert (bias.A, bias.B, bias.members, bias.atoms) == (0.3, 0.01, 3, 6)
    other = dynamics(tiny.cv("forces"))
    bias = choose_bias(section(kind="udd", depth_ev=0.3, width=0.01), other)
    assert (bias.members, bias.width) == (None, 0.01)
    bias = choose_bias(section(kind="tanh", depth_ev=0.3, width=0.2), run)
    assert (type(bias), bias.depth, bias.width) == (TanhBias, 0.3, 0.2)


def test_a_ceiling_is_added_and_holds_the_drive():
    bias = choose_bias(section(kind="linear", strength=2.0, ceiling=0.5), dynamics())
    assert isinstance(bias, SumBias)
    wall = bias.biases[1]
    assert isinstance(wall, CeilingBias)
    assert wall.u_max == 0.5
    slopes = bias.energy_and_slope(tiny.torch.tensor([0.54, 0.55, 0.56], dtype=tiny.torch.float64))
    np.testing.assert_allclose(slopes[1], [-0.4, 0.0, 0.4], atol=1e-12)


def test_a_schedule_is_put_around_the_bias():
    given = section(kind="linear", schedule="ramp", schedule_steps=9)
    bias = choose_bias(given, dynamics())
    assert isinstance(bias, ScheduledBias)
    assert (type(bias.bias), bias.schedule) == (LinearBias, Ramp(0.0, 1.0, 9))
    given = section(kind="adaptive", schedule="saw_tooth", schedule_steps=9)
    bias = choose_bias(given, dynamics())
    assert (type(bias.bias), bias.schedule) == (AdaptiveBias, SawTooth(0.0, 1.0, 9))


@pytest.mark.parametrize("of", ["energy", "forces"])
@pytest.mark.parametrize("kind", ["udd", "tanh"])
def test_depth_and_width_come_from_frames_without_a_bias(kind, of):
    run = dynamics(tiny.cv(of))
    warm = run.warm_up(8)
    assert len(warm.uncertainty) == 2 * 8
    np.testing.assert_array_equal(run.warm_up(8).uncertainty, warm.uncertainty)
    bias = choose_bias(section(kind=kind), run)
    assert mean_force_ratio(bias, warm) == pytest.approx(0.36)
    size = (3, 6) if of == "energy" else (None, None)
    expected = (
        choose_udd(warm, members=size[0], atoms=size[1]) if kind == "udd" else choose_tanh(warm)
    )
    assert repr(bias) == repr(expected)
    name = "A" if kind == "udd" else "depth"
    deep = choose_bias(section(kind=kind, depth_ev=0.7), run)
    assert (getattr(deep, name), deep.width) == (0.7, pytest.approx(expected.width))
    narrow = choose_bias(section(kind=kind, width=0.03, strength=0.1), run)
    assert mean_force_ratio(narrow, warm) == pytest.approx(0.1)
    assert getattr(narrow, "B", narrow.width) == 0.03


def test_the_warm_up_is_a_part_of_the_round():
    given = section()
    assert warm_up_steps(given, SampleSettings(steps=1000)) == 100
    assert warm_up_steps(given, SampleSettings(steps=200)) == 40
    assert warm_up_steps(given, SampleSettings(steps=20, stride=18)) == 2
    assert warm_up_steps(given, SampleSettings(steps=4, stride=4)) == 0
    assert warm_up_steps(section(kind="udd", depth_ev=1, width=1), SampleSettings()) == 0
    assert warm_up_steps(section(kind="adaptive"), SampleSettings()) == 0


def test_without_stored_frames_the_starts_do():
    run = dynamics()
    stopping = StopRules(max_uncertainty=1e-9).prepare(
        run.starts.numbers[0], run.starts.positions[0], kind="energy"
    )
    found = run.cv.evaluate(run.starts)
    for warm in (run.warm_up(0), dynamics(stop=stopping).warm_up(1)):
        assert isinstance(warm, WarmUp)
        np.testing.assert_allclose(warm.uncertainty, found.uncertainty)


def test_a_campaign_chooses_its_default_bias_in_each_round(tmp_path):
    values = {
        "potential": {"members": 2, "hidden": (8,), "epochs": 3, "epochs_warm": 2},
        "sampling": {"steps_per_round": 20, "stride": 4, "walkers": 2, "timestep_fs": 0.25},
        "selection": {"batch_size": 3},
        "budget": {"labels": 14, "initial_labels": 8},
        "stop": {"max_force_ev_per_angstrom": None},
    }
    result = learn(values, tmp_path / "run")
    assert (result.finished, result.walker_steps) == (True, 2 * 20 * 2)
    events = Journal(result.directory / "journal.jsonl").events("sampled")
    assert [e["walker_steps"] for e in events] == [40, 40]
    assert all(e["bias"].startswith("UDDBias(A=") for e in events)
    assert all("members=2, atoms=22" in e["bias"] for e in events)
    assert events[0]["bias"] != events[1]["bias"]
    assert [e["reweightable"] for e in events] == [not e["stops"] for e in events]
    frames = uncv.read(RunDirectory(result.directory).frames(1))
    kept = frames.info["stop_reason"] == ""
    assert set(frames.info["step"][kept]) <= {4, 8, 12, 16}
    bias = eval(events[0]["bias"], {"UDDBias": UDDBias})
    u = tiny.torch.tensor(frames.info["uncertainty"])
    np.testing.assert_allclose(bias(u), frames.info["bias"], rtol=1e-6)
    cv = uncv.UncertaintyCV.load(RunDirectory(result.directory).model(1))
    assert isinstance(cv.uncertainty, EnsembleUncertainty)
