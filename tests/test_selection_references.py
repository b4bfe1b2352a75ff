"""Greedy choices against searches written from the definitions, in plain numpy."""

from __future__ import annotations

import numpy as np
import pytest

from uncv.selection import greedy, select
from uncv.selection.base import Pool
from uncv.selection.determinant import SIGMA, columns_of, variances
from uncv.selection.distances import CentredPool, nearest
from uncv.selection.screen import FEW, Screen


def farthest_point(pool, train, size):
    """Brute force: each time the largest of the distances to the nearest known row."""
    known, chosen = [*train], []
    for _ in range(size):
        gaps = np.min([np.linalg.norm(pool - k, axis=1) for k in known], axis=0)
        chosen.append(int(np.argmax(gaps)))
        known.append(pool[chosen[-1]])
    return chosen


def max_det(pool, train, size):
    """Brute force: each time the frame that makes the determinant of all chosen the largest."""
    known = train if len(train) else pool
    scale = np.sqrt(np.mean(np.sum(known**2, axis=1)))
    rows = np.vstack([train, pool]) / scale
    kernel = rows @ rows.T + SIGMA**2 * np.eye(len(rows))
    taken = list(range(len(train)))
    for _ in range(size):
        found = np.full(len(rows), -np.inf)
        for row in np.setdiff1d(np.arange(len(train), len(rows)), taken):
            some = [*taken, row]
            found[row] = np.linalg.slogdet(kernel[np.ix_(some, some)]).logabsdet
        taken.append(int(np.argmax(found)))
    return [row - len(train) for row in taken[len(train) :]]


def posterior_variance(pool, known, noise2):
    """v = k(x, x) − k(x, Φ) (k(Φ, Φ) + σ²)⁻¹ k(Φ, x), by one solution of linear equations."""
    kernel = known @ known.T + noise2 * np.eye(len(known))
    explained = np.linalg.solve(kernel, known @ pool.T)
    return np.sum(pool**2, axis=1) - np.sum((pool @ known.T).T * explained, axis=0)


def lcmd(pool, train, size):
    """From the definition: nearest centres by all distances, cluster by cluster."""
    centres, chosen = [*train], []
    for _ in range(size):
        distances = np.array([np.linalg.norm(pool - c, axis=1) for c in centres])
        nearest_centre = distances.argmin(axis=0)
        weights = [np.sum(distances[c, nearest_centre == c] ** 2) for c in range(len(centres))]
        members = np.flatnonzero(nearest_centre == np.argmax(weights))
        chosen.append(int(members[np.argmax(distances.min(axis=0)[members])]))
        centres.append(pool[chosen[-1]])
    return chosen


def clustered(rng, count, width):
    """Groups of different size and spread, and heavy tails."""
    group = rng.integers(0, 5, count)
    centres = 4.0 * rng.normal(size=(5, width))
    spread = np.array([0.1, 0.3, 1.0, 2.0, 0.05])[group, None]
    return centres[group] + spread * rng.standard_t(3, size=(count, width))


@pytest.mark.parametrize(("count", "size"), [(40, 12), (1500, 80)])
@pytest.mark.parametrize(("method", "brute"), [("farthest_point", farthest_point), ("lcmd", lcmd)])
def test_distances_as_by_brute_force(method, brute, count, size, rng):
    pool, train = clustered(rng, count, 6), clustered(rng, 7, 6)
    assert select(pool, train, size, method).tolist() == brute(pool, train, size)


@pytest.mark.parametrize("method", ["farthest_point", "lcmd"])
def test_without_training_data_as_after_the_first_choice(method, rng):
    pool = clustered(rng, 300, 6)
    chosen = select(pool, None, 30, method).tolist()
    away = np.linalg.norm(pool - pool.mean(axis=0), axis=1)
    assert chosen[0] == np.argmax(away)
    assert chosen[1:] == select(pool, pool[chosen[:1]], 29, method).tolist()


@pytest.mark.parametrize(("rows", "width"), [(0, 4), (5, 4), (5, 60), (90, 4)])
def test_max_det_as_by_determinants(rows, width, rng):
    pool, train = clustered(rng, 40, width), clustered(rng, rows, width)
    assert select(pool, train, 9, "max_det").tolist() == max_det(pool, train, 9)


def test_max_det_takes_the_largest_variance_of_a_large_pool(rng):
    pool, train = clustered(rng, 1500, 20), clustered(rng, 7, 20)
    chosen = select(pool, train, 60, "max_det")
    noise2 = SIGMA**2 * np.mean(np.sum(train**2, axis=1))
    for number, pick in enumerate(chosen):
        known = np.vstack([train, pool[chosen[:number]]])
        found = posterior_variance(pool, known, noise2)
        found[chosen[:number]] = 0.0
        assert np.argmax(found) == pick


@pytest.mark.parametrize("rows", [0, 3, 50])
def test_variances_as_by_the_kernel(rows, rng):
    pool, train = rng.normal(size=(20, 8)), rng.normal(size=(rows, 8))
    found = variances(pool, columns_of(train, 1e-4))
    np.testing.assert_allclose(found, posterior_variance(pool, train, 1e-4), rtol=1e-9)


@pytest.mark.parametrize("method", ["farthest_point", "max_det"])
@pytest.mark.parametrize("fewest", [1, 5, 10_000])
def test_the_number_of_candidates_changes_nothing(method, fewest, rng, monkeypatch):
    """With one candidate, the whole pool is looked at for nearly every choice."""
    pool, train = clustered(rng, 200, 6), clustered(rng, 4, 6)
    plain = select(pool, train, 40, method)
    monkeypatch.setattr(greedy, "FEWEST", fewest)
    monkeypatch.setattr(greedy, "SHARE", 200)
    assert select(pool, train, 40, method).tolist() == plain.tolist()


@pytest.mark.parametrize("method", ["farthest_point", "max_det", "lcmd"])
def test_single_precision_features_are_computed_with_in_double(method, rng):
    pool, train = clustered(rng, 60, 6).astype(np.float32), clustered(rng, 4, 6)
    double = select(pool.astype(np.float64), train, 15, method)
    assert select(pool, train, 15, method).tolist() == double.tolist()


@pytest.mark.parametrize("width", [3, 40, 100])
def test_no_closer_frame_is_missed(width, rng):
    """Where all frames are about as far, the features themselves are looked at; else few are."""
    for pool in (clustered(rng, 600, width), 5.0 + rng.normal(size=(600, width))):
        space = CentredPool.of(Pool.checked(pool, None, None, None, 0))
        screen = Screen(space)
        distance2 = nearest(space, pool[:25]).distance2
        for pick in range(100, 130):
            closer = np.flatnonzero(np.sum((pool - pool[pick]) ** 2, axis=1) < distance2)
            maybe = screen.maybe_closer(pick, distance2)
            assert set(closer) <= set(maybe)
            assert len(maybe) <= max(FEW * len(pool), 1.5 * len(closer) + 3)


def test_distances_of_near_frames_keep_their_digits(rng):
    pool = 1e3 + rng.normal(size=(30, 5))
    centres = pool[:3] + 1e-2 * rng.normal(size=(3, 5))
    space = CentredPool.of(Pool.checked(pool, None, None, None, 0))
    expected = np.min([np.sum((pool - c) ** 2, axis=1) for c in centres], axis=0)
    np.testing.assert_allclose(nearest(space, centres).distance2, expected, rtol=1e-9)
