"""Selection: order of choice, awareness of the training data, and what is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from uncv.errors import DataError
from uncv.selection import select


def test_top_u_takes_the_largest_scores_in_order():
    scores = [0.3, 0.9, 0.1, 0.9, 0.5]
    chosen = select(np.zeros((5, 2)), None, 3, "top_u", scores=scores)
    assert chosen.tolist() == [1, 3, 4]


def test_farthest_point_keeps_away_from_training_data():
    pool = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 9.0], [10.0, 0.1]])
    chosen = select(pool, [[10.0, 0.0]], 2, "farthest_point")
    # Squared distances to the labelled point: 100, 0, 181, 0.01; then 0 is the farthest, with 81.
    assert chosen.tolist() == [2, 0]


def test_farthest_point_spreads_as_an_exhaustive_greedy_search(rng):
    pool, train = rng.normal(size=(30, 4)), rng.normal(size=(5, 4))
    known = [*train]
    expected = []
    for _ in range(8):
        gaps = [min(np.linalg.norm(p - k) for k in known) for p in pool]
        expected.append(int(np.argmax(gaps)))
        known.append(pool[expected[-1]])
    assert select(pool, train, 8, "farthest_point").tolist() == expected


def test_farthest_point_without_training_data_begins_far_from_the_mean():
    chosen = select([[0.0], [1.0], [2.0], [9.0]], None, 2, "farthest_point")
    assert chosen.tolist() == [3, 0]


def test_random_depends_on_the_seed_alone(rng):
    pool = rng.normal(size=(50, 3))
    first = select(pool, None, 10, "random", seed=1)
    assert first.tolist() == select(pool, None, 10, "random", seed=1).tolist()
    assert first.tolist() != select(pool, None, 10, "random", seed=2).tolist()


@pytest.mark.parametrize("method", ["random", "top_u", "farthest_point"])
def test_no_duplicates_and_the_whole_pool_can_be_taken(method, rng):
    pool = rng.normal(size=(12, 3))
    chosen = select(pool, pool[:0], 12, method, scores=rng.random(12))
    assert sorted(chosen.tolist()) == list(range(12))
    assert len(select(pool, None, 0, method, scores=rng.random(12))) == 0


def test_input_is_not_changed(rng):
    pool, train = rng.normal(size=(9, 3)), rng.normal(size=(2, 3))
    copies = pool.copy(), train.copy()
    select(pool, train, 3, "farthest_point")
    assert all(np.array_equal(a, b) for a, b in zip((pool, train), copies, strict=True))


def test_duplicates_of_labelled_frames_are_never_taken():
    pool = [[0.0], [0.0], [1.0], [1.0], [2.0]]
    assert sorted(select(pool, [[0.0]], 2, "farthest_point").tolist()) == [2, 4]
    with pytest.raises(DataError, match="only 2 frames of the pool differ"):
        select(pool, [[0.0]], 3, "farthest_point")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0.0]], None, 2, "random"), "cannot choose 2 of a pool of 1"),
        (([[0.0]], None, -1, "random"), "cannot choose -1"),
        (([0.0], None, 1, "random"), r"expected \(frames, features\)"),
        (([[0.0]], [[0.0, 1.0]], 1, "farthest_point"), r"expected \(frames, 1\)"),
        (([[np.nan]], None, 1, "random"), "features contain NaN"),
        (([[0.0]], None, 1, "top_u"), "needs the uncertainty of every frame"),
    ],
)
def test_wrong_input_is_named(arguments, message):
    with pytest.raises(DataError, match=message):
        select(*arguments)


def test_scores_must_fit_the_pool():
    with pytest.raises(DataError, match=r"scores have shape \(1,\); expected \(2,\)"):
        select([[0.0], [1.0]], None, 1, "top_u", scores=[0.0])


def test_unknown_method_lists_the_known_ones():
    with pytest.raises(ValueError, match="choose one of random, top_u, farthest_point"):
        select([[0.0]], None, 1, "lcmd")


def test_the_last_choice_is_not_closer_than_the_guarantee(rng):
    """MaxDist is a 2-approximation: any two choices are at least the covering radius apart."""
    pool = rng.normal(size=(40, 2))
    chosen = pool[select(pool, None, 6, "farthest_point")]
    covering = np.linalg.norm(pool[:, None] - chosen[None], axis=2).min(axis=1).max()
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(chosen, 2)) >= covering
