"""Which frames a campaign takes for candidates, and what ends it before its budget is spent."""

from __future__ import annotations

import numpy as np
import pytest
import tiny

import uncv
from uncv.config import make_config
from uncv.data import Dataset, concatenate
from uncv.errors import CampaignError
from uncv.journal import Journal
from uncv.learning import learn
from uncv.learning.directory import RunDirectory
from uncv.learning.ending import history, reason_to_end
from uncv.learning.pool import candidates, choose_frames, unlike
from uncv.learning.setup import make_setup
from uncv.selection import select

TINY = {
    "potential": {"members": 2, "hidden": (8,), "epochs": 3, "epochs_warm": 2},
    "sampling": {"steps_per_round": 12, "stride": 4, "walkers": 2, "timestep_fs": 0.25},
    "selection": {"batch_size": 3},
    "budget": {"labels": 20, "initial_labels": 8},
    "bias": {"kind": "none"},
    "stop": {"max_force_ev_per_angstrom": None},
}


def campaign(**sections):
    return {**TINY, **sections}


def test_without_candidates_a_campaign_keeps_its_model_and_ends_with_the_reason(tmp_path):
    given = campaign(
        selection={"method": "threshold", "min_uncertainty": 1e9, "batch_size": 3},
        convergence={"rounds_without_candidate": 2},
    )
    result = learn(given, tmp_path)
    assert (result.finished, result.labels, result.rounds) == (True, 8, 2)
    assert result.reason.startswith("no frame")
    directory = RunDirectory(tmp_path)
    models = [uncv.UncertaintyCV.load(directory.model(n)).fingerprint for n in (1, 2, 3)]
    assert len(set(models)) == 1
    assert uncv.UncertaintyCV.load(directory.final).fingerprint == models[0]
    assert [record.candidates for record in history(directory)] == [0, 0]
    finished = directory.journal.events("finished")
    assert [e["reason"] for e in finished] == [result.reason]
    assert learn(tmp_path) == result
    assert len(directory.journal.events("sampled")) == 2
    grown = learn({**given, "convergence": {"rounds_without_candidate": 3}}, tmp_path)
    assert (grown.rounds, grown.finished) == (3, True)


def test_overlapping_stages_end_by_the_same_rule(tmp_path):
    given = campaign(
        selection={"method": "threshold", "min_uncertainty": 1e9, "batch_size": 3},
        convergence={"rounds_without_candidate": 2},
        execution={"mode": "asynchronous"},
    )
    result = learn(given, tmp_path)
    assert (result.finished, result.labels) == (True, 8)
    assert result.reason.startswith("no frame")


def test_a_model_is_kept_only_while_there_are_no_new_labels(tmp_path):
    """Rounds of overlapping stages count batches, not models: the numbers do not tell."""
    given = campaign(budget={"labels": 11, "initial_labels": 8})
    learn(given, tmp_path)
    directory = RunDirectory(tmp_path)
    directory.journal.append("no_candidate", round=2)
    learn({**given, "budget": {"labels": 14, "initial_labels": 8}}, tmp_path)
    trained = directory.journal.events("trained")
    assert sum(trained[-1]["frames"].values()) == 14
    final = uncv.UncertaintyCV.load(directory.final).fingerprint
    assert final == trained[-1]["fingerprint"]


def test_overlapping_stages_without_any_candidate_do_not_go_on_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr("uncv.learning.overlapping_walkers.WAITING_BATCHES", 2)
    given = campaign(
        selection={"method": "threshold", "min_uncertainty": 1e9, "batch_size": 3},
        execution={"mode": "asynchronous"},
    )
    with pytest.raises(CampaignError, match=r"none of .* sampled frames is a candidate; widen"):
        learn(given, tmp_path)


def test_a_target_of_the_uncertainty_ends_a_campaign(tmp_path):
    given = campaign(convergence={"uncertainty": {"target": 1e9}})
    result = learn(given, tmp_path)
    assert (result.finished, result.rounds, result.labels) == (True, 1, 11)
    assert "uncertainty" in result.reason


def test_an_observable_of_the_user_ends_a_campaign(tmp_path):
    source = tmp_path / "mine.py"
    source.write_text("def size(frames):\n    return float(frames.positions.shape[1])\n")
    rule = {"function": f"{source}:size", "tolerance": 0.1, "rounds": 2}
    result = learn(campaign(convergence={"observables": [rule]}), tmp_path / "run")
    assert (result.finished, result.rounds) == (True, 2)
    sampled = Journal(tmp_path / "run" / "journal.jsonl").events("sampled")
    assert [e["observables"] for e in sampled] == [{f"{source}:size": 22.0}] * 2


def test_torsions_are_recorded_for_the_rule_that_wants_them(tmp_path):
    given = campaign(
        budget={"labels": 11, "initial_labels": 8}, convergence={"torsions": {"bins": 4}}
    )
    learn(given, tmp_path)
    (event,) = Journal(tmp_path / "journal.jsonl").events("sampled")
    assert np.array(event["torsion_counts"]).shape == (2, 4)
    assert np.array(event["torsion_counts"]).sum(axis=1).tolist() == [6, 6]
    config = make_config(given)
    assert reason_to_end(config, RunDirectory(tmp_path)) == "the budget of 11 labels is spent"


@pytest.fixture
def accepting(tmp_path):
    """A campaign that accepts by uncertainty and energy, and its test data."""
    config = make_config(TINY)
    setup = make_setup(config)
    noise = np.random.default_rng(5).normal(scale=0.05, size=(12, 22, 3))
    frames = Dataset(setup.start.numbers[0], setup.start.positions + noise)
    uncv.write(tmp_path / "test.extxyz", setup.oracle.label(frames))
    system = {"test_data": str(tmp_path / "test.extxyz")}
    return campaign(system=system, selection={"batch_size": 3, "acceptance": {"kind": "almomd"}})


def test_frames_are_accepted_by_the_published_probability(tmp_path, accepting):
    config = make_config(accepting)
    setup = make_setup(config)
    first = learn({**accepting, "budget": {"labels": 8, "initial_labels": 8}}, tmp_path / "run")
    cv = uncv.UncertaintyCV.load(first.cv)
    noise = (
        np.random.default_rng(6).normal(size=(300, 22, 3))
        * np.linspace(0.02, 0.2, 300)[:, None, None]
    )
    pool = Dataset(setup.start.numbers[0], setup.start.positions + noise)
    known = RunDirectory(tmp_path / "run").known()
    taken = candidates(config, setup, cv, pool, known, 1)
    reference, found = cv.predict(setup.test), cv.predict(pool)
    u, e = (reference.uncertainty, reference.energy)
    from scipy.special import erf

    p_u = 0.5 * (
        1 + erf((found.uncertainty - u.mean() - 2 * u.std(ddof=1)) / (u.std(ddof=1) * np.sqrt(0.2)))
    )
    p_e = np.minimum(
        1,
        np.exp(np.log(0.2) * (found.energy - e.mean() - e.std(ddof=1)) / (0.8 * e.std(ddof=1))),
    )
    chance = p_u * p_e
    sure = np.flatnonzero(chance > 0.999999)
    never = np.flatnonzero(chance < 1e-9)
    rows = {x.tobytes() for x in taken.positions}
    assert all(pool.positions[n].tobytes() in rows for n in sure)
    assert not any(pool.positions[n].tobytes() in rows for n in never)
    assert abs(len(taken) - chance.sum()) < 4 * np.sqrt((chance * (1 - chance)).sum()) + 1
    assert 0 < len(never) < 300


def test_a_frame_is_a_candidate_once_and_not_when_it_is_labelled():
    data = tiny.frames(count=4)
    twice = concatenate([data, data[1:3]])
    kept = unlike(twice, data[:1])
    np.testing.assert_array_equal(kept.positions, data.positions[1:])


def test_too_few_frames_to_accept_by(tmp_path, accepting):
    accepting["system"] = {}
    accepting["budget"] = {"labels": 8, "initial_labels": 4}
    with pytest.raises(CampaignError, match=r"cannot be accepted by almomd.*or give system.test_d"):
        learn(accepting, tmp_path)


def test_features_of_the_choice_are_those_of_the_section():
    cv, data = tiny.cv(), tiny.frames(count=12, spread=0.2)
    config = make_config({"selection": {"method": "max_det", "features": "last_layer"}}).selection
    chosen = choose_frames(cv, data, data[:2], 3, config, seed=0)
    features = uncv.features_frames.frame_features(cv.potential, data, "last_layer")
    expected = select(features, features[:2], 3, "max_det")
    assert chosen.tolist() == expected.tolist()
    scores = cv.predict(data).uncertainty
    assert choose_frames(cv, data, None, 2, "top_u", seed=0).tolist() == (
        np.argsort(-scores, kind="stable")[:2].tolist()
    )


def test_anharmonicity_as_the_reason_to_label(tmp_path):
    from ase.build import bulk

    bulk("Cu", cubic=True).write(tmp_path / "cu.cif")
    given = {
        "system": {"structure": str(tmp_path / "cu.cif"), "periodic": True},
        "oracle": {"kind": "ase", "calculator": "ase.calculators.emt.EMT"},
        "potential": {"members": 2, "hidden": (8,), "epochs": 20, "validation_share": 0.3},
        "sampling": {"steps_per_round": 20, "stride": 2, "walkers": 2, "hydrogen_mass_amu": None},
        "selection": {
            "batch_size": 2,
            "method": "random",
            "acceptance": {"kind": "almomd", "quantity": "anharmonicity", "s": -2.0},
        },
        "budget": {"labels": 14, "initial_labels": 12},
        "bias": {"kind": "none"},
        "convergence": {"rounds_without_candidate": 3},
    }
    result = learn(given, tmp_path / "run")
    assert result.finished
    labelled = Journal(tmp_path / "run" / "journal.jsonl").events("labelled")
    assert result.labels == 14
    assert 0 < labelled[-1]["candidates"] <= 20


def trainings(tmp_path):
    return RunDirectory(tmp_path).journal.events("trained")


def test_the_last_training_begins_with_new_networks_if_asked(tmp_path, monkeypatch):
    lengths = []
    usual = uncv.learning.tasks.train
    monkeypatch.setattr(
        "uncv.learning.tasks.train",
        lambda *a, **k: lengths.append((a[1].epochs, k["start"] is None)) or usual(*a, **k),
    )
    given = campaign(
        potential={**TINY["potential"], "epochs_final": 4},
        budget={"labels": 14, "initial_labels": 8},
    )
    learn(given, tmp_path)
    assert lengths == [(3, True), (2, False), (4, True)]
    assert [e["anew"] for e in trainings(tmp_path)] == [False, False, True]
    directory = RunDirectory(tmp_path)
    final = uncv.UncertaintyCV.load(directory.final).fingerprint
    assert final == trainings(tmp_path)[-1]["fingerprint"]
    learn(given, tmp_path)
    assert len(trainings(tmp_path)) == 3
    learn({**given, "budget": {"labels": 17, "initial_labels": 8}}, tmp_path)
    assert lengths[3:] == [(4, True)]  # the round before has the networks of the end before
    assert uncv.UncertaintyCV.load(directory.final).fingerprint != final


def test_without_new_labels_new_networks_are_trained_once(tmp_path):
    given = campaign(
        potential={**TINY["potential"], "epochs_final": 4},
        selection={"method": "threshold", "min_uncertainty": 1e9, "batch_size": 3},
        convergence={"rounds_without_candidate": 1},
    )
    learn(given, tmp_path)
    assert [e["anew"] for e in trainings(tmp_path)] == [False, True]
    learn({**given, "convergence": {"rounds_without_candidate": 2}}, tmp_path)
    assert [e["anew"] for e in trainings(tmp_path)] == [False, True]
