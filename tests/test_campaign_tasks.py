"""Whoever does the work of a campaign, the same comes of it; overlapping stages lose nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import uncv
from uncv.config import dump_config, make_config
from uncv.data import Dataset
from uncv.errors import CampaignError, ConfigError, WallTimeReached
from uncv.executors import Done, Failed
from uncv.journal import Journal
from uncv.learning import learn
from uncv.learning.directory import RunDirectory
from uncv.learning.setup import make_setup
from uncv.learning.tasks import shares_of
from uncv.learning.work import Work, values_of

TINY = {
    "potential": {"members": 2, "hidden": (8,), "epochs": 3, "epochs_warm": 2},
    "sampling": {"steps_per_round": 12, "stride": 4, "walkers": 3, "timestep_fs": 0.25},
    "selection": {"batch_size": 3},
    "budget": {"labels": 14, "initial_labels": 8},
    "bias": {"kind": "linear", "strength": 0.1},
    "stop": {"max_force_ev_per_angstrom": None},
}
PARTS = {"walker_groups": 2, "training_groups": 2, "labels_per_task": 2}


def campaign(**execution):
    return {**TINY, "execution": {**PARTS, **execution}}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The campaign in parts, done by this process."""
    return learn(campaign(), tmp_path_factory.mktemp("alone")).directory


def fingerprint(directory):
    return uncv.UncertaintyCV.load(directory / "final.uncv").fingerprint


def assert_same_campaign(directory, expected):
    first, second = (uncv.read(d / "labelled.extxyz") for d in (directory, expected))
    np.testing.assert_array_equal(first.positions, second.positions)
    np.testing.assert_array_equal(first.energy, second.energy)
    np.testing.assert_array_equal(first.forces, second.forces)
    for column in ("round", "walker", "step", "split", "fingerprint"):
        assert first.info[column].tolist() == second.info[column].tolist(), column
    assert fingerprint(directory) == fingerprint(expected)


def test_walkers_of_all_groups_are_numbered_on(alone):
    frames = RunDirectory(alone).stored_frames()
    assert all(set(f.info["walker"].tolist()) == {0, 1, 2} for f in frames)
    assert [e["walker_steps"] for e in Journal(alone / "journal.jsonl").events("sampled")] == (
        [3 * 12] * 2
    )


def test_members_trained_apart_differ(alone):
    potential = uncv.UncertaintyCV.load(alone / "final.uncv").potential
    energies = potential.evaluate(uncv.read(alone / "labelled.extxyz")[:2]).energies
    assert potential.members == 2
    assert np.abs(energies[0] - energies[1]).min() > 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["process_pool", "parsl"])
def test_workers_give_the_same_labels_and_model(alone, tmp_path, kind):
    result = learn(campaign(kind=kind, workers=2), tmp_path / "run")
    assert result.finished
    assert_same_campaign(tmp_path / "run", alone)


@pytest.mark.slow
def test_stages_that_overlap_spend_the_budget_and_ask_for_no_frame_twice(tmp_path):
    given = campaign(kind="process_pool", workers=2, mode="asynchronous")
    result = learn(given, tmp_path / "run")
    assert (result.finished, result.labels) == (True, 14)
    data = uncv.read(tmp_path / "run" / "labelled.extxyz")
    chosen = data[np.flatnonzero(data.info["round"] > 0)]
    keys = list(zip(*(chosen.info[n].tolist() for n in ("segment", "walker", "step")), strict=True))
    assert len(set(keys)) == len(keys) == 6
    directory = RunDirectory(tmp_path / "run")
    models = {
        uncv.UncertaintyCV.load(directory.model(n)).fingerprint
        for n in range(1, directory.last("model") + 1)
    }
    assert set(chosen.info["fingerprint"].tolist()) <= models
    assert fingerprint(tmp_path / "run") in models
    for frame in range(len(chosen)):  # each label is that of the frame of its segment
        stored = directory.read_frames(int(keys[frame][0]))
        same = (stored.info["walker"] == keys[frame][1]) & (stored.info["step"] == keys[frame][2])
        near = np.abs(stored.positions[same] - chosen.positions[frame]).max(axis=(1, 2))
        assert near.min() < 1e-7
    assert learn(tmp_path / "run") == result


def test_overlapping_stages_in_one_process_and_after_a_kill(tmp_path):
    (tmp_path / "c.yaml").write_text(dump_config(make_config(campaign(mode="asynchronous"))))
    code = "import sys; from uncv.learning import learn; learn(sys.argv[1])"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "c.yaml")])
    run = tmp_path / "c_run"
    while not (run / "frames_round_01.npz").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    labels = len(uncv.read(run / "labelled.extxyz"))
    before = uncv.read(run / "labelled.extxyz")
    result = learn(run)
    assert (result.finished, result.labels) == (True, 14)
    after = uncv.read(run / "labelled.extxyz")
    np.testing.assert_array_equal(after.positions[:labels], before.positions)


def test_a_group_that_fails_is_left_out_and_recorded(tmp_path, monkeypatch):
    run = Work.each

    def each(self, tasks, share=lambda done: None):
        results = run(self, tasks, share)
        if type(tasks[0]).__name__ == "SampleTask":
            results[1] = Failed("the worker died", lost=True)
        return results

    monkeypatch.setattr(Work, "each", each)
    result = learn(campaign(), tmp_path / "run")
    assert result.finished
    frames = RunDirectory(tmp_path / "run").stored_frames()
    assert all(set(f.info["walker"].tolist()) == {0, 1} for f in frames)
    events = Journal(tmp_path / "run" / "journal.jsonl").events("task_failed")
    assert [(e["round"], e["group"], e["reason"]) for e in events] == [
        (1, 1, "the worker died"),
        (2, 1, "the worker died"),
    ]


def test_when_all_groups_fail_the_campaign_ends_with_the_reason():
    with pytest.raises(CampaignError, match=r"2 of 2 tasks of sampling failed .first: no memory"):
        values_of([Failed("no memory"), Failed("no memory")], "sampling")
    assert values_of([Done(3)], "sampling") == [3]


def test_wall_time_ends_a_campaign_that_goes_on_in_the_next_job(tmp_path, alone):
    tight = campaign(wall_time_s=0.05)
    result = learn(tight, tmp_path / "run")
    assert (result.finished, result.reason) == (False, "")
    last = Journal(tmp_path / "run" / "journal.jsonl").events()[-1]
    assert last["event"] == "interrupted"
    assert "s of wall time are left" in last["reason"]
    assert learn(campaign(), tmp_path / "run").finished
    assert_same_campaign(tmp_path / "run", alone)
    with pytest.raises(WallTimeReached, match="the longest task took 0 s"):
        Work(wall_time_s=1e-9).each([lambda share: None])


def test_where_the_work_is_done_may_change_between_runs(tmp_path):
    learn({**campaign(), "budget": {"labels": 8, "initial_labels": 8}}, tmp_path / "run")
    assert learn(campaign(retries=2), tmp_path / "run").labels == 14
    with pytest.raises(CampaignError, match=r"begun with another execution.walker_groups"):
        learn({**TINY, "execution": {}}, tmp_path / "run")


def test_shares_are_as_equal_as_can_be():
    assert shares_of(3, 2) == [(0, 2), (2, 1)]
    assert shares_of(2, 5) == [(0, 1), (1, 1)]


@pytest.fixture
def copper(tmp_path):
    from ase.build import bulk

    path = tmp_path / "cu.cif"
    bulk("Cu", cubic=True).write(path)
    return {
        "system": {
            "structure": str(path),
            "periodic": True,
            "volume_range_angstrom3": (40.0, 56.0),
        },
        "oracle": {"kind": "ase", "calculator": "ase.calculators.emt.EMT"},
        "potential": {"members": 2, "hidden": (8,), "epochs": 4, "epochs_warm": 2},
        "sampling": {
            "steps_per_round": 8,
            "stride": 4,
            "walkers": 2,
            "pressure_gpa": 0.5,
            "hydrogen_mass_amu": None,
        },
        "selection": {"batch_size": 3},
        "budget": {"labels": 9, "initial_labels": 6, "initial_strain": 0.03},
        "bias": {"kind": "adaptive", "window": 2, "stress_strength": 0.5},
    }


def test_a_crystal_at_constant_pressure(tmp_path, copper):
    result = learn(copper, tmp_path / "run")
    assert (result.finished, result.labels) == (True, 9)
    data = uncv.read(tmp_path / "run" / "labelled.extxyz")
    data.require("energy", "forces", "stress")
    volumes = np.abs(np.linalg.det(data.cell))
    assert len(set(volumes.round(6))) == 9
    assert 0 < result.coverage < 1
    frames = RunDirectory(tmp_path / "run").stored_frames()[0]
    assert len(set(np.linalg.det(frames.cell).round(6))) == len(frames)
    trained = Journal(tmp_path / "run" / "journal.jsonl").events("trained")
    assert trained[0]["errors"]["train"]["stress_rmse_gpa"] > 0


def test_a_crystal_under_a_plumed_input(tmp_path, copper):
    (tmp_path / "plumed.dat").write_text("v: VOLUME\nPRINT ARG=v FILE=COLVAR\n")
    copper["sampling"]["plumed"] = str(tmp_path / "plumed.dat")
    copper["bias"] = {"kind": "none"}
    learn(copper, tmp_path / "run")
    rows = np.loadtxt(tmp_path / "run" / "plumed_round_01" / "COLVAR.0")
    frames = RunDirectory(tmp_path / "run").stored_frames()[0]
    (four,) = np.flatnonzero((frames.info["walker"] == 0) & (frames.info["step"] == 4))
    assert rows[4, 0] == pytest.approx(0.004)
    assert rows[4, 1] == pytest.approx(np.linalg.det(frames.cell[four]) / 1000.0, abs=1e-6)


def test_labelled_data_begin_a_campaign_and_test_data_judge_it(tmp_path, copper):
    first = learn(copper, tmp_path / "first").directory / "labelled.extxyz"
    copper["system"].update(labelled_data=str(first), test_data=str(first))
    copper["budget"] = {"labels": 12, "initial_labels": 6}
    result = learn(copper, tmp_path / "run")
    data, given = uncv.read(tmp_path / "run" / "labelled.extxyz"), uncv.read(first)
    assert result.labels == 12
    np.testing.assert_array_equal(data.positions[:9], given.positions)
    np.testing.assert_array_equal(data.energy[:9], given.energy)
    trained = Journal(tmp_path / "run" / "journal.jsonl").events("trained")
    assert all(e["errors"]["test"]["energy_rmse_mev_per_atom"] > 0 for e in trained)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"system": {"periodic": False}}, "pressure_gpa is 0.5 but the structure is not periodic"),
        ({"sampling": {"engine": "openmm"}}, "pressure_gpa is for the engine ase"),
        ({"system": {"torsions": [[0, 1, 2, 3]]}}, "give torsions or volume_range_angstrom3"),
        ({"system": {"volume_range_angstrom3": (9, 3)}}, "expected the smaller one first"),
        ({"system": {"test_data": "nowhere.extxyz"}}, "system.test_data cannot be used"),
        ({"system": {"structure": "LICENSE"}}, "cannot be read"),
        ({"system": {"test_data": "EMPTY"}}, "system.test_data cannot be used: .* has no frames"),
    ],
)
def test_crystals_that_cannot_be(copper, change, message, tmp_path):
    if change["system" if "system" in change else "sampling"].get("test_data") == "EMPTY":
        nothing = np.zeros((0, 1, 3))
        empty = Dataset([29], nothing, energy=np.zeros(0), forces=nothing)
        uncv.write(tmp_path / "empty.npz", empty)
        change = {"system": {"test_data": str(tmp_path / "empty.npz")}}
    if change.get("system", {}).get("periodic") is False:
        copper["system"].pop("volume_range_angstrom3")
    for section, values in change.items():
        copper[section].update(values)
    with pytest.raises(ConfigError, match=message):
        make_setup(make_config(copper))
