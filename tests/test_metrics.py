"""Metrics against SciPy, scikit-learn, quadrature and hand; intervals by brute force."""

from __future__ import annotations

from functools import partial
from itertools import permutations

import numpy as np
import pytest
from scipy import integrate, optimize, stats
from sklearn.metrics import roc_auc_score

from uncv import metrics
from uncv.metrics import Bootstrap
from uncv.metrics.bootstrap import _resamples, points

NONE = Bootstrap(resamples=0)
ALL = {
    "spearman": metrics.spearman,
    "auroc": metrics.auroc,
    "ause": metrics.ause,
    "miscalibration_area": metrics.miscalibration_area,
    "miscalibration_area of vectors": partial(metrics.miscalibration_area, components=3),
    "nll": metrics.nll,
    "calibrated_nll": metrics.calibrated_nll,
    "crps": metrics.crps,
    "crps of vectors": partial(metrics.crps, components=3),
    "sharpness": lambda u, r, frame=None, **more: metrics.sharpness(u, frame, **more),
    "coverage": metrics.coverage,
}


def value(metric, *arguments, **more) -> float:
    return metric(*arguments, bootstrap=NONE, **more).value


def ordinary(rng, n=60):
    """Uncertainties and normal errors of that size."""
    u = rng.lognormal(size=n)
    return u, u * rng.normal(size=n)


def tied(rng, n=60):
    """Few different values of both."""
    return rng.integers(1, 6, size=n) / 2.0, rng.integers(0, 5, size=n) / 3.0


def vectors(rng, n):
    """Uncertainties, errors with three components of that size, and their root mean squares."""
    u = rng.lognormal(size=n)
    error = u[:, None] * rng.normal(size=(n, 3))
    return u, error, np.sqrt(np.mean(error**2, axis=1))


@pytest.mark.parametrize("made", [ordinary, tied])
def test_spearman_is_scipys(rng, made):
    u, r = made(rng)
    expected = stats.spearmanr(u, abs(r)).statistic
    assert value(metrics.spearman, u, r) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("made", [ordinary, tied])
@pytest.mark.parametrize(("quantile", "n"), [(0.8, 60), (0.8, 61), (0.5, 5)])
def test_auroc_is_scikit_learns(rng, made, quantile, n):
    u, r = made(rng, n)
    expected = roc_auc_score(abs(r) > np.quantile(abs(r), quantile), u)
    assert value(metrics.auroc, u, r, quantile=quantile) == pytest.approx(expected, abs=1e-14)
    curve = metrics.roc_curve(u, r, quantile=quantile)
    area = np.trapezoid(curve.true_positive, curve.false_positive)
    assert area == pytest.approx(expected, abs=1e-14)
    assert (curve.true_positive[[0, -1]] == [0, 1]).all()


def test_ause_of_five_points_by_hand():
    r, u = [1.0, 2.0, 3.0, 4.0, 5.0], [0.1, 0.2, 0.3, 0.5, 0.4]
    # Left out by u: 4, 5, 3, 2; means of the rest 3, 11/4, 2, 3/2, 1. By error: 3, 5/2, 2, 3/2, 1.
    assert value(metrics.ause, u, r) == pytest.approx((11 / 4 - 5 / 2) / 5 / 3, abs=1e-15)
    curve = metrics.sparsification_curve(u, r)
    np.testing.assert_allclose(curve.removed, [0, 0.2, 0.4, 0.6, 0.8])
    np.testing.assert_allclose(3 * curve.by_uncertainty, [3, 11 / 4, 2, 3 / 2, 1])
    np.testing.assert_allclose(3 * curve.by_error, [3, 5 / 2, 2, 3 / 2, 1])


def test_ause_is_zero_for_the_errors_themselves(rng):
    r = rng.lognormal(size=50)
    assert value(metrics.ause, r, r) == pytest.approx(0.0, abs=1e-14)
    assert value(metrics.ause, np.exp(3 * r), -r) == pytest.approx(0.0, abs=1e-14)


@pytest.mark.parametrize("u", [[1, 1, 1, 1, 1], [2, 1, 2, 3, 1], [5, 1, 5, 5, 1]])
def test_ause_of_ties_is_the_mean_over_their_orders(u):
    r = np.array([0.5, 2.0, 0.1, 1.0, 3.0])
    # Every order of tied points is one of the orders of points moved apart by a little.
    apart = [value(metrics.ause, u + 1e-6 * np.array(p), r) for p in permutations(range(5))]
    assert value(metrics.ause, u, r) == pytest.approx(np.mean(apart), abs=1e-12)
    if len(set(u)) == 1:
        assert metrics.ause_of_random_order(r) == pytest.approx(np.mean(apart), abs=1e-12)


@pytest.mark.parametrize("made", [ordinary, tied])
def test_ause_is_the_area_between_the_curves(rng, made):
    u, r = made(rng)
    curve = metrics.sparsification_curve(u, r)
    expected = np.mean(curve.by_uncertainty - curve.by_error)
    assert value(metrics.ause, u, r) == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("components", [1, 3])
def test_miscalibration_area_is_the_integral_of_the_curve(rng, components):
    u, _, r = vectors(rng, 40)
    levels = stats.chi(components).cdf(np.sqrt(components) * r / u)
    grid = np.linspace(0, 1, 200_001)
    observed = (levels[:, None] <= grid[None, ::100]).mean(axis=0)
    curve = metrics.calibration_curve(u, r, components=components, levels=2001)
    np.testing.assert_allclose(curve.observed, observed, atol=1e-15)
    fine = np.searchsorted(np.sort(levels), grid, "right") / 40
    found = value(metrics.miscalibration_area, u, r, components=components)
    assert found == pytest.approx(np.mean(abs(fine - grid)), abs=1e-5)


@pytest.mark.parametrize("components", [1, 3])
def test_a_calibrated_set_has_the_area_of_chance(rng, components):
    n = 4000
    areas = []
    for _ in range(20):
        u, error, _ = vectors(rng, n)
        r = np.sqrt(np.mean(error[:, :components] ** 2, axis=1))
        areas.append(value(metrics.miscalibration_area, u, r, components=components))
    # The mean of ∫|B(p)|dp of a Brownian bridge is √(2/π) π/8 = 0.3133, its deviation 0.18 or so.
    assert np.mean(areas) * np.sqrt(n) == pytest.approx(0.3133, abs=4 * 0.18 / np.sqrt(20))


def test_the_area_of_too_large_uncertainties(rng):
    u, r = ordinary(rng, 20_000)
    # With 3u in place of u an interval of level p holds what 3 times its width should.
    observed = lambda p: stats.chi(1).cdf(3.0 * stats.chi(1).ppf(p))  # noqa: E731
    expected, _ = integrate.quad(lambda p: observed(p) - p, 0, 1)
    found = value(metrics.miscalibration_area, 3.0 * u, r)
    assert found == pytest.approx(expected, abs=3 / np.sqrt(20_000))
    assert expected > 0.2


def test_negative_log_likelihood_of_single_errors_and_of_components(rng):
    u, error, r = vectors(rng, 50)
    single = -stats.norm(0, u).logpdf(error[:, 0])
    assert value(metrics.nll, u, error[:, 0]) == pytest.approx(single.mean(), abs=1e-13)
    every = -stats.norm(0, u[:, None]).logpdf(error)
    assert value(metrics.nll, u, r) == pytest.approx(every.mean(), abs=1e-13)


def test_likelihood_agrees_with_the_chi_distribution_of_the_length(rng):
    """The density of the length of a vector is that of its components times 4π length²."""
    u, _, r = vectors(rng, 50)
    length = np.sqrt(3) * r
    density = stats.chi(3, scale=u).logpdf(length) - np.log(4 * np.pi * length**2)
    assert 3 * value(metrics.nll, u, r) == pytest.approx(-density.mean(), abs=1e-12)


def test_calibrated_likelihood_is_that_of_the_best_scale(rng):
    u, r = ordinary(rng)
    best = optimize.minimize_scalar(
        lambda log: value(metrics.nll, np.exp(log) * 0.2 * u, r), tol=1e-10
    )
    found = value(metrics.calibrated_nll, 0.2 * u, r)
    assert found == pytest.approx(best.fun, abs=1e-10)
    assert metrics.gaussian_scale(0.2 * u, r) == pytest.approx(np.exp(best.x), rel=1e-4)
    assert found == pytest.approx(value(metrics.calibrated_nll, 7.0 * u, r), abs=1e-12)
    given = value(metrics.calibrated_nll, u, r, scale=2.5)
    assert given == pytest.approx(value(metrics.nll, 2.5 * u, r), abs=1e-14)


@pytest.mark.parametrize("error", [-0.7, 0.0, 2.0])
def test_crps_is_the_integral_of_the_squared_difference(error):
    u = 0.4
    parts = [
        integrate.quad(lambda x: stats.norm.cdf(x, 0, u) ** 2, -8, error)[0],
        integrate.quad(lambda x: stats.norm.sf(x, 0, u) ** 2, error, 8)[0],
    ]
    assert value(metrics.crps, [u, u], [error, error]) == pytest.approx(sum(parts), abs=1e-9)


@pytest.mark.parametrize("r", [0.0, 1e-7, 0.3, 4.0])
def test_crps_of_vectors_is_the_mean_over_orientations(r):
    u = 0.6
    one = lambda cosine: value(metrics.crps, [u, u], [np.sqrt(3) * r * cosine] * 2)  # noqa: E731
    expected, _ = integrate.quad(one, 0, 1)
    found = value(metrics.crps, [u, u], [r, r], components=3)
    assert found == pytest.approx(expected, abs=1e-10)


def test_ence_of_two_bins_by_hand():
    u = np.repeat([1.0, 2.0], 10)
    r = np.repeat([1.5, 2.0], 10)
    assert value(metrics.ence, u, r) == pytest.approx((0.5 + 0.0) / 2)
    # Ten points to a bin at least: of 19 there is one bin.
    one = np.sqrt(np.mean(r[1:] ** 2) / np.mean(u[1:] ** 2)) - 1.0
    assert value(metrics.ence, u[1:], r[1:]) == pytest.approx(one)


def test_ence_of_chance(rng):
    n, bins = 20_000, 10
    u, r = ordinary(rng, n)
    assert value(metrics.ence, u, r, bins=bins) < 2 * 0.56 * np.sqrt(bins / n)
    assert value(metrics.ence, 2 * u, r, bins=bins) == pytest.approx(0.5, abs=0.02)


def test_sharpness_and_coverage():
    assert value(metrics.sharpness, [3.0, 4.0]) == pytest.approx(np.sqrt(12.5))
    assert value(metrics.coverage, [1.0, 1.0, 1.0, 1.0], [0.5, -1.0, 1.1, -2.0]) == 0.5


@pytest.mark.parametrize("components", [1, 2, 3])
def test_levels_and_widths(components):
    chi = stats.chi(components)
    level = metrics.level_of_width(1.3, components)
    assert level == pytest.approx(chi.cdf(np.sqrt(components) * 1.3), abs=1e-14)
    assert metrics.width_of_level(level, components) == pytest.approx(1.3)


@pytest.mark.parametrize("made", [ordinary, tied])
@pytest.mark.parametrize("name", ALL)
def test_intervals_are_those_of_copied_points(rng, name, made):
    """The weighted statistics must equal the plain ones of resampled frames, copies and all."""
    u, r = made(rng, 40)
    frame = np.sort(rng.integers(0, 12, size=40)) * 10  # labels with gaps, frames of any size
    how = Bootstrap(resamples=30, seed=5)
    data = points(u, r, frame)
    copied = []
    for weights in np.concatenate(list(_resamples(data, how))):
        times = weights[data.frame].astype(int)
        copied.append(value(ALL[name], np.repeat(u, times), np.repeat(r, times)))
    found = ALL[name](u, r, frame, bootstrap=how)
    expected = np.nanquantile(copied, [0.025, 0.975])
    np.testing.assert_allclose([found.low, found.high], expected, rtol=1e-11, atol=1e-12)
    assert found.value == pytest.approx(value(ALL[name], u, r), rel=1e-13)


def test_ence_keeps_its_bins_in_resamples(rng):
    u, r = ordinary(rng, 40)
    how = Bootstrap(resamples=20)
    cuts = np.quantile(u, [0.25, 0.5, 0.75])
    gaps = []
    for weights in np.concatenate(list(_resamples(points(u, r), how))):
        bins = [np.repeat(np.flatnonzero(b), weights[b].astype(int)) for b in
                (np.searchsorted(cuts, u) == k for k in range(4))]  # fmt: skip
        gaps.append(
            np.mean([abs(1 - np.sqrt(np.mean(r[b] ** 2) / np.mean(u[b] ** 2))) for b in bins])
        )
    found = metrics.ence(u, r, bootstrap=how)
    np.testing.assert_allclose(found[1:], np.quantile(gaps, [0.025, 0.975]))


def test_intervals_hold_the_truth_as_often_as_they_say(rng):
    """Spearman's correlation of a binormal distribution is (6/π) asin(ρ/2)."""
    rho, held = 0.6, 0
    truth = 6 / np.pi * np.arcsin(rho / 2)
    for seed in range(200):
        x, y = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], size=100).T
        found = metrics.spearman(x, np.exp(y), bootstrap=Bootstrap(200, seed))
        held += found.low <= truth <= found.high
    low, high = stats.binom.interval(0.999, 200, 0.94)  # percentiles are a little narrow at 100
    assert low <= held <= high


def test_frames_are_drawn_and_not_points(rng):
    """Ten copies of each point in its frame tell no more than one, and leave the interval."""
    u, r = ordinary(rng, 200)
    one = metrics.nll(u, r, bootstrap=Bootstrap(2000))
    ten = metrics.nll(np.repeat(u, 10), np.repeat(r, 10), np.repeat(np.arange(200), 10))
    careless = metrics.nll(np.repeat(u, 10), np.repeat(r, 10))
    assert ten.high - ten.low == pytest.approx(one.high - one.low, rel=0.15)
    narrower = (careless.high - careless.low) / (one.high - one.low)
    assert narrower == pytest.approx(1 / np.sqrt(10), rel=0.15)


def test_seeds_levels_and_chunks(rng):
    u, r = ordinary(rng, 3000)
    first = metrics.spearman(u, r, bootstrap=Bootstrap(100, seed=1))
    assert first == metrics.spearman(u, r, bootstrap=Bootstrap(100, seed=1))
    assert first != metrics.spearman(u, r, bootstrap=Bootstrap(100, seed=2))
    narrow = metrics.spearman(u, r, bootstrap=Bootstrap(100, seed=1, level=0.5))
    assert first.low < narrow.low < narrow.value < narrow.high < first.high


@pytest.mark.parametrize(
    ("name", "u", "r"),
    [
        ("spearman", [1, 1, 1], [1, 2, 3]),
        ("spearman", [1, 2, 3], [2, 2, 2]),
        ("auroc", [1, 2, 3], [2, 2, 2]),
        ("ause", [1, 2, 3], [0, 0, 0]),
        ("calibrated_nll", [1, 2, 3], [0, 0, 0]),
    ],
)
def test_undefined_metrics_are_nan_without_a_warning(name, u, r):
    assert np.isnan(ALL[name](u, r)).all()


def test_constant_uncertainties_rank_nothing():
    u, r = np.ones(10), np.arange(10.0)
    assert value(metrics.auroc, u, r) == 0.5
    assert value(metrics.ause, u, r) == metrics.ause_of_random_order(r)
    assert metrics.roc_curve(r + 1, u) is None
    assert metrics.sparsification_curve(u, 0 * r) is None


def test_resamples_that_are_undefined_do_not_count():
    """Of two frames every second resample has one value only, and no rank correlation."""
    found = metrics.spearman([1, 2], [1, 2])
    assert found == (1.0, 1.0, 1.0)


def test_one_frame_has_no_interval(rng):
    u, r = ordinary(rng)
    found = metrics.nll(u, r, np.zeros(60))
    assert found.value == pytest.approx(value(metrics.nll, u, r), rel=1e-13)
    assert np.isnan([found.low, found.high]).all()


@pytest.mark.parametrize("name", [*ALL, "ence"])
def test_too_few_points_and_bad_points_are_errors(name):
    metric = ALL.get(name, metrics.ence)
    with pytest.raises(ValueError, match="at least 2 points, found 1; give more frames"):
        metric([1.0], [1.0])
    with pytest.raises(ValueError, match="at least 2 points, found 0"):
        metric([], [])
    with pytest.raises(ValueError, match=r"1 of 3 points .* NaN or infinite"):
        metric([1.0, np.nan, 1.0], [1.0, 1.0, 2.0])


@pytest.mark.parametrize(
    "metric", [metrics.nll, metrics.crps, metrics.ence, metrics.miscalibration_area]
)
def test_standard_deviations_are_positive(metric):
    with pytest.raises(ValueError, match="1 of 2 uncertainties are not positive"):
        metric([0.0, 1.0], [1.0, 1.0])


def test_arguments_are_checked():
    pair = [1.0, 2.0], [1.0, 2.0]
    with pytest.raises(ValueError, match=r"shapes \(2,\), \(1,\) and \(2,\)"):
        metrics.spearman([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\); expected the same"):
        metrics.spearman(*pair, [0, 1, 2])
    with pytest.raises(ValueError, match="quantile is 1; expected"):
        metrics.auroc(*pair, quantile=1)
    with pytest.raises(ValueError, match="quantile is 0; expected"):
        metrics.roc_curve(*pair, quantile=0)
    with pytest.raises(ValueError, match="components is 0"):
        metrics.miscalibration_area(*pair, components=0)
    with pytest.raises(ValueError, match="closed form for 1 and 3"):
        metrics.crps(*pair, components=2)
    with pytest.raises(ValueError, match="bins is 0"):
        metrics.ence(*pair, bins=0)
    with pytest.raises(ValueError, match="resamples is -1"):
        Bootstrap(resamples=-1)
    with pytest.raises(ValueError, match="level is 1"):
        Bootstrap(level=1.0)


def test_measure_is_each_of_them(rng):
    u, _, r = vectors(rng, 30)
    frame = np.arange(30) // 3
    how = Bootstrap(20, seed=3)
    found = metrics.measure(u, r, frame, components=3, bootstrap=how)
    for name in ("spearman", "auroc", "ause", "ence", "nll", "calibrated_nll"):
        assert getattr(found, name) == getattr(metrics, name)(u, r, frame, bootstrap=how)
    for name in ("miscalibration_area", "crps"):
        metric = getattr(metrics, name)
        assert getattr(found, name) == metric(u, r, frame, components=3, bootstrap=how)
    assert found.sharpness == metrics.sharpness(u, frame, bootstrap=how)
