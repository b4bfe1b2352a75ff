"""Campaigns with real, tiny potentials: rounds, resume after a kill, failures, Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest

import uncv
from uncv.calibration import ConformalCalibrator, GaussianCalibrator
from uncv.config import CampaignConfig, dump_config, make_config
from uncv.data import Dataset
from uncv.errors import CampaignError, ConfigError
from uncv.journal import Journal, run_lock
from uncv.learning import CampaignProgress, learn
from uncv.learning.acquisition import first_frames
from uncv.learning.calibration import assign_splits, calibrate
from uncv.learning.directory import RunDirectory, regular
from uncv.learning.observed import kind_of_stop
from uncv.learning.rounds import Round
from uncv.learning.setup import displaced_starts, load_structure, make_setup, seed_of
from uncv.learning.walkers import broken, next_starts
from uncv.oracles import FrameOracle

TINY = {
    "potential": {"members": 2, "hidden": (8,), "epochs": 3, "epochs_warm": 2},
    "sampling": {"steps_per_round": 12, "stride": 4, "walkers": 2, "timestep_fs": 0.25},
    "selection": {"batch_size": 3},
    "budget": {"labels": 14, "initial_labels": 8},
    "bias": {"kind": "linear", "strength": 0.1},
    "stop": {"max_force_ev_per_angstrom": None},
}


@pytest.fixture
def config() -> CampaignConfig:
    return make_config(TINY)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A campaign that ran through without interruption."""
    states: list[CampaignProgress] = []
    result = learn(TINY, tmp_path_factory.mktemp("run"), states.append)
    return result, states


def labels_of(path) -> Dataset:
    return uncv.read(path / "labelled.extxyz")


def assert_same_labels(first, second):
    np.testing.assert_array_equal(first.positions, second.positions)
    np.testing.assert_array_equal(first.energy, second.energy)
    np.testing.assert_array_equal(first.forces, second.forces)
    for column in ("round", "walker", "step", "split", "fingerprint"):
        assert first.info[column].tolist() == second.info[column].tolist(), column


def test_a_campaign_spends_its_budget_and_says_where_each_label_comes_from(finished):
    result, _ = finished
    assert (result.finished, result.labels, result.rounds) == (True, 14, 2)
    assert result.walker_steps == 2 * 12 * 2
    data = labels_of(result.directory)
    data.require("energy", "forces")
    assert data.info["round"].tolist() == [0] * 8 + [1] * 3 + [2] * 3
    assert (data.info["walker"][8:] >= 0).all()
    assert np.isfinite(data.info["uncertainty"][8:]).all()
    models = [uncv.UncertaintyCV.load(RunDirectory(result.directory).model(n)) for n in (1, 2, 3)]
    assert data.info["fingerprint"].tolist() == (
        [""] * 8 + [models[0].fingerprint] * 3 + [models[1].fingerprint] * 3
    )
    assert uncv.UncertaintyCV.load(result.cv).fingerprint == models[2].fingerprint
    assert len({m.fingerprint for m in models}) == 3


def test_labels_are_those_of_the_oracle_asked_directly(finished):
    result, _ = finished
    data = labels_of(result.directory)
    oracle = make_setup(make_config(TINY)).oracle
    np.testing.assert_allclose(oracle.label(data).energy, data.energy, rtol=0, atol=1e-10)


def test_candidates_are_the_whole_frames_of_all_rounds(finished):
    result, _ = finished
    frames = RunDirectory(result.directory).stored_frames()
    candidates = uncv.read(result.directory / "candidates.extxyz")
    selected = Journal(result.directory / "journal.jsonl").events("selected")
    assert [e["round"] for e in selected] == [1, 2]
    config = make_config(TINY)
    whole = [broken(config, make_setup(config), f) == "" for f in frames]
    assert len(candidates) == sum(int(part.sum()) for part in whole)


def test_progress_rises_to_one_and_counts_labels(finished):
    _, states = finished
    fractions = [s.fraction for s in states]
    assert fractions == sorted(fractions)
    assert (fractions[-1], states[-1].stage) == (1.0, "done")
    assert [s.labels for s in states if s.stage == "sample"][::3] == [8, 11]
    assert 0 < states[-1].coverage < 1


def test_a_finished_campaign_is_not_run_again(finished):
    result, _ = finished
    before = labels_of(result.directory)
    trained = len(Journal(result.directory / "journal.jsonl").events("trained"))
    again = learn(result.directory)
    assert again == result
    assert_same_labels(labels_of(result.directory), before)
    assert len(Journal(result.directory / "journal.jsonl").events("trained")) == trained


@pytest.mark.parametrize(
    ("stage", "number"), [("train", 1), ("sample", 1), ("train", 2), ("sample", 2), ("train", 3)]
)
def test_interrupted_anywhere_the_labels_in_the_end_are_the_same(finished, tmp_path, stage, number):
    """An exception from the callback ends the campaign in the middle of a stage."""

    class Kill(Exception):
        pass

    def kill(state):
        if (state.stage, state.round) == (stage, number):
            raise Kill

    with pytest.raises(Kill):
        learn(TINY, tmp_path / "run", kill)
    result = learn(tmp_path / "run")
    assert result.finished
    assert_same_labels(labels_of(tmp_path / "run"), labels_of(finished[0].directory))
    assert result.walker_steps == finished[0].walker_steps
    cvs = [uncv.UncertaintyCV.load(r.cv) for r in (result, finished[0])]
    assert cvs[0].fingerprint == cvs[1].fingerprint


@pytest.mark.slow
def test_killed_without_warning_and_continued(finished, tmp_path):
    """SIGKILL while the first round samples, then the command again."""
    (tmp_path / "c.yaml").write_text(dump_config(make_config(TINY)))
    code = (
        "import os, signal, sys; from uncv.learning import learn\n"
        "def kill(s):\n"
        "    if s.round == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "learn(sys.argv[1], progress=kill)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "c.yaml")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    with open(tmp_path / "c_run" / "journal.jsonl", "ab") as file:
        file.write(b'{"event": "trai')  # as if the kill had torn a line
    assert learn(tmp_path / "c.yaml").finished
    assert_same_labels(labels_of(tmp_path / "c_run"), labels_of(finished[0].directory))


def test_labels_that_only_the_journal_knows_are_made_again(finished, tmp_path):
    """As after a kill between the line of the journal and the file."""
    learn({**TINY, "budget": {"labels": 8, "initial_labels": 8}}, tmp_path / "run")
    journal = Journal(tmp_path / "run" / "journal.jsonl")
    journal.append("labelled", round=1, frames=6, errors=[], candidates=6, seconds=0.1)
    result = learn(TINY, tmp_path / "run")
    assert (result.finished, result.labels) == (True, 14)
    assert len(labels_of(tmp_path / "run")) == 14


def test_control_c_ends_cleanly_and_can_be_continued(finished, tmp_path):
    def press(state):
        if state.stage == "sample":
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    result = learn(TINY, tmp_path / "run", press)
    assert (result.finished, result.labels, result.cv) == (False, 8, None)
    assert signal.getsignal(signal.SIGINT) is before
    events = Journal(tmp_path / "run" / "journal.jsonl").events()
    assert events[-1]["event"] == "interrupted"
    assert learn(tmp_path / "run").finished
    assert_same_labels(labels_of(tmp_path / "run"), labels_of(finished[0].directory))


def test_a_larger_budget_continues_a_finished_campaign(finished, tmp_path):
    small = {**TINY, "budget": {"labels": 11, "initial_labels": 8}}
    first = learn(small, tmp_path / "run")
    assert first.labels == 11
    grown = learn(TINY, tmp_path / "run")
    assert grown.labels == 14
    assert_same_labels(labels_of(tmp_path / "run"), labels_of(finished[0].directory))
    assert uncv.UncertaintyCV.load(grown.cv).fingerprint != ""
    with pytest.raises(CampaignError, match=r"budget of 14 labels.*asks for 11; it can only grow"):
        learn(small, tmp_path / "run")


def test_another_campaign_is_not_mixed_in(finished):
    directory = finished[0].directory
    with pytest.raises(CampaignError, match=r"begun with another bias.strength, seed"):
        learn({**TINY, "seed": 1, "bias": {"kind": "linear", "strength": 0.2}}, directory)


def test_a_directory_in_use_is_refused(config, tmp_path):
    with run_lock(tmp_path), pytest.raises(CampaignError, match="in use by process"):
        learn(config, tmp_path)


def test_an_unknown_format_is_refused(config, tmp_path):
    Journal(tmp_path / "journal.jsonl").append("begun", format=99, seed=0)
    with pytest.raises(CampaignError, match="has format 99, expected 1"):
        learn(config, tmp_path)


def test_where_a_run_directory_is_missing(config, tmp_path):
    with pytest.raises(CampaignError, match="a run directory is needed; give out="):
        learn(config)
    with pytest.raises(CampaignError, match="is no run directory"):
        learn(tmp_path)


@dataclass
class Broken:
    """An oracle that fails on some of the frames it is given, by their number."""

    oracle: FrameOracle
    fails: tuple[int, ...]

    def label(self, frames):
        answer = self.oracle.label(frames)
        reasons = ["no convergence" if i in self.fails else "" for i in range(len(frames))]
        return answer.with_info(label_error=np.array(reasons))


def a_round(config, path, fails) -> Round:
    setup = make_setup(config)
    directory = RunDirectory(path)
    setup = setup._replace(oracle=Broken(setup.oracle, fails))
    return Round(0, config, setup, directory, lambda stage, share: None)


def test_a_failed_label_is_quarantined_and_loses_no_other(config, tmp_path):
    work = a_round(config, tmp_path, fails=(2, 5))
    frames = first_frames(config, work.setup)
    work.acquisition.label(frames)
    np.testing.assert_array_equal(
        labels_of(tmp_path).positions, frames.positions[[0, 1, 3, 4, 6, 7]]
    )
    quarantine = uncv.read(tmp_path / "quarantine.extxyz")
    np.testing.assert_array_equal(quarantine.positions, frames.positions[[2, 5]])
    assert quarantine.energy is None
    assert quarantine.info["label_error"].tolist() == ["no convergence"] * 2
    assert work.directory.journal.events("labelled")[0]["errors"] == ["no convergence"] * 2


def test_when_every_label_fails_the_campaign_stops_with_the_reason(config, tmp_path):
    work = a_round(config, tmp_path, fails=tuple(range(8)))
    with pytest.raises(CampaignError, match=r"failed for all 8 frames of round 0.*no convergence"):
        work.acquisition.label(first_frames(config, work.setup))
    assert not (tmp_path / "labelled.extxyz").exists()


def test_when_every_candidate_is_broken_the_campaign_stops(finished, config, tmp_path):
    result, _ = finished
    setup = make_setup(config)
    work = Round(1, config, setup, RunDirectory(result.directory), lambda stage, share: None)
    frames = RunDirectory(result.directory).stored_frames()[0]
    squeezed = Dataset(frames.numbers, 0.3 * frames.positions, info=frames.info)
    with pytest.raises(CampaignError, match=r"all .* frames of round 1 are broken.*Å apart"):
        work.acquisition.pool(squeezed)


def test_failed_labels_are_replaced_by_others_of_the_pool(finished, config, tmp_path):
    result, _ = finished
    source = RunDirectory(result.directory)
    work = a_round(config, tmp_path, fails=())
    work.acquisition.label(first_frames(config, work.setup))
    first = Round(1, config, work.setup, work.directory, work.report)
    setup = work.setup._replace(oracle=Broken(work.setup.oracle, (0, 1)))
    second = Round(1, config, setup, work.directory, work.report)
    frames = source.stored_frames()[0]
    cv = uncv.UncertaintyCV.load(source.model(1))
    second.acquisition.choose_and_label(cv, second.acquisition.pool(frames))
    data = labels_of(tmp_path)
    # Of three, frames 0 and 1 fail; of the two chosen then, both; so for ever: one label.
    assert (data.info["round"] == 1).sum() == 1
    tried = work.directory.journal.events("selected")[0]
    assert len(tried["step"]) == len(set(zip(tried["walker"], tried["step"], strict=True)))
    assert len(uncv.read(tmp_path / "quarantine.extxyz")) == len(tried["step"]) - 1
    first.acquisition.choose_and_label(cv, first.acquisition.pool(frames))
    assert (labels_of(tmp_path).info["round"] == 1).sum() == 3


def test_walkers_go_on_where_they_were(finished, config):
    result, _ = finished
    directory = RunDirectory(result.directory)
    setup = make_setup(config)
    starts = next_starts(config, setup, directory, 2, 1)
    frames = regular(directory.stored_frames()[0])
    labelled = labels_of(result.directory).positions
    for walker in range(2):
        own = frames[np.flatnonzero(frames.info["walker"] == walker)]
        whole = own[np.flatnonzero(broken(config, setup, own) == "")]
        known = whole.positions[-1:] if len(whole) else labelled
        assert min(np.abs(starts.positions[walker] - k).max() for k in known) == 0.0


def test_first_frames_are_displaced_by_two_amplitudes(config):
    config = make_config({"budget": {"initial_labels": 400, "labels": 400}})
    start = make_setup(config).start
    moved = displaced_starts(config, start).positions - start.positions
    # The standard error of 400·66/2 numbers is σ/√26400: 3 % is far outside.
    assert np.std(moved[::2]) == pytest.approx(0.02, rel=0.03)
    assert np.std(moved[1::2]) == pytest.approx(0.08, rel=0.03)


def test_seeds_differ_by_round_and_purpose_and_repeat(config):
    purposes = ("start", "train", "sample", "select", "split")
    seeds = {seed_of(config, n, p) for n in range(50) for p in purposes}
    assert len(seeds) == 250
    assert seed_of(config, 3, "train") == seed_of(make_config(TINY), 3, "train")
    assert seed_of(config, 3, "train") != seed_of(make_config({"seed": 1}), 3, "train")


def test_splits_follow_the_shares_and_never_change_sides():
    config = make_config({})
    before = None
    for round_ in range(12):
        new = assign_splits(before, 10, config, round_)
        before = new if before is None else np.concatenate([before, new])
        for name in ("valid", "calibration"):
            assert (before == name).sum() == round(0.1 * len(before))
    without = assign_splits(None, 20, make_config({"calibration": {"method": "none"}}), 0)
    assert (without == "calibration").sum() == 0


def test_calibration_falls_back_and_says_so(finished, config):
    result, _ = finished
    cv = uncv.UncertaintyCV.load(result.cv).calibrated(None)
    data = labels_of(result.directory)
    few = calibrate(cv, data[:8], config)  # alpha = 0.1 needs 9
    enough = calibrate(cv, data[:9], config)
    assert isinstance(few.calibrator, GaussianCalibrator)
    assert few.note == "gaussian, 8 held-out frames: too few for conformal at alpha 0.1"
    assert isinstance(enough.calibrator, ConformalCalibrator)
    assert calibrate(cv, data[:0], config).calibrator is None


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("atoms 0 and 1 are 0.200 Å apart, the limit is 0.372 Å", "short contact"),
        ("atoms 0 and 1 were bonded and are 2.200 Å apart, the limit is 1.6 Å", "stretched bond"),
        ("force 20 eV/Å, the limit is 20 eV/Å", "force"),
        ("uncertainty 2.5 eV/Å of atom 7, the limit is 2", "uncertainty"),
        ("energy, force or uncertainty is not finite", "not finite"),
        ("a position is not finite", "not finite"),
    ],
)
def test_stops_are_counted_by_rule(reason, kind):
    assert kind_of_stop(reason) == kind


def test_a_pdb_file_is_taken_without_its_box_unless_asked(data_dir):
    path = str(data_dir / "alanine_dipeptide" / "adp-vacuum.pdb")
    system = make_config({"system": {"structure": path}}).system
    topology, start = load_structure(system)
    assert topology.getPeriodicBoxVectors() is None
    assert start.positions.shape == (1, 22, 3)
    topology, start = load_structure(system.model_copy(update={"periodic": True}))
    np.testing.assert_allclose(np.diag(start.cell[0]), [32.853, 32.862, 31.855], atol=1e-6)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"structure": "nowhere.pdb"}, "neither a file nor 'alanine_dipeptide'"),
        ({"torsions": [[0, 1, 2, 22]]}, r"torsion \(0, 1, 2, 22\) names an atom .* 22 atoms"),
        ({"structure": __file__}, "cannot be read"),
    ],
)
def test_structures_that_cannot_be_used(section, message):
    with pytest.raises(ConfigError, match=message):
        make_setup(make_config({"system": section}))


@pytest.mark.parametrize(
    ("uncertainty", "members"),
    [
        ({"kind": "gmm", "components": 1, "pca": 2, "reduce": "softmax"}, 1),
        ({"kind": "gradient", "features": "sketched", "projection_dim": 16}, 1),
        ({"kind": "mean_variance"}, 1),
        ({"kind": "evidential", "of": "aleatoric"}, 2),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else str(value),
)
def test_a_campaign_with_each_uncertainty(tmp_path, uncertainty, members):
    """Two rounds: the second continues the first potential, head included."""
    values = {
        **TINY,
        "uncertainty": uncertainty,
        "potential": {**TINY["potential"], "members": members},
        "bias": {"kind": "adaptive", "window": 4},
    }
    result = learn(values, tmp_path / "run")
    assert (result.finished, result.labels) == (True, 14)
    cv = uncv.UncertaintyCV.load(result.cv)
    assert cv.potential.members == members
    assert cv.reduce == uncertainty.get("reduce", "mean")
    given = cv.uncertainty.settings()
    assert all(given[k] == v for k, v in uncertainty.items() if k in given and k != "kind")
    data = labels_of(result.directory)
    assert (data.info["uncertainty"][8:] > 0).all()
