"""Conformal and Gaussian calibration: by hand, and by trial on exchangeable data."""

from __future__ import annotations

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import tiny
from scipy.stats import binom, binomtest

from uncv.calibration import (
    ConformalCalibrator,
    GaussianCalibrator,
    conformal_rank,
    coverage,
    coverage_of,
    exact_interval,
    frames_needed,
    residual_kind,
    scores,
)
from uncv.calibration.scores import Scores
from uncv.cv import UncertaintyCV
from uncv.errors import CalibrationError, DataError, NotFittedError
from uncv.uncertainty import EnsembleUncertainty

ARANGE = np.arange(9)


class Said(NamedTuple):
    energy: np.ndarray
    forces: np.ndarray
    atomic_uncertainty: np.ndarray
    uncertainty: np.ndarray


class FakeCV:
    """Says what it was told, whatever the structures."""

    calibrator = None

    def __init__(self, kind, said, per_atom=True):
        self.kind, self.said = kind, said
        self.uncertainty = SimpleNamespace(per_atom=per_atom)

    def predict(self, data):
        return self.said


def test_factor_is_an_order_statistic_without_interpolation():
    residual = np.array([3.0, 1.0, 4.0, 1.5, 9.0, 2.0, 6.0, 5.0, 0.5])
    u = np.full(9, 2.0)
    fit = ConformalCalibrator(0.2).fit_scores(residual, u, ARANGE, kind="energy")
    # ceil(10 · 0.8) = 8th smallest of the scores: 6 / 2
    assert fit.factor == 3.0
    assert fit.kind == "energy"
    assert ConformalCalibrator(0.5).fit_scores(residual, u, ARANGE, kind="energy").factor == 1.5
    assert ConformalCalibrator(0.1).fit_scores(residual, u, ARANGE, kind="energy").factor == 4.5


@pytest.mark.parametrize(
    ("frames", "alpha", "rank"),
    [(19, 0.05, 19), (20, 0.05, 20), (39, 0.05, 38), (99, 0.1, 90), (9, 0.1, 9), (1, 0.5, 1)],
)
def test_rank(frames, alpha, rank):
    assert conformal_rank(frames, alpha) == rank


@pytest.mark.parametrize(("alpha", "needed"), [(0.05, 19), (0.1, 9), (0.3, 3), (0.5, 1)])
def test_fewest_frames_that_have_a_rank(alpha, needed):
    assert frames_needed(alpha) == needed
    assert conformal_rank(needed, alpha) <= needed
    with pytest.raises(CalibrationError, match=f"at least {needed} are needed"):
        conformal_rank(needed - 1, alpha)


@pytest.mark.parametrize(("alpha", "needed"), [(0.05, 19), (0.1, 9), (0.2, 4), (0.01, 99)])
def test_too_few_frames_are_an_error_that_says_how_many_are_needed(alpha, needed):
    ones = np.ones(needed)
    calibrator = ConformalCalibrator(alpha)
    message = f"{needed - 1} calibration frames are too few .* at least {needed} are"
    with pytest.raises(CalibrationError, match=message):
        calibrator.fit_scores(ones[1:], ones[1:], np.arange(needed - 1), kind="energy")
    assert calibrator.factor is None
    assert calibrator.fit_scores(ones, ones, np.arange(needed), kind="energy").factor == 1.0


def test_coverage_of_frames_is_that_of_the_binomial(rng):
    """P(covered) of split conformal is rank/(n + 1) exactly for continuous exchangeable scores."""
    trials, frames, alpha = 4000, 50, 0.1
    inside, calibrator = 0, ConformalCalibrator(alpha)
    for _ in range(trials):
        u = rng.uniform(0.1, 2.0, frames + 1)
        residual = np.abs(rng.standard_t(4, frames + 1)) * u**1.3
        calibrator.fit_scores(residual[:-1], u[:-1], np.arange(frames), kind="energy")
        inside += residual[-1] <= calibrator.factor * u[-1]
    probability = conformal_rank(frames, alpha) / (frames + 1)
    low, high = binom.interval(0.99, trials, probability)
    assert low <= inside <= high


def test_coverage_of_atoms_of_correlated_frames(rng):
    """Atoms of a frame share a scale; an atom of a new frame is still covered often enough."""
    trials, frames, atoms, alpha = 1000, 40, 5, 0.2
    inside = 0
    frame = np.repeat(np.arange(frames), atoms)
    for _ in range(trials):
        scale = rng.lognormal(0.0, 0.8, frames + 1)
        residual = np.abs(rng.normal(size=(frames + 1, atoms))) * scale[:, None]
        calibrator = ConformalCalibrator(alpha, draws=21)
        calibrator.fit_scores(residual[:-1].ravel(), np.ones(frames * atoms), frame, kind="force")
        inside += residual[-1, rng.integers(atoms)] <= calibrator.factor
    probability = conformal_rank(frames, alpha) / (frames + 1)
    low, high = binom.interval(0.99, trials, probability)
    assert low <= inside <= high


def test_one_atom_is_drawn_from_each_frame_by_seed(rng):
    """With three frames of one score each and many of another, frames count and not atoms."""
    residual = np.concatenate([np.full(100, 1.0), [5.0], [6.0], [7.0]])
    frame = np.concatenate([np.zeros(100), [1, 2, 3]]).astype(int)
    fit = ConformalCalibrator(0.5).fit_scores(residual, np.ones(103), frame, kind="force")
    assert fit.factor == 6.0  # third smallest of (1, 5, 6, 7); by atoms it would be 1
    many = rng.random(400)
    frame = np.repeat(np.arange(40), 10)
    order = rng.permutation(400)
    factors = [
        ConformalCalibrator(0.1, seed=s).fit_scores(r, np.ones(400), f, kind="force").factor
        for s, r, f in ((0, many, frame), (0, many, frame), (1, many, frame))
    ]
    assert factors[0] == factors[1]
    shuffled = ConformalCalibrator(0.1).fit_scores(
        many[order], np.ones(400), frame[order], kind="force"
    )
    assert shuffled.factor == pytest.approx(factors[0], abs=0.1)


def test_gaussian_factor_is_the_likeliest_scale(rng):
    u = rng.uniform(0.5, 2.0, 2000)
    residual = np.abs(3.0 * u * rng.normal(size=2000))
    fit = GaussianCalibrator().fit_scores(residual, u, np.arange(2000), kind="energy")
    assert fit.factor == pytest.approx(np.sqrt(np.mean((residual / u) ** 2)))
    assert fit.factor == pytest.approx(3.0, rel=0.1)
    scales = np.linspace(2.0, 4.0, 4001)
    nll = [np.log(s) + 0.5 * np.mean((residual / (s * u)) ** 2) for s in scales]
    assert fit.factor == pytest.approx(scales[np.argmin(nll)], abs=1e-3)
    assert GaussianCalibrator().fit_scores([2.0], [1.0], [0], kind="energy").factor == 2.0


def test_scores_of_energies_belong_to_frames():
    data = tiny.Dataset([1, 1], np.zeros((3, 2, 3)), energy=[1.0, 2.0, 3.0])
    said = Said(np.array([1.5, 1.0, 3.25]), None, None, np.array([0.1, 0.2, 0.3]))
    found = scores(FakeCV("energy", said), data)
    np.testing.assert_allclose(found.residual, [0.5, 1.0, 0.25])
    np.testing.assert_allclose(found.uncertainty, [0.1, 0.2, 0.3])
    assert found.frame.tolist() == [0, 1, 2]
    assert found.numbers is None


def test_a_frame_uncertainty_without_unit_is_held_against_the_energy():
    """The posterior of a whole frame, say: there is no force it could belong to."""
    data = tiny.Dataset([1, 1], np.zeros((2, 2, 3)), energy=[1.0, 2.0])
    said = Said(np.array([1.5, 1.0]), None, np.full((2, 2), np.nan), np.array([0.1, 0.2]))
    cv = FakeCV("dimensionless", said, per_atom=False)
    assert residual_kind(cv) == "energy"
    np.testing.assert_allclose(scores(cv, data).residual, [0.5, 1.0])
    assert GaussianCalibrator().fit(cv, data).kind == "energy"


@pytest.mark.parametrize("kind", ["force", "dimensionless"])
def test_scores_of_atoms_are_root_mean_squares_without_padding(kind):
    forces = np.zeros((2, 2, 3))
    forces[0, 0] = [3.0, 0.0, 0.0]
    forces[0, 1] = [1.0, 1.0, 1.0]
    forces[1, 0] = [0.0, 2.0, 2.0]
    data = tiny.Dataset([[1, 1], [1, 0]], np.zeros((2, 2, 3)), forces=forces)
    said = Said(None, np.zeros((2, 2, 3)), np.array([[0.1, 0.2], [0.3, 0.0]]), None)
    found = scores(FakeCV(kind, said), data)
    np.testing.assert_allclose(found.residual, [np.sqrt(3.0), 1.0, np.sqrt(8 / 3)])
    np.testing.assert_allclose(found.uncertainty, [0.1, 0.2, 0.3])
    assert found.frame.tolist() == [0, 0, 1]
    assert found.numbers.tolist() == [1, 1, 1]
    fit = GaussianCalibrator().fit(FakeCV(kind, said), data)
    assert fit.kind == "force"


def labelled(count=30):
    """Frames labelled by another random potential."""
    data = tiny.frames("CH3OH", count, 0.1)
    truth = tiny.potential(members=2, seed=77).evaluate(data)
    return tiny.Dataset(
        data.numbers, data.positions, energy=truth.energies.mean(axis=0), forces=truth.forces
    )


@pytest.mark.parametrize("of", ["energy", "atomic_energy", "forces"])
def test_calibrated_variable_covers_its_own_calibration_data(of):
    data = labelled()
    cv = UncertaintyCV(tiny.potential(), EnsembleUncertainty(of))
    calibrator = ConformalCalibrator(0.2).fit(cv, data)
    calibrated = UncertaintyCV(cv.potential, cv.uncertainty, calibrator=calibrator)
    found = coverage(calibrated, data, seed=1)
    assert found.low <= found.share <= found.high
    if cv.kind == "energy":  # rank/n of the very frames, the bound itself inside
        assert found.share == pytest.approx(conformal_rank(30, 0.2) / 30)
    else:
        assert found.share == pytest.approx(0.8, abs=0.1)
    assert coverage(calibrated, data, seed=1) == found


def test_coverage_by_hand():
    data = tiny.Dataset([1], np.zeros((4, 1, 3)), energy=np.zeros(4))
    said = Said(np.array([0.1, 0.2, 0.3, 0.4]), None, None, np.full(4, 0.3))
    found = coverage(FakeCV("energy", said), data)
    assert found.share == 0.75
    exact = binomtest(3, 4).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-12)


@pytest.mark.parametrize(("inside", "count"), [(0, 7), (7, 7), (1, 1), (450, 500)])
def test_exact_interval_is_that_of_clopper_and_pearson(inside, count):
    exact = binomtest(inside, count).proportion_ci(0.9, method="exact")
    assert exact_interval(inside, count, 0.9) == pytest.approx((exact.low, exact.high), abs=1e-12)


def test_interval_with_several_values_a_frame_counts_frames(rng):
    """50 frames of 20 atoms that are all in or all out: as sure as 50 values, not as 1000."""
    frame = np.repeat(np.arange(50), 20)
    residual = np.where(frame < 40, 0.5, 2.0)
    found = coverage_of(Scores(residual, np.ones(1000), frame))
    exact = exact_interval(40, 50)
    assert found.share == 0.8
    assert (found.low, found.high) == pytest.approx(exact, abs=0.04)


def test_coverage_of_nothing_is_an_error():
    with pytest.raises(CalibrationError, match="no residuals to count"):
        coverage_of(Scores(np.zeros(0), np.zeros(0), np.zeros(0, int)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad):
    residual = np.ones(30)
    residual[3] = bad
    for calibrator in (ConformalCalibrator(), GaussianCalibrator()):
        with pytest.raises(CalibrationError, match="NaN or infinite"):
            calibrator.fit_scores(residual, np.ones(30), np.arange(30), kind="energy")
        with pytest.raises(CalibrationError, match="NaN or infinite"):
            calibrator.fit_scores(np.ones(30), residual, np.arange(30), kind="energy")


def test_uncertainties_must_be_positive_and_there_must_be_some():
    with pytest.raises(CalibrationError, match="2 uncertainties are not positive"):
        GaussianCalibrator().fit_scores([1.0] * 3, [0.0, -1.0, 1.0], range(3), kind="energy")
    with pytest.raises(CalibrationError, match="no residuals"):
        GaussianCalibrator().fit_scores([], [], [], kind="energy")


@pytest.mark.parametrize(("of", "label"), [("energy", "energy"), ("forces", "forces")])
def test_missing_labels_are_an_error(of, label):
    cv = tiny.cv(of)
    with pytest.raises(DataError, match=f"has no {label}"):
        ConformalCalibrator().fit(cv, tiny.frames("CH3OH"))
    data = labelled(4)
    getattr(data, label)[2] = np.nan
    with pytest.raises(DataError, match=f"{label} of frames 2 is missing, NaN"):
        ConformalCalibrator().fit(cv, data)


def test_unfitted_use_is_an_error():
    for calibrator in (ConformalCalibrator(), GaussianCalibrator()):
        with pytest.raises(NotFittedError, match="call fit"):
            tiny.cv(calibrator=calibrator)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, float("nan")])
def test_alpha_is_checked(alpha):
    with pytest.raises(ValueError, match="between 0 and 1"):
        ConformalCalibrator(alpha)


def test_kind_of_the_variable_is_that_of_the_residual():
    calibrator = GaussianCalibrator().fit_scores([1.0], [1.0], [0], kind="force")
    assert tiny.cv("atomic_energy").kind == "energy"
    assert tiny.cv("atomic_energy", calibrator=calibrator).kind == "force"


def test_a_calibrated_variable_is_not_calibrated_again():
    cv = UncertaintyCV(tiny.potential(), EnsembleUncertainty(of="energy"))
    data = labelled(20)
    once = cv.calibrated(ConformalCalibrator(0.1).fit(cv, data))
    with pytest.raises(CalibrationError, match=r"fit on cv.calibrated\(None\)"):
        ConformalCalibrator(0.1).fit(once, data)
