"""Autocorrelation times, basins and transitions against chains and landscapes known by formula."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import poisson

from uncv.analysis import (
    C7AX,
    C7EQ,
    AnalysisSettings,
    Axis,
    FreeEnergySurface,
    Region,
    Samples,
    analyze,
    autocorrelation_times,
    count_transitions,
    find_basins,
    integrated_autocorrelation_time,
    memory_of,
    region_cores,
    states_of,
)
from uncv.errors import DataError

KT = 8.617333262e-5 * 300.0


def chain(rng, frames, memory):
    """An AR(1) chain of unit variance that starts in equilibrium."""
    noise = rng.normal(size=frames) * np.sqrt(1 - memory**2)
    return lfilter([1.0], [1.0, -memory], noise, zi=[memory * rng.normal()])[0]


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9, 0.98])
def test_time_of_an_ar1_chain_is_known_within_its_error(memory):
    """τ = (1 + a)/(1 − a); the errors of 60 seeds are those that are told."""
    rng = np.random.default_rng(4)
    expected = (1 + memory) / (1 - memory)
    found = [integrated_autocorrelation_time(chain(rng, 40_000, memory)) for _ in range(60)]
    scores = np.array([(one.time - expected) / one.error for one in found])
    assert np.abs(scores[0]) < 2.0
    assert 0.7 < np.std(scores) < 1.3
    assert abs(np.mean(scores)) < 0.6
    assert found[0].effective == pytest.approx(40_000 / found[0].time)
    assert {one.reason for one in found} == {""}


def test_window_error_and_sum_are_those_of_the_definition(rng):
    """With ρ by plain sums: the first M ≥ 5 τ(M), τ √(2(2M+1)/F)."""
    x = chain(rng, 3000, 0.8)
    centred = x - x.mean()
    rho = [centred[t:] @ centred[: 3000 - t] / (3000 - t) for t in range(200)]
    tau = 1 + 2 * np.cumsum(np.array(rho[1:]) / rho[0])
    window = next(m for m in range(1, 200) if m >= 5 * tau[m - 1])
    found = integrated_autocorrelation_time(x)
    assert found.window == window
    assert found.time == pytest.approx(tau[window - 1])
    assert found.error == pytest.approx(tau[window - 1] * np.sqrt(2 * (2 * window + 1) / 3000))
    assert integrated_autocorrelation_time(x, window=10.0).window > window


def test_walkers_are_pooled_and_never_joined():
    """Eight walkers give what one long chain gives; a jump between walkers is no correlation."""
    rng = np.random.default_rng(8)
    walkers = np.stack([chain(rng, 5000, 0.9) for _ in range(8)])
    labels = np.repeat(np.arange(8), 5000)
    found = integrated_autocorrelation_time(walkers.ravel(), labels)
    assert abs(found.time - 19.0) < 2 * found.error
    shuffled = rng.permutation(8 * 5000)
    stable = shuffled[np.argsort(labels[shuffled], kind="stable")]
    assert sorted(stable) == list(range(40_000))
    interleaved = integrated_autocorrelation_time(walkers.T.ravel(), np.tile(np.arange(8), 5000))
    assert interleaved.time == pytest.approx(found.time)
    alternating = np.tile([1.0, -1.0], 50)  # of 100 walkers of one frame each
    assert integrated_autocorrelation_time(alternating, np.arange(100)).reason == (
        "no walker has two frames"
    )


def test_walkers_that_stay_apart_have_no_time_within_them():
    values = np.repeat([0.0, 1.0, 2.0, 3.0], 200) + 1e-3 * np.sin(np.arange(800))
    found = integrated_autocorrelation_time(values, np.repeat(np.arange(4), 200))
    assert "no window was found" in found.reason
    assert found.effective < 10


def test_times_that_cannot_be_told(rng):
    still = integrated_autocorrelation_time(np.full(100, 3.7))
    assert (still.time, still.effective, still.reason) == (np.inf, 0.0, "it does not vary")
    short = integrated_autocorrelation_time(chain(rng, 400, 0.95))
    assert "fewer than 50" in short.reason
    two = integrated_autocorrelation_time([0.0, 1.0])
    assert np.isnan(two.time)
    assert two.reason == "too few frames to tell"


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        ([1.0], {}, "at least two frames"),
        ([1.0, np.nan], {}, "NaN or infinite"),
        ([1.0, 2.0], {"walker": [0]}, r"\(2,\) and \(1,\)"),
        ([1.0, 2.0], {"window": 0.0}, "the window is 0"),
    ],
)
def test_series_without_a_time(x, options, message):
    with pytest.raises(DataError, match=message):
        integrated_autocorrelation_time(x, **options)


def test_angles_are_taken_by_cosine_and_sine(rng):
    """An angle that turns through ±π steadily would look like a saw; on the circle it does not."""
    angle = (np.cumsum(0.3 * rng.normal(size=20_000)) + np.pi) % (2 * np.pi) - np.pi
    distance = rng.normal(size=20_000)
    axes = (Axis("φ"), Axis("r", -9, 9, periodic=False), Axis("s", 0.0, 4.0))
    columns = np.stack([angle, distance, (angle + np.pi) * 2 / np.pi], axis=1)
    found = dict(autocorrelation_times(columns, axes=axes))
    assert list(found) == ["cos φ", "sin φ", "r", "cos s", "sin s"]
    expected = (1 + np.exp(-0.045)) / (1 - np.exp(-0.045))  # ⟨cos cos⟩ decays as exp(−σ²t/2)
    for name in ("cos φ", "sin φ"):
        assert abs(found[name].time - expected) < 3 * found[name].error
    assert found["cos s"].time == pytest.approx(found["cos φ"].time)
    assert abs(found["r"].time - 1.0) < 3 * found["r"].error


def test_independent_frames_per_nanosecond_and_evaluation():
    rng = np.random.default_rng(2)
    values = chain(rng, 50_000, 0.9)[:, None]
    axes = (Axis("r", -9, 9, periodic=False),)
    samples = Samples(values, np.zeros(50_000, int), axes=axes, interval_fs=500.0, steps=250.0)
    found = memory_of(samples)
    assert found.slowest == "r"
    time = found.times[0][1].time
    assert found.per_ns == pytest.approx(2000 / time)  # 2000 frames in a nanosecond
    assert found.per_evaluation == pytest.approx(1 / (250 * time))
    unknown = memory_of(Samples(values, np.zeros(50_000, int), axes=axes))
    assert (unknown.per_ns, unknown.per_evaluation) == (None, None)
    assert memory_of(samples.take(np.arange(1))) is None


def surface_of(energy, axes):
    """A surface as if it were known, with 100 frames in each cell that is finite."""
    counts = np.where(np.isfinite(energy), 100, 0)
    return FreeEnergySurface(
        axes[0].edges(len(energy)), energy, np.zeros_like(energy), counts, 300.0, axes
    )


def middle(axis, bins):
    edges = axis.edges(bins)
    return (edges[1:] + edges[:-1]) / 2


def test_basins_of_a_periodic_landscape_have_their_minima_and_barriers():
    """F = A(1 − cos 3φ)/2 + B(1 + cos φ)/2 : minima at ±180 (deepest) and near ±60."""
    axes = (Axis("φ"),)
    x = middle(axes[0], 72)
    energy = 10 * KT * (1 + np.cos(3 * x)) / 2 + 3 * KT * (1 + np.cos(x)) / 2
    found = find_basins(surface_of(energy - energy.min(), axes))
    assert len(found.minima) == 3
    assert np.abs(np.abs(np.degrees(found.minima[0, 0])) - 180) < 5
    assert sorted(np.round(np.degrees(found.minima[1:, 0]) / 10)) == [-6, 6]
    top = energy[np.abs(np.degrees(x)) < 30].max() - 0.0
    side = energy[(np.degrees(x) > 90) & (np.degrees(x) < 150)].max()
    lowest = min(top, side)
    np.testing.assert_allclose(found.barriers, lowest - energy.min() - found.energies, atol=1e-12)
    around = np.radians([[179.0], [-179.0], [60.0], [-61.0]])
    labels = found.assign(around)
    assert labels[0] == labels[1] == 0
    assert len(set(labels)) == 3
    assert found.names[0] in ("178°", "-178°")
    core = found.assign_cores(np.radians([[180.0], [122.0]]))
    assert core.tolist() == [0, -1]


def test_barriers_below_the_threshold_make_no_basin():
    axes = (Axis("x", -2.0, 2.0, periodic=False, unit="Å"), Axis("y", -1.0, 1.0, periodic=False))
    x, y = np.meshgrid(middle(axes[0], 40), middle(axes[1], 40), indexing="ij")
    energy = 6 * KT * (x**2 - 1) ** 2 + 30 * KT * y**2 + 0.5 * KT * x
    ripples = 1.5 * KT * np.random.default_rng(0).random(energy.shape)
    noisy = surface_of(energy + ripples, axes)
    assert len(find_basins(noisy).minima) == 2
    assert len(find_basins(noisy, 0.0).minima) > 5
    assert len(find_basins(noisy, 7 * KT).minima) == 1
    deep, shallow = find_basins(noisy).minima
    assert deep[0] == pytest.approx(-1.0, abs=0.15)
    assert shallow[0] == pytest.approx(1.0, abs=0.15)
    assert find_basins(noisy).names[0].endswith(")")


def test_cells_apart_are_basins_of_their_own_if_they_hold_enough():
    axes = (Axis("x", 0.0, 9.0, periodic=False),)
    energy = np.array([0.0, 1.0, np.inf, 0.5, np.inf, np.inf, 2.0, 2.1, 2.0]) * KT
    surface = surface_of(energy, axes)
    surface.counts[3] = 9
    found = find_basins(surface, 3 * KT)
    assert found.label.tolist() == [0, 0, -1, -1, -1, -1, 1, 1, 1]
    assert found.core.tolist() == found.label.tolist()  # no way out: all of it
    assert np.isinf(found.barriers).all()
    assert found.assign([[0.5], [3.5], [10.0]]).tolist() == [0, -1, -1]
    assert len(find_basins(surface, fewest=1000).minima) == 0
    with pytest.raises(DataError, match="barrier -1 eV"):
        find_basins(surface, -1.0)
    with pytest.raises(DataError, match="core 0; expected"):
        find_basins(surface, core=0.0)
    with pytest.raises(DataError, match="2 variables and the basins 1"):
        found.assign(np.zeros((3, 2)))


def slowly(core, basins, walker):
    """Transitions frame by frame, as one would count them by hand."""
    counts, last = np.zeros((basins, basins), int), {}
    for c, w in zip(core, walker, strict=True):
        if c >= 0:
            if last.get(w, c) != c:
                counts[last[w], c] += 1
            last[w] = c
    return counts


def test_transitions_are_those_counted_frame_by_frame(rng):
    core = rng.integers(-1, 3, 5000)
    for walker in (np.zeros(5000, int), np.repeat(np.arange(5), 1000), rng.integers(0, 7, 5000)):
        found = count_transitions(core, 3, walker)
        np.testing.assert_array_equal(found.counts, slowly(core, 3, walker))
        assert found.frames.sum() + found.unassigned == 5000
        states = states_of(core, walker)
        np.testing.assert_array_equal(np.bincount(states[states >= 0]), found.frames)


def test_recrossing_a_border_is_no_transition():
    """φ jitters about the border at 0: as regions it crosses, as cores it does not."""
    degrees = np.array([-60, 5, -5, 5, -5, 5, -60, -5, 5, 60, 5, -5, 60.0])
    angles = np.stack([np.radians(degrees), np.zeros(13)], axis=1)
    cores = region_cores(angles, (C7EQ, C7AX), margin=20.0)
    assert cores.tolist() == [0, -1, -1, -1, -1, -1, 0, -1, -1, 1, -1, -1, 1]
    assert count_transitions(cores, 2).counts.tolist() == [[0, 1], [0, 0]]
    naive = np.where(degrees > 0, 1, 0)
    assert count_transitions(naive, 2).total == 9
    assert C7AX.shrunk(20.0) == Region("C7ax", (20.0, 160.0), (-180.0, 180.0))
    with pytest.raises(DataError, match="margin of 90 degrees leaves nothing of C7ax"):
        C7AX.shrunk(90.0)
    with pytest.raises(DataError, match="core of other overlaps"):
        region_cores(angles, (C7EQ, Region("other", (-90.0, 0.0))), margin=5.0)


def test_walkers_in_different_basins_made_no_transition():
    core = np.repeat([0, 1, 0, 1], 10)
    assert count_transitions(core, 2, np.repeat(np.arange(4), 10)).total == 0
    assert count_transitions(core, 2).total == 3


def test_rates_of_a_two_state_process_are_known_with_their_intervals():
    """Jumps with probability p₁ and p₂ a step: 90 % and more of 95 % intervals hold the rates."""
    rng = np.random.default_rng(5)
    p, held, interval = (0.002, 0.004), 0, 100.0
    for _ in range(100):
        state, states = 0, np.empty(20_000, dtype=int)
        draws = rng.random(20_000)
        for n, draw in enumerate(draws):
            state = 1 - state if draw < p[state] else state
            states[n] = state
        found = count_transitions(states, 2, interval_fs=interval)
        rates = np.array(p) / (interval * 1e-6)
        low, high = (
            np.array([found.low[0, 1], found.low[1, 0]]),
            [found.high[0, 1], found.high[1, 0]],
        )
        held += int(((low <= rates) & (rates <= high)).sum())
    assert 185 <= held <= 200
    assert np.isnan(found.rates[0, 0])
    assert np.isnan(count_transitions(states, 2).rates).all()


def test_intervals_of_rates_are_garwoods():
    """The ends are the means at which so few, or so many, have a probability of 2.5 %."""
    core = np.repeat([0, 1, 0, 1, 0], 200)
    found = count_transitions(core, 2, interval_fs=1e6)  # a frame a nanosecond
    low, high = found.low[0, 1] * found.frames[0], found.high[0, 1] * found.frames[0]
    assert found.counts[0, 1] == 2
    assert poisson.sf(1, low) == pytest.approx(0.025)
    assert poisson.cdf(2, high) == pytest.approx(0.025)
    never = count_transitions(np.zeros(100, int), 2, interval_fs=1e6)
    assert never.low[0, 1] == 0.0
    assert never.high[0, 1] * 100 == pytest.approx(-np.log(0.025))


@pytest.mark.parametrize(
    ("core", "options", "message"),
    [
        ([0, 3], {}, "cores lie between 0 and 3; expected −1 for none, to 1"),
        ([0.5, 1.0], {}, "expected integers"),
        ([0, 1], {"walker": [0]}, r"\(2,\) and \(1,\)"),
        ([0, 1], {"interval_fs": 0.0}, "time between frames is 0 fs"),
    ],
)
def test_cores_that_are_not_sound(core, options, message):
    with pytest.raises(DataError, match=message):
        count_transitions(core, 2, **options)


def test_an_analysis_counts_the_jumps_of_a_run():
    """Two walkers that jump between two von Mises wells; the pieces of a walker are not joined."""
    rng = np.random.default_rng(3)
    state = np.repeat(np.tile([0, 1], 20), 50)
    centres = np.array([[-1.4, 1.0], [1.0, -0.6]])[state]
    samples = Samples(rng.vonmises(centres, 12.0), np.repeat([0, 1], 1000), interval_fs=1000.0)
    found = analyze(samples, AnalysisSettings(bandwidth=0.2))
    assert len(found.basins.minima) == 2
    assert found.transitions.total == 2 * 19
    cut = Samples(samples.values, samples.walker, piece=np.arange(2000) // 50)
    assert analyze(cut, AnalysisSettings(bandwidth=0.2)).transitions.total == 0
    assert analyze(samples, AnalysisSettings(basins=False)).basins is None
    assert analyze(samples.take(np.arange(9))).basins is None  # no ten frames anywhere
