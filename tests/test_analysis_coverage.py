"""Coverage of any space, intervals, accessible cells, equal frames: by formula and by counting."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from uncv.analysis import (
    Axis,
    Grid,
    Samples,
    accessible_coverage,
    cells_below,
    cells_of_run,
    coverage,
    coverage_series,
    equal_frames,
    expected_coverage,
    free_energy,
    measure_coverage,
    shared_axes,
)
from uncv.errors import DataError

MIXED = (Axis("φ"), Axis("r", 1.0, 5.0, periodic=False, unit="Å"), Axis("a", 0.0, 2.0))


def uniform(rng, axes, number):
    return rng.uniform([a.low for a in axes], [a.high for a in axes], (number, len(axes)))


@pytest.mark.parametrize("number", [1, 10, 100, 1000])
@pytest.mark.parametrize("axes", [MIXED[:1], MIXED[:2], MIXED])
def test_mean_coverage_of_uniform_points_is_that_of_the_formula(axes, number):
    """500 seeded draws, to 0.005; methods: (1/K) Σ_h [1 − (1 − b^(−dh))^n]."""
    rng = np.random.default_rng(7)
    found = np.mean([coverage(uniform(rng, axes, number), axes=axes) for _ in range(500)])
    d = len(axes)
    formula = sum(1 - (1 - 2.0 ** (-d * h)) ** number for h in range(1, 6)) / 5
    assert found == pytest.approx(formula, abs=0.005)
    assert expected_coverage(number, d) == pytest.approx(formula)


def by_hand(points, axes, levels, base):
    """Cells as tuples of places, at each level anew."""
    shares = []
    for level in range(1, levels + 1):
        side, seen = base**level, set()
        for point in points:
            place = []
            for value, axis in zip(point, axes, strict=True):
                share = (value - axis.low) / (axis.high - axis.low)
                share = share % 1.0 if axis.periodic else share
                place.append(int(np.floor(share * side)))
            if all(0 <= p < side for p in place):
                seen.add(tuple(place))
        shares.append(len(seen) / side ** len(axes))
    return float(np.mean(shares))


@pytest.mark.parametrize(("levels", "base", "d"), [(5, 2, 3), (2, 3, 2), (3, 4, 1), (8, 2, 3)])
def test_coverage_is_that_counted_by_hand(rng, levels, base, d):
    """Periodic axes and others, points outside, dense grids and one too large to hold."""
    axes = MIXED[:d]
    points = rng.normal([0.0, 3.0, 1.0][:d], [2.0, 1.5, 3.0][:d], (60, d))
    expected = by_hand(points, axes, levels, base)
    assert coverage(points, levels, base=base, axes=axes) == pytest.approx(expected)
    series = coverage_series(points, [0, 5, 60], levels, base=base, axes=axes)
    first = by_hand(points[:5], axes, levels, base)
    np.testing.assert_allclose(series, [0.0, first, expected])
    measured = measure_coverage(points, axes=axes, grid=Grid(levels, base))
    assert measured.coverage.value == pytest.approx(expected)
    assert measured.outside == sum(not 1 <= p[1] <= 5 for p in points) if d > 1 else True


def test_the_upper_end_lies_in_the_last_cell():
    axis = (Axis("r", 0.0, 1.0, periodic=False),)
    assert coverage([1.0], 1, axes=axis) == 0.5
    assert coverage([0.2, 1.0], 1, axes=axis) == 1.0
    assert coverage([1.0, 1.0 + 1e-9], 2, axes=axis) == pytest.approx((1 / 2 + 1 / 4) / 2)


def walks(rng, walkers, frames, step):
    starts = rng.vonmises(0.0, 2.0, (walkers, 1, 2))
    path = starts + np.cumsum(step * rng.normal(size=(walkers, frames, 2)), axis=1)
    return path.reshape(-1, 2), np.repeat(np.arange(walkers), frames)


@pytest.mark.parametrize(("walkers", "frames"), [(8, 100), (20, 60)])
def test_intervals_hold_the_mean_coverage_of_such_runs(walkers, frames):
    """95 % intervals of 150 runs of random walkers: 0.92 and more hold the mean of all runs."""
    rng = np.random.default_rng(1)
    found = []
    for seed in range(150):
        points, walker = walks(rng, walkers, frames, 0.1)
        grid = Grid(resamples=400, seed=seed)
        found.append(measure_coverage(points, walker=walker, grid=grid).coverage)
    values, low, high = np.array(found).T
    inside = (low <= values.mean()) & (values.mean() <= high)
    assert inside.mean() >= 0.91
    assert np.median(high - low) < 6 * values.std()
    assert ((low <= values) & (values <= high)).all()


def test_an_interval_takes_four_walkers_and_a_seed(rng):
    points, walker = walks(rng, 5, 50, 0.1)
    one, two = (measure_coverage(points, walker=walker, grid=Grid(seed=s)) for s in (3, 3))
    assert one.coverage == two.coverage
    few = measure_coverage(points[:150], walker=walker[:150])
    assert np.isnan(few.coverage.low)
    assert (few.walkers, few.frames) == (3, 150)
    assert few.expected == pytest.approx(float(expected_coverage(150, 2)))
    # the labels of walkers, and the order of frames, are of no matter
    order = rng.permutation(len(walker))
    named = np.array(["e", "d", "c", "b", "a"])[walker]
    other = measure_coverage(points[order], walker=named[order])
    np.testing.assert_allclose(other.levels, one.levels)


def test_walkers_that_do_the_same_leave_no_doubt(rng):
    points = np.tile(rng.uniform(-3, 3, (40, 2)), (4, 1))
    found = measure_coverage(points, walker=np.repeat(np.arange(4), 40))
    assert found.coverage.low == found.coverage.value == found.coverage.high


def test_accessible_cells_of_a_run_and_of_a_surface(rng):
    axes = (Axis("x", 0.0, 1.0, periodic=False), Axis("y", 0.0, 1.0, periodic=False))
    centres = (np.arange(4) + 0.5) / 4
    grid = np.array(list(itertools.product(centres, centres)))
    reference = np.repeat(grid[:8], 5, axis=0)  # the half x < 0.5
    cells = cells_of_run(reference, axes, 4)
    assert cells.cells.tolist() == list(range(8))
    run = np.concatenate([grid[:2], grid[12:]])
    assert accessible_coverage(run, cells) == pytest.approx(2 / 8)
    walker = np.arange(6) % 3
    measured = measure_coverage(run, axes=axes, walker=walker, accessible=cells)
    assert measured.accessible.value == pytest.approx(2 / 8)
    counts = np.repeat(np.arange(16), [100] * 4 + [1] * 12)
    surface = free_energy(grid[counts], axes=axes, bins=4)
    low = cells_below(surface, 2.0 * 8.617333262e-5 * 300.0)
    assert low.cells.tolist() == [0, 1, 2, 3]  # kT ln 100 is above 2 kT
    assert accessible_coverage(run, low) == pytest.approx(2 / 4)
    with pytest.raises(DataError, match="1 variables and the accessible cells 2"):
        accessible_coverage(run[:, 0], low)
    with pytest.raises(DataError, match="1 variables and the accessible cells 2"):
        measure_coverage(run[:, 0], axes=axes[:1], accessible=low)
    with pytest.raises(DataError, match="cutoff is 0 eV"):
        cells_below(surface, 0.0)


def samples(frames, walkers=1, **options):
    values = np.arange(float(frames))[:, None]
    axes = (Axis("t", 0.0, 1e6, periodic=False, unit=""),)
    return Samples(values, np.sort(np.arange(frames) % walkers), axes=axes, **options)


def test_equal_frames_are_taken_evenly_or_first():
    long, short = samples(100), samples(7, piece=np.arange(7))
    thin, same = equal_frames([long, short])
    assert same.values.ravel().tolist() == short.values.ravel().tolist()
    assert same.piece.tolist() == list(range(7))
    assert len(thin) == 7
    assert set(np.diff(thin.values.ravel())) <= {14.0, 15.0}
    assert equal_frames([long], 3, "first")[0].values.ravel().tolist() == [0.0, 1.0, 2.0]
    walkers = equal_frames([samples(40, 4)], 10, "first")[0]
    assert np.bincount(walkers.walker).tolist() in ([2, 2, 3, 3], [3, 3, 2, 2])
    uneven = Samples(np.zeros((13, 1)), np.repeat([0, 1], [3, 10]))
    assert np.bincount(equal_frames([uneven], 10)[0].walker).tolist() == [3, 7]


@pytest.mark.parametrize(
    ("frames", "take", "message"),
    [(8, "thin", "8 frames are asked for, but runs have 9, 7"), (0, "first", "0 frames"),
     (2, "last", "take is 'last'")],
)  # fmt: skip
def test_frames_that_are_not_there(frames, take, message):
    with pytest.raises(DataError, match=message):
        equal_frames([samples(9), samples(7)], frames, take)
    with pytest.raises(DataError, match="there is no run"):
        equal_frames([])


def test_open_limits_are_shared():
    axis = Axis("r", 0.0, 1.0, periodic=False, unit="Å")
    one = Samples(np.ones((2, 1)), np.zeros(2, int), axes=(axis,), open_axes=(0,))
    two = Samples(
        np.ones((2, 1)), np.zeros(2, int), axes=(Axis("r", 0.5, 3.0, False),), open_axes=(0,)
    )
    for part in shared_axes([one, two]):
        assert (part.axes[0].low, part.axes[0].high) == (0.0, 3.0)
    with pytest.raises(DataError, match="different variables: r, and φ, ψ"):
        shared_axes([one, Samples(np.ones((2, 2)), np.zeros(2, int))])


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: Axis("r", 2.0, 1.0), "limits of r are 2 and 1"),
        (lambda: Axis("r", 0.0, np.inf), "limits of r are 0 and inf"),
        (lambda: coverage(np.zeros((3, 2)), axes=MIXED), "3 axes are given for 2 variables"),
        (lambda: coverage([0.1], bounds=(0, 1), axes=MIXED[:1]), "both axes and bounds"),
        (lambda: coverage([0.1], levels=0), "0 levels of base 2"),
        (lambda: coverage(np.zeros((3, 3)), levels=20), "at most 2.40 cells"),
        (lambda: coverage([[0.1], [np.nan]]), "NaN or infinite in 1 of 2 frames"),
        (lambda: measure_coverage(np.zeros((0, 2))), "no frame to measure"),
        (lambda: measure_coverage(np.zeros((3, 2)), walker=[0]), "walkers of shape"),
        (lambda: Grid(confidence=1.0), "confidence 1; expected"),
        (lambda: cells_of_run(np.zeros((3, 2)), bins=0), "bins is 0"),
        (lambda: Samples(np.zeros((3, 2)), np.zeros(3), axes=MIXED), "3 axes are given for 2"),
    ],
)
def test_coverage_that_means_nothing(action, message):
    with pytest.raises(DataError, match=message):
        action()
