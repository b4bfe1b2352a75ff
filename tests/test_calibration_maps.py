"""Curves from uncertainty to error: against numpy, SciPy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.interpolate import PchipInterpolator
from sklearn.isotonic import IsotonicRegression, isotonic_regression

from uncv.calibration import IsotonicCalibrator, LogLinearCalibrator, MonotoneCalibrator
from uncv.calibration.monotone import Knots, knots_of, with_straight_ends
from uncv.calibration.scores import Scores
from uncv.errors import CalibrationError

NONE = torch.zeros((1, 1), dtype=torch.int64)


def drawn(count=600, seed=0, power=0.6):
    random = np.random.default_rng(seed)
    u = random.lognormal(0.0, 0.7, count)
    return np.abs(random.normal(size=count)) * 2.0 * u**power, u, np.arange(count)


def values(calibrator, u):
    return calibrator(torch.as_tensor(u), NONE).numpy()


def test_slope_of_the_line_is_that_of_least_squares_and_the_scale_is_gaussian():
    residual, u, frame = drawn(3000)
    fit = LogLinearCalibrator().fit_scores(residual, u, frame, kind="force")
    slope, _ = np.polyfit(np.log(u), np.log(residual), 1)
    assert fit.line[1].item() == pytest.approx(slope, rel=1e-10)
    # The standard error of the slope: std of log |r| (1.11) over std of log u (0.7) and √3000.
    assert slope == pytest.approx(0.6, abs=3 * 1.11 / 0.7 / np.sqrt(3000))
    calibrated = values(fit, u)
    assert np.mean((residual / calibrated) ** 2) == pytest.approx(1.0, rel=1e-12)
    np.testing.assert_allclose(calibrated, np.exp(fit.line[0].item()) * u**slope, rtol=1e-12)
    np.testing.assert_allclose(np.median(calibrated / (2 * u**0.6)), 1.0, rtol=0.05)


def test_a_line_through_exact_points_is_found():
    u = np.array([0.1, 0.4, 2.0, 5.0])
    fit = LogLinearCalibrator().fit_scores(3.0 * u**1.4, u, range(4), kind="energy")
    np.testing.assert_allclose(fit.line, [np.log(3.0), 1.4], rtol=1e-12)


def test_residuals_of_zero_count_for_the_scale_only():
    residual, u, frame = drawn(200)
    residual[::10] = 0.0
    fit = LogLinearCalibrator().fit_scores(residual, u, frame, kind="force")
    used = residual > 0
    slope, _ = np.polyfit(np.log(u[used]), np.log(residual[used]), 1)
    assert fit.line[1].item() == pytest.approx(slope, rel=1e-10)
    assert np.mean((residual / values(fit, u)) ** 2) == pytest.approx(1.0)


@pytest.mark.parametrize("family", [LogLinearCalibrator, MonotoneCalibrator])
def test_errors_that_fall_with_the_uncertainty_are_refused(family):
    residual, u, frame = drawn(power=-1.0)
    fit = family()
    with pytest.raises(CalibrationError, match="the error does not rise with the uncertainty"):
        fit.fit_scores(residual, u, frame, kind="force")
    assert not fit.is_fitted()


@pytest.mark.parametrize(
    ("family", "message"),
    [
        (LogLinearCalibrator, "uncertainties are all the same, so no line"),
        (IsotonicCalibrator, "uncertainties are all the same, so no curve"),
        (MonotoneCalibrator, "the error does not rise"),
    ],
)
def test_equal_uncertainties_are_refused(family, message):
    residual, _, frame = drawn(100)
    with pytest.raises(CalibrationError, match=message):
        family().fit_scores(residual, np.full(100, 0.3), frame, kind="force")


def test_too_few_values():
    with pytest.raises(CalibrationError, match=r"2 residuals .* are too few for a line"):
        LogLinearCalibrator().fit_scores([1.0, 2.0], [1.0, 2.0], [0, 1], kind="energy")
    residual, u, frame = drawn(39)
    message = "39 residuals in 39 calibration frames are too few for 8 bins; expected at least 40"
    with pytest.raises(CalibrationError, match=message):
        MonotoneCalibrator().fit_scores(residual, u, frame, kind="energy")
    with pytest.raises(ValueError, match="bins is 1; expected at least 2"):
        MonotoneCalibrator(bins=1)


def test_knots_are_the_reliability_diagram_pooled_like_isotonic_regression():
    """200 values in 10 bins; scikit-learn pools the mean squares of the bins."""
    random = np.random.default_rng(4)
    u = np.sort(random.uniform(0.2, 3.0, 200))
    residual = np.abs(random.normal(size=200)) * u**0.3
    square = (residual.reshape(10, 20) ** 2).mean(axis=1)
    steps = isotonic_regression(square)
    rising, group = np.unique(steps, return_inverse=True)
    assert 2 <= len(rising) < 10  # some bins did have to be pooled
    expected_u = [np.mean(u.reshape(10, 20)[group == g] ** 2) for g in range(len(rising))]
    shuffled = random.permutation(200)
    knots = knots_of(Scores(residual[shuffled], u[shuffled], np.arange(200)), 10)
    np.testing.assert_allclose(knots.error, np.sqrt(rising), rtol=1e-12)
    np.testing.assert_allclose(knots.u, np.sqrt(expected_u), rtol=1e-12)


def test_inside_its_range_the_curve_is_that_of_scipy():
    residual, u, frame = drawn(4000)
    fit = MonotoneCalibrator().fit_scores(residual, u, frame, kind="force")
    parts = np.array_split(np.argsort(u), 8)
    x = np.sqrt([np.mean(u[p] ** 2) for p in parts])
    y = np.sqrt([np.mean(residual[p] ** 2) for p in parts])
    assert (np.diff(y) > 0).all()  # nothing to pool here
    x = np.concatenate([[0.0, x[0] / 2], x, [2 * x[-1] - x[-2]]])
    y = np.concatenate([[0.0, y[0] / 2], y, [2 * y[-1] - y[-2]]])
    grid = np.linspace(0.0, x[-1], 5001)
    np.testing.assert_allclose(values(fit, grid), PchipInterpolator(x, y)(grid), atol=1e-12)


@pytest.mark.parametrize(
    "knots",
    [
        ([1.0, 2.0], [1.0, 1.0001]),
        ([0.1, 0.2, 5.0, 5.1], [1.0, 1.1, 1.2, 900.0]),
        ([1e-6, 1.0, 1.02, 100.0], [1e-3, 2e-3, 50.0, 50.1]),
        ([3.0, 4.0, 4.5], [1.0, 900.0, 900.1]),
    ],
)
def test_the_slope_is_positive_finite_and_continuous_everywhere(knots):
    """Whatever the knots: the ends, where PCHIP may be flat, are straight."""
    found = with_straight_ends(Knots(*map(np.array, knots)))
    curve = PchipInterpolator(*found)
    fit = MonotoneCalibrator()
    last = [0.0, 0.0, float(curve.derivative()(found.u[-1])), found.error[-1]]
    fit.breaks, fit.pieces = torch.tensor(found.u), torch.tensor(np.column_stack([curve.c, last]))
    top = 1.5 * found.u[-1]
    u = torch.cat([torch.linspace(0, top, 40001), torch.tensor(found.u)]).double().sort().values
    u.requires_grad_()
    (slope,) = torch.autograd.grad(fit(u, NONE).sum(), u)
    assert torch.isfinite(slope).all()
    assert (slope > 0).all()
    secant = np.diff(found.error) / np.diff(found.u)
    assert slope[0].item() == pytest.approx(secant[0], rel=1e-9)
    assert slope[-1].item() == pytest.approx(secant[-1], rel=1e-9)
    left = torch.tensor(found.u[1:] - np.spacing(found.u[1:]), requires_grad=True)
    right = torch.tensor(found.u[1:], requires_grad=True)
    (before,) = torch.autograd.grad(fit(left, NONE).sum(), left)
    (after,) = torch.autograd.grad(fit(right, NONE).sum(), right)
    # A cubic's slope at the end of its piece is a difference of numbers of the size of the secant.
    np.testing.assert_allclose(before, after, rtol=0, atol=1e-9 * secant.max())


def test_past_the_end_the_curve_goes_straight_on():
    residual, u, frame = drawn()
    fit = MonotoneCalibrator().fit_scores(residual, u, frame, kind="force")
    far = values(fit, 2 * u.max() * np.array([1.0, 2.0, 3.0]))
    assert np.diff(far, 2) == pytest.approx(0.0, abs=1e-12 * far[-1])
    assert far[1] > far[0] > 0


def test_a_curve_calibrates_what_a_factor_cannot():
    """Errors of u^0.4: in each fifth of u the curve's standard deviation fits, a factor's not."""
    residual, u, frame = drawn(5000, power=0.4)
    fit = MonotoneCalibrator().fit_scores(residual, u, frame, kind="force")
    new, x, _ = drawn(5000, seed=1, power=0.4)
    ratio = new / values(fit, x)
    factor = np.sqrt(np.mean((residual / u) ** 2))
    for part in np.array_split(np.argsort(x), 5):
        # √(mean of 1000 squares of a standard normal) has standard deviation 1/√2000 = 0.022.
        assert np.sqrt(np.mean(ratio[part] ** 2)) == pytest.approx(1.0, abs=0.1)
    ends = np.argsort(x)[[*range(1000), *range(4000, 5000)]]
    plain = [np.sqrt(np.mean((new / (factor * x))[e] ** 2)) for e in np.split(ends, 2)]
    assert plain[0] > 1.3
    assert plain[1] < 0.8


def test_bins_without_error_are_pooled_and_not_flat():
    u = np.linspace(0.1, 1.0, 40)
    residual = np.where(u < 0.5, 0.0, u)
    fit = MonotoneCalibrator(bins=8).fit_scores(residual, u, np.arange(40), kind="energy")
    grid = torch.linspace(1e-3, 2.0, 500, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(fit(grid, NONE).sum(), grid)
    assert (slope > 0).all()


def test_isotonic_is_that_of_scikit_learn():
    residual, u, frame = drawn(300)
    fit = IsotonicCalibrator().fit_scores(residual, u, frame, kind="force")
    reference = IsotonicRegression(out_of_bounds="clip").fit(u, residual**2)
    grid = np.concatenate([np.linspace(1e-3, 2 * u.max(), 2000), u])
    np.testing.assert_allclose(values(fit, grid), np.sqrt(reference.predict(grid)), rtol=1e-12)
