"""Feature-space coverage: shares counted one by one, and what a shifted structure does."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
from scipy.spatial import cKDTree

from uncv.analysis import Environments, environment_coverage, environments, feature_coverage
from uncv.analysis.feature_coverage import nearest
from uncv.errors import DataError


def cloud(rng, number, frames, shift=0.0, element=6, features=4):
    points = rng.normal(size=(number, features)) * [1.0, 5.0, 0.2, 3.0][:features] + shift
    return Environments(element, points, np.sort(np.arange(number) % frames))


def test_shares_are_those_of_a_tree(rng):
    reference, visited = cloud(rng, 700, 30), cloud(rng, 1100, 30, 0.3)
    (found,) = environment_coverage((visited,), (reference,), 0.25)
    scale = reference.features.std(axis=0) * 2.0  # a root mean square over four
    distance, _ = cKDTree(visited.features / scale).query(reference.features / scale)
    assert found.share == pytest.approx((distance <= 0.25).mean())
    assert 0.2 < found.share < 0.9
    assert (found.element, found.reference, found.visited) == (6, 700, 1100)


def test_nearest_is_exact_far_from_the_origin(rng):
    points, others = rng.normal(size=(50, 3)) + 1e5, rng.normal(size=(2000, 3)) + 1e5
    expected, _ = cKDTree(others).query(points)
    np.testing.assert_allclose(nearest(points, others), expected, rtol=1e-8)
    assert nearest(points, points).max() == 0.0


def test_the_default_distance_covers_a_run_of_the_same_ensemble(rng):
    """95 % of the reference lie within it of another frame; a fresh draw covers as much."""
    reference, fresh = cloud(rng, 1500, 100), cloud(rng, 1500, 100)
    (found,) = environment_coverage((fresh,), (reference,))
    assert found.share == pytest.approx(0.95, abs=0.02)
    scale = reference.features.std(axis=0) * 2.0
    scaled = reference.features / scale
    alone = [
        np.linalg.norm(scaled[reference.frame != f] - point, axis=1).min()
        for f, point in zip(reference.frame, scaled, strict=True)
    ]
    assert found.distance == pytest.approx(np.quantile(alone, 0.95))
    (itself,) = environment_coverage((reference,), (reference,))
    assert itself.share == 1.0
    (far,) = environment_coverage((cloud(rng, 1500, 100, 50.0),), (reference,))
    assert far.share == 0.0


def test_elements_are_apart_and_may_be_absent(rng):
    reference = (cloud(rng, 60, 6), cloud(rng, 60, 6, element=8))
    found = environment_coverage((reference[1],), reference, 0.5)
    assert [(one.element, one.share, one.visited) for one in found] == [(6, 0.0, 0), (8, 1.0, 60)]


@pytest.mark.parametrize(
    ("visited", "options", "message"),
    [
        ({"features": 3}, {"distance": 1.0}, "3 and 4 entries"),
        ({}, {"distance": 0.0}, "the distance is 0"),
        ({}, {}, "one frame only"),
    ],
)
def test_environments_that_cannot_be_compared(rng, visited, options, message):
    with pytest.raises(DataError, match=message):
        environment_coverage((cloud(rng, 9, 3, **visited),), (cloud(rng, 9, 1),), **options)


def test_environments_of_a_potential(monkeypatch):
    """Features of each element in the order of frames, whatever the parts; drawn by the seed."""
    potential, data = tiny.potential(), tiny.frames("CH3OH", 12, 0.05, seed=3)
    found = environments(potential, data)
    assert [one.element for one in found] == [1, 6, 8]
    assert [len(one.features) for one in found] == [48, 12, 12]
    whole = potential(data.to_batch()).features.detach().numpy()
    np.testing.assert_allclose(found[1].features, whole[data.numbers == 6], rtol=1e-6)
    assert found[0].frame.tolist() == np.repeat(np.arange(12), 4).tolist()
    monkeypatch.setattr(feature_coverage, "_ATOMS", 13)
    for one, other in zip(found, environments(potential, data), strict=True):
        np.testing.assert_allclose(one.features, other.features, rtol=1e-6)
    some = environments(potential, data, most=10, seed=1)
    assert [len(one.features) for one in some] == [10, 10, 10]
    again = environments(potential, data, most=10, seed=1)
    np.testing.assert_array_equal(some[0].features, again[0].features)
    assert {one.share for one in environment_coverage(some, found, 1e-9)} <= {10 / 48, 10 / 12}
    with pytest.raises(DataError, match="no frames to take environments of"):
        environments(potential, data[[]])
    with pytest.raises(DataError, match="NaN or infinite; look for atoms"):
        environments(broken(potential), data)


def broken(potential):
    def call(batch):
        output = potential(batch)
        return output._replace(features=output.features * np.nan)

    return call
