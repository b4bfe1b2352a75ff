"""Calibration within a campaign: by the method asked for, in every round, and checked."""

from __future__ import annotations

import numpy as np
import pytest
import tiny

import uncv
from uncv.calibration import (
    ConformalCalibrator,
    CrossConformalCalibrator,
    ElementConformalCalibrator,
    GaussianCalibrator,
    LogLinearCalibrator,
    MonotoneCalibrator,
)
from uncv.config import make_config
from uncv.errors import CalibrationWarning, CampaignError, ConfigError
from uncv.journal import Journal
from uncv.learning import learn
from uncv.learning.calibration import Folds, calibrate, check_drift
from uncv.learning.directory import RunDirectory
from uncv.learning.labels import check_calibration
from uncv.learning.trainer import Trainer

TINY = {
    "potential": {"members": 2, "hidden": (8,), "epochs": 2, "epochs_warm": 1},
    "sampling": {"steps_per_round": 8, "stride": 2, "walkers": 2, "timestep_fs": 0.25},
    "selection": {"batch_size": 3},
    "budget": {"labels": 14, "initial_labels": 8},
    "bias": {"kind": "linear", "strength": 0.1},
    "stop": {"max_force_ev_per_angstrom": None},
}


def config(**given):
    return make_config({**TINY, "calibration": given})


def labelled(count, seed=0, scale=1.0):
    """Frames whose forces are off by noise of 0.1 eV/Å, or a multiple."""
    data = tiny.frames("CH3OH", count, 0.1, seed)
    truth = tiny.potential().evaluate(data)
    noise = np.random.default_rng(seed + 100).normal(size=truth.forces.shape)
    forces, energy = truth.forces + 0.1 * scale * noise, truth.energies.mean(axis=0) + 0.1
    return tiny.Dataset(data.numbers, data.positions, energy=energy, forces=forces)


def test_folds_calibrate_until_enough_frames_are_held_out(tmp_path):
    """2, 3 and 4 of 8, 11 and 14 frames are held out; alpha = 0.2 needs 4."""
    told = []
    given = {"method": "cross", "alpha": 0.2, "folds": 2, "held_out_share": 0.28}
    result = learn({**TINY, "calibration": given}, tmp_path / "run", told.append)
    events = Journal(tmp_path / "run" / "journal.jsonl").events
    assert [e["calibration"] for e in events("trained")] == [
        "cross, 2 folds of 7 frames, alpha 0.2",
        "cross, 2 folds of 10 frames, alpha 0.2",
        "conformal, 4 held-out frames, alpha 0.2",
    ]
    paths = [RunDirectory(result.directory).model(n) for n in (1, 2, 3)]
    made = [uncv.UncertaintyCV.load(path).calibrator for path in paths]
    assert [type(c) for c in made] == [CrossConformalCalibrator] * 2 + [ConformalCalibrator]
    assert [len(c.frame_scores) for c in made] == [7, 10, 4]
    factors = [c.factor for c in made]
    assert factors == [e["factor"] for e in events("trained")]
    assert len(set(factors)) == 3  # calibrated anew in each round
    assert [e["round"] for e in events("calibration_checked")] == [1, 2]
    assert all(0 < e["p_value"] <= 1 and not e["drifted"] for e in events("calibration_checked"))
    fractions = [state.fraction for state in told]
    assert fractions == sorted(fractions)
    trainings = [t for t in told if t.stage == "train" and t.round == 1]
    assert len(trainings) == 2 + 2 * 2  # epochs: the model's, then those of two folds


def test_folds_train_from_weights_that_saw_nothing(tmp_path):
    """A fold of round 2 is the training of round 1's kind on its frames, whatever came before."""
    data = labelled(6)
    trainer = Trainer(config(), 2, data[:0], 2, lambda share: None)
    one = trainer.fold(data)
    before = trainer.model(labelled(6, seed=3), None).potential
    two = Trainer(config(), 2, data[:0], 2, lambda share: None)
    two.model(data, before)
    assert two.fold(data).fingerprint == one.fingerprint


@pytest.mark.parametrize(
    ("method", "family", "note"),
    [
        ("auto", ConformalCalibrator, "conformal, 12 held-out frames, alpha 0.1"),
        ("conformal", ConformalCalibrator, "conformal, 12 held-out frames, alpha 0.1"),
        ("cross", ConformalCalibrator, "conformal, 12 held-out frames, alpha 0.1"),
        ("element", ElementConformalCalibrator, "element, 12 held-out frames, alpha 0.1"),
        ("gaussian", GaussianCalibrator, "gaussian, 12 held-out frames"),
        ("log_linear", LogLinearCalibrator, "log_linear, 12 held-out frames"),
        ("monotone", MonotoneCalibrator, "monotone, 12 held-out frames"),
        ("none", type(None), "none asked for"),
    ],
)
def test_every_method_of_the_configuration(method, family, note):
    found = calibrate(tiny.cv("forces"), rising(12), config(method=method))
    assert type(found.calibrator) is family
    assert found.note == note


def rising(count):
    """Frames labelled with forces that are off by about their uncertainty."""
    data = tiny.frames("CH3OH", count, 0.15)
    said = tiny.potential().evaluate(data)
    u = tiny.cv("forces").evaluate(data).atomic_uncertainty
    noise = np.random.default_rng(0).normal(size=said.forces.shape)
    return tiny.Dataset(data.numbers, data.positions, forces=said.forces + noise * u[..., None])


@pytest.mark.parametrize("method", ["conformal", "element", "cross", "monotone"])
def test_a_method_by_name_is_not_replaced_by_another(method):
    """2 frames of 6 atoms: too few for any of them; 'auto' takes the Gaussian scale."""
    cv, data = tiny.cv("forces"), rising(2)
    with pytest.raises(
        CampaignError, match=rf"cannot calibrate by {method}: .* too few .* to auto"
    ):
        calibrate(cv, data, config(method=method))
    found = calibrate(cv, data, config())
    assert isinstance(found.calibrator, GaussianCalibrator)
    assert found.note == "gaussian, 2 held-out frames: too few for conformal at alpha 0.1"


def test_cross_with_too_few_frames_in_all():
    data = rising(8)
    folds = Folds(data, lambda part: tiny.cv("forces"), seed=0)
    with pytest.raises(CampaignError, match=r"by cross: 8 calibration frames are too few"):
        calibrate(tiny.cv("forces"), data[:1], config(method="cross"), folds)


def test_new_labels_that_do_not_fit_are_told(tmp_path):
    raw = tiny.cv("forces")
    cv = raw.calibrated(GaussianCalibrator().fit(raw, labelled(20)))
    directory = RunDirectory(tmp_path)
    with pytest.warns(CalibrationWarning, match=r"round 3: the calibration has drifted: .* too sm"):
        check_calibration(directory, 3, cv, labelled(16, seed=1, scale=4.0))
    (event,) = directory.journal.events("calibration_checked")
    assert (event["round"], event["drifted"]) == (3, True)
    assert event["p_value"] < 0.01 < 2 < event["ratio"]
    assert check_drift(raw, labelled(3)) is None
    assert check_drift(cv, labelled(3)[:0]) is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "platt"}, r"calibration.method: Input should be 'auto', 'conformal'"),
        ({"folds": 1}, r"calibration.folds: Input should be greater than or equal to 2"),
    ],
)
def test_configuration_that_is_not_valid(given, message):
    with pytest.raises(ConfigError, match=message):
        config(**given)
