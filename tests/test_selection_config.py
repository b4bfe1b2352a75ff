"""The section of the configuration for selection."""

from __future__ import annotations

import math
from typing import get_args

import pytest

from uncv.config.selection import SelectionConfig
from uncv.features_frames import FrameFeatures
from uncv.selection import METHODS, Method, select


def test_the_names_are_those_of_the_library():
    fields = SelectionConfig.model_fields
    assert set(get_args(fields["method"].annotation)) == set(METHODS) == set(get_args(Method))
    assert set(get_args(fields["features"].annotation)) == set(get_args(FrameFeatures))


def test_defaults_choose_as_before():
    given = SelectionConfig()
    assert (given.method, given.batch_size, given.features) == ("farthest_point", 16, "mean")
    assert given.acceptance.kind == "none"
    assert given.window is None


@pytest.mark.parametrize(
    ("limits", "window"),
    [
        ({"min_uncertainty": 0.2}, (0.2, math.inf)),
        ({"max_uncertainty": 0.7}, (-math.inf, 0.7)),
        ({"min_uncertainty": 0.2, "max_uncertainty": 0.7}, (0.2, 0.7)),
    ],
)
def test_a_window_may_be_open(limits, window):
    given = SelectionConfig(method="threshold", **limits)
    assert given.window == window
    scores = [0.1, 0.5, 0.9]
    inside = [i for i, s in enumerate(scores) if window[0] <= s <= window[1]]
    pool = [[0.0], [1.0], [3.0]]
    chosen = select(
        pool, None, len(inside), given.method, scores=scores, window=given.window
    )  # fmt: skip
    assert sorted(chosen.tolist()) == inside


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "threshold"}, "give at least one of them for threshold"),
        ({"min_uncertainty": 0.1}, "method is farthest_point, min_uncertainty 0.1"),
        (
            {"method": "threshold", "min_uncertainty": 0.3, "max_uncertainty": 0.1},
            r"min_uncertainty is 0\.3, above max_uncertainty",
        ),
        ({"member": -1}, "member"),
    ],
)
def test_wrong_configurations_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        SelectionConfig.model_validate(given)
