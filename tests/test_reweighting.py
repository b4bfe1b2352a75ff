"""Reweighting, surfaces and errors against densities, chains and potentials solved by formula."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import vonmises

from uncv.analysis import (
    C7AX,
    C7EQ,
    FreeEnergySurface,
    Region,
    bias_weights,
    block_error,
    compare_surfaces,
    effective_sample_size,
    free_energy_difference,
    free_energy_surface,
    is_surface,
    load_surface,
    parse_region,
    perturb,
    save_surface,
    walker_error,
)
from uncv.errors import DataError, FileFormatError

KT = 8.617333262e-5 * 300.0


class TwoBasins:
    """A density on the torus: two products of von Mises densities, one basin either side of φ = 0.

    The biased density holds as many frames in each basin. V = k_BT ln(p/q), up to a constant, turns
    the one into the other.
    """

    left = ((-1.2, 6.0), (1.0, 4.0))  # centre and κ of φ, of ψ
    right = ((1.1, 8.0), (-0.6, 5.0))
    share = 0.03

    def parts(self, phi, psi):
        return [
            vonmises.pdf(phi, b[0][1], loc=b[0][0]) * vonmises.pdf(psi, b[1][1], loc=b[1][0])
            for b in (self.left, self.right)
        ]

    def density(self, phi, psi, share=share):
        left, right = self.parts(phi, psi)
        return (1 - share) * left + share * right

    def bias(self, angles):
        """V of biased frames, eV."""
        true, biased = (self.density(*angles.T, share) for share in (self.share, 0.5))
        return KT * np.log(true / biased)

    def sample(self, rng, number, share=0.5):
        choice = rng.random(number) < share
        centres = np.where(choice[:, None], [b[0] for b in self.right], [b[0] for b in self.left])
        kappas = np.where(choice[:, None], [b[1] for b in self.right], [b[1] for b in self.left])
        return rng.vonmises(centres, kappas)

    def above_zero(self, share=share):
        """P(φ > 0) from the distribution function."""
        left, right = (
            vonmises.cdf(np.pi, k, loc=c) - vonmises.cdf(0, k, loc=c)
            for c, k in (self.left[0], self.right[0])
        )
        return (1 - share) * left + share * right


@pytest.fixture
def basins():
    return TwoBasins()


def difference_of(basins) -> float:
    above = basins.above_zero()
    return -KT * np.log(above / (1 - above))


def test_a_known_bias_gives_the_known_difference_within_its_error(basins, rng):
    expected = difference_of(basins)
    scores = []
    for _ in range(40):
        angles = basins.sample(rng, 2000)
        found = free_energy_difference(angles, 300.0, weights=bias_weights(basins.bias(angles)))
        scores.append((found.value - expected) / found.error)
    assert 0.7 < np.std(scores) < 1.3
    assert abs(np.mean(scores)) < 3 / np.sqrt(40)


def test_a_known_bias_gives_the_known_surface_within_its_errors(basins, rng):
    angles = basins.sample(rng, 400_000)
    weights = bias_weights(basins.bias(angles))
    surface = free_energy_surface(angles, 300.0, weights=weights, bins=24)
    fine = (np.arange(24 * 8) + 0.5) / (24 * 8) * 2 * np.pi - np.pi
    density = basins.density(*np.meshgrid(fine, fine, indexing="ij"))
    expected = -KT * np.log(density.reshape(24, 8, 24, 8).mean(axis=(1, 3)))
    seen = surface.counts > 200
    assert seen.sum() > 100
    difference = (surface.free_energy - expected)[seen]
    scores = (difference - difference[np.argmin(expected[seen])]) / surface.error[seen]
    assert 0.7 < np.sqrt(np.mean(scores**2)) < 1.4
    assert np.isinf(surface.free_energy[surface.counts == 0]).all()
    assert np.isinf(surface.error[surface.counts == 0]).all()
    assert surface.free_energy.min() == 0.0


def test_unbiased_and_biased_frames_agree_after_reweighting(basins, rng):
    plain = free_energy_surface(basins.sample(rng, 200_000, basins.share), bins=18)
    angles = basins.sample(rng, 200_000)
    biased = free_energy_surface(angles, weights=bias_weights(basins.bias(angles)), bins=18)
    found = compare_surfaces(biased, plain, 5 * KT)
    assert found.rmsd < 0.1 * KT
    assert found.missing == 0
    wrong = compare_surfaces(free_energy_surface(angles, bins=18), plain, 5 * KT)
    assert wrong.rmsd > KT


def test_weights_do_not_overflow_and_follow_the_formula():
    bias = np.array([0.0, 0.01, 0.05])
    expected = np.exp(bias / KT) / np.exp(bias / KT).sum()
    np.testing.assert_allclose(bias_weights(bias), expected)
    np.testing.assert_allclose(bias_weights(bias + 1e4), expected, rtol=1e-9)
    np.testing.assert_allclose(bias_weights([0.0, 1e4]), [0.0, 1.0])


def test_walkers_with_a_bias_of_their_own_count_by_their_frames():
    """A constant added to the bias of one walker changes nothing then, and everything otherwise."""
    bias, walker = np.array([0.0, 0.02, 0.01]), np.array(["b", "b", "a"])
    weights = bias_weights(bias, walker=walker)
    assert weights[2] == pytest.approx(1 / 3)
    assert weights[1] / weights[0] == pytest.approx(np.exp(0.02 / KT))
    moved = bias + np.array([3.0, 3.0, 0.0])
    np.testing.assert_allclose(bias_weights(moved, walker=walker), weights)
    assert bias_weights(moved)[2] == pytest.approx(0.0, abs=1e-12)


def test_effective_sample_size_between_one_and_all():
    assert effective_sample_size(np.ones(7)) == pytest.approx(7.0)
    assert effective_sample_size([0.0, 5.0]) == pytest.approx(1.0)
    assert effective_sample_size([3.0, 1.0]) == pytest.approx(16.0 / 10.0)
    assert effective_sample_size([0.0]) == 0.0


def chains(rng, number, length, memory):
    """AR(1) chains of unit variance that start in equilibrium, (number, length)."""
    noise = rng.normal(size=(number, length)) * np.sqrt(1 - memory**2)
    start = rng.normal(size=(number, 1)) * memory
    return lfilter([1.0], [1.0, -memory], noise, zi=start, axis=1)[0]


@pytest.mark.parametrize("memory", [0.0, 0.9, 0.97])
def test_block_errors_of_a_mean_are_calibrated(rng, memory):
    """The variance of the mean of an AR(1) chain is (1 + a)/(1 − a)/T to first order in 1/T."""
    length = 8192
    expected = np.sqrt((1 + memory) / (1 - memory) / length)
    found = [
        block_error((chain - chain.mean()) / length).error
        for chain in chains(rng, 60, length, memory)
    ]
    assert np.mean(found) == pytest.approx(expected, rel=0.12)


def test_block_errors_over_several_walkers(rng):
    """Eight walkers of 1024 steps are as one of 8192; unequal ones are no different."""
    memory, walker = 0.9, np.repeat(np.arange(8), 1024)
    expected = np.sqrt((1 + memory) / (1 - memory) / 8192)
    runs = chains(rng, 8 * 60, 1024, memory).reshape(60, -1)
    found = [block_error((run - run.mean()) / run.size, walker) for run in runs]
    assert np.mean([one.error for one in found]) == pytest.approx(expected, rel=0.12)
    assert {one.reason for one in found} == {""}
    whole = [walker_error((run - run.mean()) / run.size, walker) for run in runs]
    assert np.sqrt(np.mean(np.square(whole))) == pytest.approx(expected, rel=0.15)
    uneven = np.repeat(np.arange(3), [5000, 3000, 192])
    found = [block_error((run - run.mean()) / run.size, uneven).error for run in runs]
    assert np.mean(found) == pytest.approx(expected, rel=0.15)


def test_correlation_as_long_as_the_run_gives_an_infinite_error(rng):
    slow = np.linspace(-1.0, 1.0, 512)
    found = block_error(slow / 512)
    assert found.error == np.inf
    assert "run longer" in found.reason


def test_correlation_as_long_as_the_walkers_makes_each_one_block():
    """Eight walkers of which each stays where it began: the error of eight numbers."""
    values = np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    walker = np.repeat(np.arange(8), 64)
    found = block_error(np.repeat(values, 64) / 512, walker)
    assert found.error == pytest.approx(np.std(values, ddof=1) / np.sqrt(8))
    assert found.blocks == 8
    assert found.length == 64
    assert "each walker is one block" in found.reason
    assert np.isnan(walker_error(values[:3], np.arange(3)))


def test_nothing_that_varies_has_no_error():
    assert block_error(np.zeros(5)).error == 0.0
    assert block_error([0.5]).error == np.inf


@pytest.mark.parametrize(
    ("values", "walker", "message"),
    [([], None, "at least one"), ([1.0, np.nan], None, "NaN"), ([1.0], [1, 2], r"\(1,\) and \(2,")],
)
def test_contributions_that_are_not_sound(values, walker, message):
    with pytest.raises(DataError, match=message):
        block_error(values, walker)


def harmonic(rng, number, stiff, stiffer, constant):
    positions = rng.normal(size=number) * np.sqrt(KT / stiff)
    return 0.5 * stiffer * positions**2 + constant, 0.5 * stiff * positions**2


def test_perturbation_of_an_oscillator_has_the_known_free_energy(rng):
    """ΔF = c + k_BT/2 ln(k₁/k₀), and ⟨w⟩²/⟨w²⟩ = √(k₀(2k₁ − k₀))/k₁."""
    k0, k1, constant = 1.0, 1.6, 0.3
    scores, shares = [], []
    for _ in range(40):
        found = perturb(*harmonic(rng, 2000, k0, k1, constant))
        scores.append((found.free_energy - constant - KT / 2 * np.log(k1 / k0)) / found.error)
        shares.append(found.effective_sample_size / 2000)
        assert found.weights.sum() == pytest.approx(1.0)
        assert found.effective_before == pytest.approx(2000)
    assert 0.7 < np.std(scores) < 1.3
    assert abs(np.mean(scores)) < 3 / np.sqrt(40)
    assert np.mean(shares) == pytest.approx(np.sqrt(k0 * (2 * k1 - k0)) / k1, rel=0.02)


def test_perturbed_frames_have_the_averages_of_the_other_potential(rng):
    energy, reference = harmonic(rng, 50_000, 1.0, 1.6, 0.0)
    found = perturb(energy, reference)
    assert found.weights @ energy == pytest.approx(KT / 2, rel=0.03)  # equipartition
    assert found.spread == pytest.approx(0.6 * KT / np.sqrt(2), rel=0.05)
    again = perturb(energy + 100.0, reference - 100.0, weights=np.full(50_000, 7.0))
    np.testing.assert_allclose(again.weights, found.weights, rtol=1e-6)
    assert again.free_energy - found.free_energy == pytest.approx(200.0)


def test_perturbation_of_biased_frames(basins, rng):
    """Their bias is undone, and they are perturbed by an energy that favours φ > 0."""
    angles = basins.sample(rng, 20_000)
    added = np.where(angles[:, 0] > 0, -3 * KT, 0.0)
    weights = bias_weights(basins.bias(angles))
    found = perturb(added, np.zeros(len(added)), weights=weights)
    difference = free_energy_difference(angles, weights=found.weights)
    assert difference.value == pytest.approx(difference_of(basins) - 3 * KT, abs=0.1 * KT)
    assert found.effective_before == pytest.approx(effective_sample_size(weights))


def test_perturbation_of_what_does_not_fit():
    with pytest.raises(DataError, match=r"shapes \(2,\) and \(1,\)"):
        perturb([1.0, 2.0], [1.0, 2.0], weights=[1.0])
    with pytest.raises(DataError, match="NaN, infinite or negative"):
        perturb([np.nan], [1.0])


def test_a_kernel_is_the_wrapped_normal_density():
    """One frame near the edge of the torus; the density is summed over its images."""
    bins, width = 72, 0.3
    point = np.array([[np.pi - 2.5 * 2 * np.pi / bins, 0.5 * 2 * np.pi / bins]])
    surface = free_energy_surface(point, bins=bins, bandwidth=width)
    centres = (surface.edges[1:] + surface.edges[:-1]) / 2

    def wrapped(x):
        images = x + 2 * np.pi * np.arange(-2, 3)[:, None]
        return np.exp(-(images**2) / (2 * width**2)).sum(axis=0)

    density = np.outer(wrapped(centres - point[0, 0]), wrapped(centres - point[0, 1]))
    expected = -KT * np.log(density / density.max())
    near = expected < 4 * KT
    assert near[0].any()  # beyond 180 degrees
    np.testing.assert_allclose(surface.free_energy[near], expected[near], atol=0.03 * KT)


def test_regions_are_periodic_rectangles():
    degrees = np.array([[10, 0], [-10, 0], [170, 100], [-180, -180], [125, 0], [0, 179]])
    angles = np.radians(degrees)
    assert C7AX.contains(angles).tolist() == [True, False, True, False, True, True]
    assert C7EQ.contains(angles).tolist() == [False, True, False, True, False, False]
    around = Region("round", (125.0, 0.0), (90.0, -90.0))
    assert around.contains(angles).tolist() == [False, False, True, True, False, False]
    assert parse_region("a b = 0, 90 ,-45,45") == Region("a b", (0.0, 90.0), (-45.0, 45.0))
    for wrong in ("x", "x=1", "x=1,2,3", "=0,1", "x=a,b", "x=0,nan"):
        with pytest.raises(DataError, match="is not understood; expected NAME="):
            parse_region(wrong)


def test_difference_counts_frames_and_crossings(rng):
    """Two walkers, 200 frames each, that change side every tenth frame."""
    side = np.tile(np.repeat([1.0, -1.0], 10), 20)
    angles = np.stack([side, rng.normal(size=400)], axis=1)
    found = free_energy_difference(angles, walker=np.repeat([0, 1], 200))
    assert found.value == pytest.approx(0.0, abs=1e-12)
    assert found.frames == (200, 200)
    assert found.crossings == 2 * 19
    assert found.populations == pytest.approx((0.5, 0.5))
    assert found.regions == (C7AX, C7EQ)


def test_regions_hardly_visited_have_an_infinite_error_with_its_reason():
    left = np.full((100, 2), -1.0)
    never = free_energy_difference(left)
    assert never.value == np.inf
    assert never.error == np.inf
    assert never.reason == "C7ax was not visited"
    assert free_energy_difference(-left).value == -np.inf
    few = left.copy()
    few[50:55] = 1.0
    found = free_energy_difference(few)
    assert found.value == pytest.approx(-KT * np.log(5 / 95))
    assert found.error == np.inf
    assert found.reason == "C7ax holds 5.0 effective frames, fewer than 10"
    stuck = free_energy_difference(np.concatenate([left, -left]), walker=np.repeat([0, 1], 100))
    assert stuck.error == np.inf
    assert stuck.reason == "no walker went from C7ax to C7eq or back"


@pytest.mark.parametrize(
    ("angles", "options", "message"),
    [
        (np.ones((4, 2)), {"second": C7AX}, "overlap: 4 frames lie in both"),
        (np.ones((4, 2)), {"first": Region("x", (-9.0, -1.0))}, "no frame lies in x or C7eq"),
        (np.ones((4, 3)), {}, "expected at least one frame"),
        (np.ones((4, 2)), {"weights": [1.0]}, "expected one for each frame"),
        (np.ones((1, 2)), {"weights": [0.0]}, "all weights are zero"),
        (np.ones((1, 2)), {"weights": [-1.0]}, "NaN, infinite or negative"),
        (np.full((1, 2), np.nan), {}, "NaN, infinite or negative"),
    ],
)
def test_differences_that_mean_nothing(angles, options, message):
    with pytest.raises(DataError, match=message):
        free_energy_difference(angles, **options)


def flat(value=0.0, bins=4, temperature=300.0) -> FreeEnergySurface:
    energy = np.full((bins, bins), value)
    edges = np.linspace(-np.pi, np.pi, bins + 1)
    return FreeEnergySurface(edges, energy, energy + 0.1, np.ones((bins, bins), int), temperature)


def test_comparison_aligns_and_names_what_is_missing():
    reference, surface = flat(), flat(0.5)
    reference.free_energy[0] = 0.3  # above the cutoff: does not count
    surface.free_energy[1, 0] += 0.1
    surface.free_energy[1, 1] = np.inf
    found = compare_surfaces(surface, reference, 0.2)
    assert (found.cells, found.missing) == (11, 1)
    deviations = np.array([0.1] + 10 * [0.0]) - 0.1 / 11
    assert found.rmsd == pytest.approx(np.sqrt(np.mean(deviations**2)))
    assert found.largest == pytest.approx(0.1 - 0.1 / 11)
    assert found.shift == pytest.approx(-0.5 - 0.1 / 11)
    nothing = compare_surfaces(flat(np.inf), flat())
    assert (nothing.rmsd, nothing.cells, nothing.missing) == (np.inf, 0, 16)


@pytest.mark.parametrize(
    ("other", "message"),
    [(flat(bins=6), "the reference 6; make"), (flat(temperature=310.0), "of 310 K; compare")],
)
def test_surfaces_that_cannot_be_compared(other, message):
    with pytest.raises(DataError, match=message):
        compare_surfaces(flat(), other)


def test_a_surface_survives_its_file(basins, rng, tmp_path):
    angles = basins.sample(rng, 5000, 0.3)
    surface = free_energy_surface(angles, 310.0, bins=12)
    difference = free_energy_difference(angles, 310.0)
    save_surface(tmp_path / "s.npz", surface, difference)
    saved = load_surface(tmp_path / "s.npz")
    for name, kept in saved.surface._asdict().items():
        np.testing.assert_array_equal(kept, getattr(surface, name))
    assert saved.regions == (C7AX, C7EQ)
    assert (saved.value, saved.error) == (difference.value, difference.error)
    assert is_surface(tmp_path / "s.npz")
    save_surface(tmp_path / "plain.npz", surface)
    assert load_surface(tmp_path / "plain.npz").regions is None


def test_files_that_are_no_surface(tmp_path):
    np.savez(tmp_path / "other.npz", x=np.ones(2))
    (tmp_path / "text.npz").write_text("no archive")
    for name in ("other.npz", "text.npz"):
        assert not is_surface(tmp_path / name)
        with pytest.raises(FileFormatError, match="is not a free-energy surface"):
            load_surface(tmp_path / name)
    np.savez(tmp_path / "late.npz", uncv_surface=np.array(99))
    with pytest.raises(FileFormatError, match="format 99; this uncv reads up to 2"):
        load_surface(tmp_path / "late.npz")
    with pytest.raises(FileNotFoundError):
        load_surface(tmp_path / "none.npz")
    assert not is_surface(tmp_path / "none.npz")


@pytest.mark.parametrize("options", [{"bins": 1}, {"bandwidth": -0.1}, {"temperature": 0.0}])
def test_settings_of_a_surface(options):
    with pytest.raises(DataError, match="expected at least 2 bins"):
        free_energy_surface(np.ones((3, 2)), **options)


@pytest.mark.parametrize(
    ("bias", "walker", "message"),
    [
        ([], None, "one value for each frame"),
        ([1.0, np.nan], None, "1 of 2 frames is NaN"),
        ([1.0, 2.0], [0], r"\(1,\) walkers are given for \(2,\) frames"),
    ],
)
def test_biases_that_are_not_sound(bias, walker, message):
    with pytest.raises(DataError, match=message):
        bias_weights(bias, walker=walker)
