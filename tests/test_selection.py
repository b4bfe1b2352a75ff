"""Selection: what each method promises, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from uncv.errors import DataError
from uncv.selection import METHODS, inside_window, select

AWARE = ("farthest_point", "max_det", "lcmd", "threshold")


def choose(pool, train, size, method, **options):
    """A choice by any method; where scores are needed, all frames have the same."""
    scores = np.ones(len(pool))
    return select(pool, train, size, method, scores=scores, window=(0.0, 2.0), **options)


def test_top_u_takes_the_largest_scores_in_order():
    scores = [0.3, 0.9, 0.1, 0.9, 0.5]
    chosen = select(np.zeros((5, 2)), None, 3, "top_u", scores=scores)
    assert chosen.tolist() == [1, 3, 4]


def test_random_depends_on_the_seed_alone(rng):
    pool = rng.normal(size=(50, 3))
    first = select(pool, None, 10, "random", seed=1)
    assert first.tolist() == select(pool, None, 10, "random", seed=1).tolist()
    assert first.tolist() != select(pool, None, 10, "random", seed=2).tolist()


def test_farthest_point_keeps_away_from_training_data():
    pool = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 9.0], [10.0, 0.1]])
    chosen = select(pool, [[10.0, 0.0]], 2, "farthest_point")
    # Squared distances to the labelled point: 100, 0, 181, 0.01; then 0 is the farthest, with 81.
    assert chosen.tolist() == [2, 0]


@pytest.mark.parametrize("method", ["farthest_point", "lcmd"])
def test_without_training_data_the_first_is_far_from_the_mean(method):
    assert select([[0.0], [1.0], [2.0], [9.0]], None, 2, method).tolist() == [3, 0]


def test_lcmd_passes_by_an_outlier_where_farthest_point_does_not():
    crowd = [[1.0 + 0.01 * i] for i in range(20)]  # the sum of squared distances to 0 is 24.1
    pool, train = [[-3.0], *crowd], [[-1.0], [0.0]]  # that of the outlier to −1 is 4
    assert select(pool, train, 2, "farthest_point").tolist() == [0, 20]
    assert select(pool, train, 2, "lcmd").tolist() == [20, 0]


def test_max_det_prefers_a_new_direction_to_a_long_known_one():
    pool = [[3.0, 0.0], [0.0, 1.0], [0.5, 0.1]]
    assert select(pool, [[1.0, 0.0]], 1, "max_det").tolist() == [1]
    assert select(pool, None, 2, "max_det").tolist() == [0, 1]


def test_threshold_chooses_far_frames_inside_the_window_only(rng):
    pool, scores = rng.normal(size=(40, 3)), rng.random(40)
    inside = np.flatnonzero((scores >= 0.3) & (scores <= 0.7))
    chosen = select(pool, pool[:2], 5, "threshold", scores=scores, window=(0.3, 0.7))
    expected = inside[select(pool[inside], pool[:2], 5, "farthest_point")]
    assert chosen.tolist() == expected.tolist()


def test_window_holds_its_ends():
    scores = [0.2, 0.3, 0.5, 0.7, 0.8]
    assert inside_window(scores, 0.3, 0.7).tolist() == [1, 2, 3]
    assert inside_window(scores, 0.5, np.inf).tolist() == [2, 3, 4]


@pytest.mark.parametrize("method", METHODS)
def test_no_duplicates_and_the_whole_pool_can_be_taken(method, rng):
    pool = rng.normal(size=(12, 3))
    chosen = choose(pool, pool[:0], 12, method)
    assert sorted(chosen.tolist()) == list(range(12))
    assert len(choose(pool, None, 0, method)) == 0


@pytest.mark.parametrize("method", METHODS)
def test_the_same_input_gives_the_same_choice_and_is_not_changed(method, rng):
    pool, train = rng.normal(size=(30, 3)), rng.normal(size=(2, 3))
    copies = pool.copy(), train.copy()
    first = choose(pool, train, 9, method)
    assert first.tolist() == choose(pool, train, 9, method).tolist()
    assert all(np.array_equal(a, b) for a, b in zip((pool, train), copies, strict=True))


@pytest.mark.parametrize("method", AWARE)
def test_training_data_are_never_chosen_again(method, rng):
    """Not those that differ by rounding either, although few others are left."""
    pool = 3.0 + rng.normal(size=(300, 4))
    known = np.arange(0, 300, 3)
    train = pool[known] * (1.0 + 1e-9)
    fresh = np.setdiff1d(np.arange(300), known)
    assert sorted(choose(pool, train, 200, method).tolist()) == fresh.tolist()
    with pytest.raises(DataError, match="only 200 frames of the pool differ"):
        choose(pool, train, 201, method)


@pytest.mark.parametrize("method", AWARE)
def test_copies_within_the_pool_are_taken_once(method, rng):
    distinct = rng.normal(size=(6, 3))
    pool = distinct[[0, 1, 1, 2, 3, 3, 3, 4, 5, 0]]
    chosen = choose(pool, None, 6, method)
    assert len(np.unique(pool[chosen], axis=0)) == 6
    with pytest.raises(DataError, match="only 6 frames of the pool differ"):
        choose(pool, None, 7, method)


@pytest.mark.parametrize("method", AWARE)
def test_more_training_data_move_the_choice_elsewhere(method):
    """Two groups of frames: with the first one known, the choice falls on the second."""
    pool = np.array([[5.0, 0.0], [5.1, 0.1], [5.2, -0.1], [0.1, 4.0], [0.0, 4.1], [-0.1, 4.2]])
    assert choose(pool, pool[:1] + 0.01, 1, method)[0] >= 3
    assert choose(pool, pool[3:4] + 0.01, 1, method)[0] < 3


@pytest.mark.parametrize("method", ["farthest_point", "max_det", "lcmd"])
def test_the_choice_does_not_depend_on_the_axes(method, rng):
    pool, train = rng.normal(size=(80, 5)), rng.normal(size=(4, 5))
    rotation, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    plain = select(pool, train, 20, method)
    assert select(7.0 * pool @ rotation, 7.0 * train @ rotation, 20, method).tolist() == (
        plain.tolist()
    )


@pytest.mark.parametrize("method", ["farthest_point", "lcmd"])
def test_distances_stand_a_common_offset(method, rng):
    pool, train = rng.normal(size=(80, 5)), rng.normal(size=(4, 5))
    shifted = select(pool + 1e4, train + 1e4, 20, method)
    assert shifted.tolist() == select(pool, train, 20, method).tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0.0]], None, 2, "random"), "cannot choose 2 of a pool of 1"),
        (([[0.0]], None, -1, "random"), "cannot choose -1"),
        (([0.0], None, 1, "random"), r"expected \(frames, features\)"),
        (([[0.0]], [[0.0, 1.0]], 1, "farthest_point"), r"expected \(frames, 1\)"),
        (([[np.nan]], None, 1, "random"), "features contain NaN"),
        (([[0.0]], [[np.inf]], 1, "lcmd"), "training features contain NaN or infinite"),
        (([[0.0]], None, 1, "top_u"), "top_u needs the uncertainty of every frame"),
        (([[0.0]], None, 1, "threshold"), "threshold needs the uncertainty of every frame"),
        (([[0.0]], None, 1, "max_det"), "only 0 frames of the pool differ"),
    ],
)
def test_wrong_input_is_named(arguments, message):
    with pytest.raises(DataError, match=message):
        select(*arguments)


def test_scores_must_fit_the_pool():
    with pytest.raises(DataError, match=r"scores have shape \(1,\); expected \(2,\)"):
        select([[0.0], [1.0]], None, 1, "top_u", scores=[0.0])


def test_a_window_must_be_given_and_hold_enough():
    pool, scores = [[0.0], [1.0], [2.0]], [0.1, 0.5, 0.9]
    with pytest.raises(DataError, match=r"pass window=\(low, high\)"):
        select(pool, None, 1, "threshold", scores=scores)
    with pytest.raises(DataError, match=r"scores of 1 frames are between 0\.4 and 0\.6, but 2"):
        select(pool, None, 2, "threshold", scores=scores, window=(0.4, 0.6))
    with pytest.raises(DataError, match="give the lower value first"):
        inside_window(scores, 0.6, 0.4)


def test_unknown_method_lists_the_known_ones():
    with pytest.raises(ValueError, match="choose one of random, top_u, threshold, farthest_point"):
        select([[0.0]], None, 1, "top_down")
