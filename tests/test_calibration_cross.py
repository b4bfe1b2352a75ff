"""Cross-validated conformal factors: real folds of a small regression, and their coverage."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tiny
from scipy.stats import binom

from uncv.calibration import ConformalCalibrator, CrossConformalCalibrator
from uncv.calibration.cross import deal
from uncv.data import Dataset
from uncv.errors import CalibrationError


class Points:
    """As much of a Dataset as scores need, and quick: x (n, 3) and energies (n,)."""

    def __init__(self, x, energy):
        self.x, self.energy = x, energy

    def __len__(self):
        return len(self.energy)

    def __getitem__(self, which):
        return Points(self.x[which], self.energy[which])

    def require(self, label):
        assert label == "energy"


class Line:
    """Ridge regression of the energy on x, with its textbook spread."""

    calibrator, kind = None, "energy"
    uncertainty = SimpleNamespace(per_atom=False)

    def __init__(self, data):
        x = self.features(data)
        self.inverse = np.linalg.inv(x.T @ x + 1e-3 * np.eye(4))
        self.weights = self.inverse @ (x.T @ data.energy)

    def features(self, data):
        return np.column_stack([np.ones(len(data)), data.x])

    def predict(self, data):
        x = self.features(data)
        spread = np.sqrt(1.0 + np.sum((x @ self.inverse) * x, axis=1))
        return SimpleNamespace(energy=x @ self.weights, uncertainty=spread)


def drawn(random, count):
    x = random.normal(size=(count, 3))
    return Points(x, x @ [1.0, -2.0, 0.5] + random.standard_t(5, count))


@pytest.mark.parametrize(("frames", "folds"), [(20, 5), (23, 5), (7, 7)])
def test_frames_are_dealt_evenly_once_and_by_seed(frames, folds):
    fold = deal(frames, folds, seed=3)
    counts = np.bincount(fold, minlength=folds)
    assert counts.sum() == frames
    assert np.ptp(counts) <= 1
    np.testing.assert_array_equal(fold, deal(frames, folds, seed=3))
    if frames == 20:
        assert (fold != deal(frames, folds, seed=4)).any()


def test_each_frame_is_scored_once_by_a_model_that_did_not_see_it():
    data = drawn(np.random.default_rng(0), 23)
    seen = []

    def make(part):
        seen.append(part)
        return Line(part)

    fit = CrossConformalCalibrator(0.1, folds=5, seed=2).fit_folds(make, data)
    fold, expected = deal(23, 5, seed=2), np.zeros(23)
    assert [len(part) for part in seen] == [23 - c for c in np.bincount(fold)]
    for number in range(5):
        out = fold == number
        said = Line(data[np.flatnonzero(~out)]).predict(data[np.flatnonzero(out)])
        expected[out] = np.abs(data.energy[out] - said.energy) / said.uncertainty
    assert fit.factor == np.sort(expected)[21]  # ceil(24 · 0.9) = 22nd
    np.testing.assert_allclose(fit.frame_scores * fit.factor, expected)
    assert fit.kind == "energy"


def shares(random, trials, count, folds, alpha):
    """Share of new points inside, and mean bound, of cross, split and naive calibration."""
    inside, bounds, half = np.zeros(3), np.zeros(3), count // 2
    for _ in range(trials):
        data, new = drawn(random, count), drawn(random, 1)
        whole, part = Line(data), Line(data[half:])
        fits = (
            (whole, CrossConformalCalibrator(alpha, folds=folds).fit_folds(Line, data)),
            (part, ConformalCalibrator(alpha).fit(part, data[:half])),
            (whole, ConformalCalibrator(alpha).fit(whole, data)),
        )
        for n, (model, fit) in enumerate(fits):
            said = model.predict(new)
            bound = fit.factor * said.uncertainty[0]
            inside[n] += abs(said.energy[0] - new.energy[0]) <= bound
            bounds[n] += bound / trials
    return inside, bounds


def test_coverage_of_the_model_of_all_frames():
    """1 − 2α is the promise of CV+ and 1 − α its practice; the model of all frames has both."""
    trials, alpha = 400, 0.1
    inside, bounds = shares(np.random.default_rng(5), trials, 20, 5, alpha)
    low, high = binom.interval(0.99, trials, 1 - alpha)
    assert inside[0] >= binom.interval(0.99, trials, 1 - 2 * alpha)[0]
    assert low <= inside[0] <= high
    # Half of the frames spared for split conformal: as safe, and wider.
    assert inside[1] >= low
    assert bounds[1] > 1.1 * bounds[0]


def test_scores_of_training_frames_would_promise_too_much():
    """Why folds are needed: a line of 4 weights passes close to the 12 frames it is drawn by."""
    trials, alpha = 300, 0.2
    inside, _ = shares(np.random.default_rng(6), trials, 12, 6, alpha)
    assert inside[0] >= binom.interval(0.99, trials, 1 - alpha)[0] > inside[2]


def test_forces_keep_their_frames_and_elements():
    """Folds of real potentials: random ones, a different one for each fold."""
    frames = tiny.frames("CH3OH", 12, 0.1)
    truth = tiny.potential(members=2, seed=77).evaluate(frames)
    data = Dataset(frames.numbers, frames.positions, forces=truth.forces)
    seeds = iter(range(3))
    fit = CrossConformalCalibrator(0.2, folds=3)
    fit.fit_folds(lambda part: tiny.cv("forces", seed=next(seeds)), data)
    assert fit.kind == "force"
    assert fit.frame_scores.shape == (12,)
    fold, squares = deal(12, 3, seed=0), np.zeros(12)
    for n in range(3):
        own = np.flatnonzero(fold == n)
        said = tiny.cv("forces", seed=n).evaluate(data[own])
        error = ((said.forces - data.forces[own]) ** 2).mean(axis=2)
        squares[own] = (error / said.atomic_uncertainty**2).mean(axis=1)
    np.testing.assert_allclose(fit.frame_scores * fit.factor, np.sqrt(squares), rtol=1e-9)


def test_wrong_use():
    data = drawn(np.random.default_rng(0), 8)
    with pytest.raises(CalibrationError, match=r"needs a model for each fold; call fit_folds"):
        CrossConformalCalibrator(0.2).fit(Line(data), data)
    with pytest.raises(CalibrationError, match="4 frames cannot be dealt into 5 folds"):
        CrossConformalCalibrator(0.2).fit_folds(Line, data[:4])
    with pytest.raises(CalibrationError, match=r"8 calibration frames are too few for alpha = 0.1"):
        CrossConformalCalibrator(0.1).fit_folds(Line, data)
    with pytest.raises(ValueError, match="folds is 1; expected at least 2"):
        CrossConformalCalibrator(folds=1)


def test_folds_of_two_kinds():
    frames = tiny.frames("CH3OH", 4, 0.1)
    energy, forces = np.zeros(4), 0 * frames.positions
    data = Dataset(frames.numbers, frames.positions, energy=energy, forces=forces)
    made = iter([tiny.cv("energy"), tiny.cv("forces")])
    with pytest.raises(CalibrationError, match="give residuals of energy and force; expected one"):
        CrossConformalCalibrator(0.4, folds=2).fit_folds(lambda part: next(made), data)
