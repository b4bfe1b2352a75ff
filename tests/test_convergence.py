"""When a campaign ends, and what it says then."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
import tiny

from uncv.config.selection import ConvergenceConfig
from uncv.convergence import (
    CoverageStays,
    LabelBudget,
    ObservableStays,
    RoundRecord,
    RoundsWithoutCandidate,
    StepsWithoutCandidate,
    TorsionsStay,
    UncertaintyBelow,
    judge,
    make_rules,
    observe,
    torsion_counts,
)
from uncv.convergence.torsions import distances
from uncv.errors import ConfigError, DataError


def rounds(**series) -> list[RoundRecord]:
    """Records of rounds, from a list of values for each field."""
    usual = {"labels": 16, "frames": 80, "candidates": 5, "walker_steps": 800}
    count = len(next(iter(series.values())))
    columns = {**{k: [v] * count for k, v in usual.items()}, **series}
    return [
        RoundRecord(**dict(zip(columns, values, strict=True)))
        for values in zip(*columns.values(), strict=True)
    ]


def ends_at(rule, history) -> int | None:
    """The number of rounds after which a rule ends a campaign for the first time."""
    for number in range(len(history) + 1):
        if rule.judge(history[:number]):
            return number
    return None


def test_labels_are_spent():
    assert ends_at(LabelBudget(48), rounds(labels=[16, 32, 47, 48, 64])) == 4


def test_rounds_without_a_candidate_must_be_in_a_row():
    history = rounds(candidates=[0, 0, 3, 0, 0, 0, 1])
    assert ends_at(RoundsWithoutCandidate(2), history) == 2
    assert ends_at(RoundsWithoutCandidate(3), history) == 6
    assert RoundsWithoutCandidate(3).judge(history[:6]) == "no frame was worth a label in 3 rounds"
    assert RoundsWithoutCandidate(3).judge(history) == ""


def test_steps_are_those_since_the_last_candidate():
    history = rounds(candidates=[0, 2, 0, 0, 0], walker_steps=[900, 900, 300, 500, 100])
    assert ends_at(StepsWithoutCandidate(850), history) == 1
    assert ends_at(StepsWithoutCandidate(901), history) is None
    assert ends_at(StepsWithoutCandidate(900), history[1:]) == 4
    assert "in 900 steps" in StepsWithoutCandidate(850).judge(history)


def test_coverage_must_stay_within_the_tolerance_over_all_rounds():
    history = rounds(coverage=[0.30, 0.305, 0.309, 0.313, 0.315])
    assert ends_at(CoverageStays(0.01, rounds=3), history) == 3
    assert ends_at(CoverageStays(0.0085, rounds=3), history) == 4
    assert ends_at(CoverageStays(0.01, rounds=5), history) is None
    assert CoverageStays(0.01).judge(rounds(coverage=[0.3, None, 0.3])) == ""


def test_a_function_of_the_user_must_stay():
    history = rounds(observables=[{"m:f": 1.0}, {"m:f": 2.0}, {"m:f": 2.1}, {}])
    rule = ObservableStays(0.2, rounds=2, function="m:f")
    assert ends_at(rule, history) == 3
    assert rule.judge(history[:3]).startswith("m:f has stayed between 2 and 2.1 for 2 rounds")
    assert rule.judge(history) == ""


def test_uncertainty_below_a_target():
    history = rounds(mean_uncertainty=[0.3, 0.09, 0.2, 0.08, 0.1], max_uncertainty=[0.9] * 5)
    assert ends_at(UncertaintyBelow(0.1), history) == 2
    assert ends_at(UncertaintyBelow(0.1, rounds=2), history) == 5
    assert ends_at(UncertaintyBelow(0.1, "max"), history) is None
    assert UncertaintyBelow(0.1).judge(rounds(mean_uncertainty=[None])) == ""
    assert UncertaintyBelow(0.1).judge(history) == (
        "the mean calibrated uncertainty has been 0.1 at most for 1 round (target 0.1)"
    )


def test_torsions_are_compared_with_the_rounds_before():
    left, right = ((10, 0, 0),), ((0, 0, 10),)
    history = rounds(torsion_counts=[left, left, right, right, right])
    assert ends_at(TorsionsStay(0.1, rounds=1), history) == 2
    assert ends_at(TorsionsStay(0.1, rounds=2), history) is None
    assert "distance 0.000" in TorsionsStay(0.1, rounds=1).judge(history)
    # Two windows that are the same as a whole, although their rounds differ.
    assert ends_at(TorsionsStay(0.1, rounds=2), rounds(torsion_counts=[left, right] * 2)) == 4


def test_one_torsion_that_changes_is_enough_to_go_on():
    history = rounds(torsion_counts=[((5, 5), (9, 1)), ((5, 5), (1, 9))])
    assert TorsionsStay(0.3, rounds=1).judge(history) == ""


def test_rounds_without_torsions_are_not_judged():
    assert TorsionsStay(0.5, rounds=1).judge(rounds(torsion_counts=[None, ((1, 1),)])) == ""
    assert TorsionsStay(0.5, rounds=1).judge(rounds(torsion_counts=[((0, 0),), ((1, 1),)])) == ""


def test_distance_by_its_formula(rng):
    one, two = rng.integers(1, 50, (2, 3, 8))
    p, q = one / one.sum(axis=1, keepdims=True), two / two.sum(axis=1, keepdims=True)
    m = (p + q) / 2
    divergence = 0.5 * np.sum(p * np.log2(p / m) + q * np.log2(q / m), axis=1)
    np.testing.assert_allclose(distances(one, two), np.sqrt(divergence))


def test_distance_by_chance_is_as_documented(rng):
    bins, frames = 24, 2000
    one, two = rng.multinomial(frames, np.full(bins, 1 / bins), (2, 200))
    expected = (bins - 1) / (4 * frames * np.log(2))
    assert np.mean(distances(one, two) ** 2) == pytest.approx(expected, rel=0.05)


def test_counts_as_by_numpy(rng):
    angles = rng.uniform(-np.pi, np.pi, (500, 2))
    edges = np.linspace(-np.pi, np.pi, 13)
    expected = [np.histogram(a, edges)[0].tolist() for a in angles.T]
    assert [list(c) for c in torsion_counts(angles + 4 * np.pi, 12)] == expected


def test_a_record_survives_a_journal():
    (record,) = rounds(torsion_counts=[((1, 2), (3, 0))], observables=[{"m:f": 1.5}])
    again = RoundRecord(**json.loads(json.dumps(asdict(record))))
    assert TorsionsStay(0.1, 1).judge([record, again])
    assert ObservableStays(0.1, 2, "m:f").judge([record, again])


def test_rules_of_a_configuration():
    config = ConvergenceConfig.model_validate({
        "min_rounds": 4,
        "rounds_without_candidate": 2,
        "steps_without_candidate": 9000,
        "coverage": {"tolerance": 0.02},
        "torsions": {"rounds": 1},
        "observables": [{"function": "m:f", "tolerance": 0.1}],
        "uncertainty": {"target": 0.05, "of": "max"},
    })  # fmt: skip
    rules = make_rules(config, labels=64)
    inner = [type(rule.rule) for rule in rules[1:]]
    assert rules[0] == LabelBudget(64)
    assert inner == [
        RoundsWithoutCandidate, StepsWithoutCandidate, CoverageStays, TorsionsStay,
        ObservableStays, UncertaintyBelow,
    ]  # fmt: skip
    assert rules[3].rule == CoverageStays(0.02, 3)
    assert rules[6].rule == UncertaintyBelow(0.05, "max", 1)
    idle = rounds(candidates=[0] * 4)
    assert judge(rules, idle[:3]) == ""  # not before the fourth round
    assert judge(rules, idle) == "no frame was worth a label in 4 rounds"
    assert judge(rules, rounds(labels=[64], candidates=[0])) == "the budget of 64 labels is spent"
    default = make_rules(ConvergenceConfig(), 64)
    assert judge(default, rounds(candidates=[0] * 9)) == ""
    assert judge(default, rounds(candidates=[0] * 10)) == "no frame was worth a label in 10 rounds"
    never = ConvergenceConfig(rounds_without_candidate=None)
    assert judge(make_rules(never, 64), idle * 9) == ""


def test_functions_of_the_user_are_called(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def size(frames):\n    return frames.positions.std()\n"
        "def words(frames):\n    return 'many'\n"
        "number = 3\n"
    )
    frames = tiny.frames("H2O", 3)

    def config(name):
        rule = {"function": f"{tmp_path / 'mine.py'}:{name}", "tolerance": 0.1}
        return ConvergenceConfig.model_validate({"observables": [rule]})

    ((path, value),) = observe(config("size"), frames).items()
    assert path.endswith("mine.py:size")
    assert value == pytest.approx(np.std(frames.positions))
    with pytest.raises(ConfigError, match="returned 'many' for 3 frames; return one number"):
        observe(config("words"), frames)
    with pytest.raises(ConfigError, match="is a int; name a function of a Dataset"):
        observe(config("number"), frames)
    with pytest.raises(ConfigError, match="has no 'sizes'; did you mean 'size'"):
        observe(config("sizes"), frames)


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match="labels is 0; expected a positive number"):
        LabelBudget(0)
    with pytest.raises(ValueError, match="rounds is 1; two are needed to see a change"):
        CoverageStays(0.01, rounds=1)
    with pytest.raises(ValueError, match="function is empty"):
        ObservableStays(0.01)
    with pytest.raises(ValueError, match="of='median' is unknown"):
        UncertaintyBelow(0.1, "median")
    with pytest.raises(DataError, match=r"shapes \[\(1, 2\), \(1, 3\)\]"):
        TorsionsStay(0.1, 2).judge(rounds(torsion_counts=[((1, 1),), ((1, 1, 1),)] * 2))
    with pytest.raises(DataError, match=r"expected finite ones \(frames, torsions\)"):
        torsion_counts([0.1, 0.2])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"coverage": {"rounds": 1}}, "greater than or equal to 2"),
        ({"torsions": {"tolerance": 1.5}}, "less than 1"),
        ({"uncertainty": {}}, "Field required"),
        ({"observables": [{"function": "m:f", "tolerance": 1}] * 2}, "m:f is named twice"),
    ],
)
def test_wrong_configurations_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        ConvergenceConfig.model_validate(given)
