"""Drift: exact against SciPy's enumeration, its rate of false alarms, and what it finds."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import tiny
from scipy.stats import binom

from uncv.calibration import ConformalCalibrator, GaussianCalibrator, drift
from uncv.calibration.drift import compare
from uncv.cv import UncertaintyCV
from uncv.errors import CalibrationError, DataError
from uncv.uncertainty import EnsembleUncertainty


def test_p_value_is_the_share_of_relabellings_that_differ_as_much():
    """By enumeration of all ways to call three of seven scores new."""
    before, new = np.array([0.3, 0.9, 1.1, 1.3]), np.array([1.0, 1.7, 2.9])
    both = np.concatenate([before, new])
    ranks = both.argsort().argsort()
    centre = 3 * ranks.mean()
    found = abs(ranks[4:].sum() - centre)
    ways = [abs(sum(c) - centre) for c in combinations(ranks, 3)]
    p_value = np.mean([w >= found for w in ways])
    assert compare(before, new).p_value == pytest.approx(p_value)
    assert compare(before, new).ratio == 1.7 / 1.0


def test_false_alarms_are_as_rare_as_the_level_says(rng):
    trials, level = 600, 0.05
    alarms = sum(
        compare(rng.lognormal(size=12), rng.lognormal(size=16), level=level).drifted
        for _ in range(trials)
    )
    assert alarms <= binom.interval(0.99, trials, level)[1]
    assert alarms >= binom.interval(0.99, trials, 0.5 * level)[0]  # and not deaf


@pytest.mark.parametrize(("factor", "words"), [(4.0, "too small"), (0.25, "too large")])
def test_a_common_factor_on_the_errors_is_found(rng, factor, words):
    found = [
        compare(np.abs(rng.normal(size=12)), factor * np.abs(rng.normal(size=16)))
        for _ in range(100)
    ]
    assert np.mean([f.drifted for f in found]) > 0.7
    seen = next(f for f in found if f.drifted)
    assert words in seen.message
    assert "16 new frames against 12 calibration frames: p = " in seen.message
    assert (seen.ratio > 1) == (factor > 1)


def test_a_message_without_drift():
    found = compare(np.arange(1.0, 10.0), np.arange(1.5, 9.5))
    assert not found.drifted
    assert found.message.startswith("the calibration holds (8 new frames against 9")


def labelled(count, seed, scale=1.0):
    """Frames whose forces are off by noise that is the same for all, or scaled."""
    data = tiny.frames("CH3OH", count, 0.1, seed)
    forces = tiny.potential().evaluate(data).forces
    noise = np.random.default_rng(seed + 100).normal(size=forces.shape)
    return tiny.Dataset(data.numbers, data.positions, forces=forces + 0.1 * scale * noise)


@pytest.mark.parametrize("family", [ConformalCalibrator, GaussianCalibrator])
def test_labels_of_a_variable(family):
    raw = UncertaintyCV(tiny.potential(), EnsembleUncertainty("forces"))
    cv = raw.calibrated(family().fit(raw, labelled(20, 0)))
    assert not drift(cv, labelled(16, 1)).drifted
    found = drift(cv, labelled(16, 2, scale=3.0))
    assert found.drifted
    assert found.ratio == pytest.approx(3.0, rel=0.3)
    assert f"new labels is {found.ratio:.2g} times too small" in found.message


def test_wrong_use():
    data = labelled(4, 0)
    with pytest.raises(CalibrationError, match="has no calibration scores to compare with"):
        drift(tiny.cv("forces"), data)
    by_hand = GaussianCalibrator()
    by_hand.factor, by_hand.kind = 2.0, "force"
    with pytest.raises(CalibrationError, match="has no calibration scores to compare with"):
        drift(tiny.cv("forces", calibrator=by_hand), data)
    raw = tiny.cv("forces")
    cv = raw.calibrated(GaussianCalibrator().fit(raw, data))
    with pytest.raises(CalibrationError, match="no residuals"):
        drift(cv, data[:0])
    with pytest.raises(DataError, match="has no forces"):
        drift(cv, data.without_labels())
