"""Conformal factors of elements: by hand, and by trial on exchangeable frames."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binom

from uncv.calibration import ConformalCalibrator, ElementConformalCalibrator, conformal_rank
from uncv.errors import CalibrationError
from uncv.scripting import compile_module


def drawn(random, frames, counts=(4, 2, 1)):
    """Scores of frames whose atoms share a scale; carbon's errors are five times hydrogen's."""
    atoms = np.repeat([1, 6, 8], counts)
    scale = random.lognormal(0.0, 0.5, frames)[:, None]
    of_element = np.repeat([1.0, 5.0, 20.0], counts)
    residual = np.abs(random.normal(size=(frames, len(atoms)))) * scale * of_element
    frame = np.repeat(np.arange(frames), len(atoms))
    return residual, np.tile(atoms, frames), frame


def test_factors_are_the_conformal_ones_of_each_element_alone():
    residual, numbers, frame = drawn(np.random.default_rng(0), 30)
    score = residual.ravel()
    fit = ElementConformalCalibrator(0.1, seed=2, draws=5)
    fit.fit_scores(score, np.ones_like(score), frame, numbers, kind="force")
    for z in (1, 6, 8):
        own = numbers == z
        one = ConformalCalibrator(0.1, seed=2, draws=5)
        one.fit_scores(score[own], np.ones(own.sum()), frame[own], kind="force")
        assert fit.factors[z].item() == one.factor
    # Oxygen, once in each frame: an order statistic, ceil(31 · 0.9) = 28.
    assert fit.factors[8].item() == np.sort(score[numbers == 8])[27]
    known = [z for z in range(119) if not fit.factors[z].isnan()]
    assert known == [0, 1, 6, 8]
    u = torch.ones((1, 4), dtype=torch.float64)
    found = fit(u, torch.tensor([[8, 1, 6, 1]]))[0]
    torch.testing.assert_close(found, fit.factors[[8, 1, 6, 1]], rtol=0, atol=0)


def test_each_element_is_covered_where_one_factor_covers_only_all_together():
    """An atom of each element of a new frame, in 500 trials of 40 calibration frames."""
    random, trials, frames, alpha = np.random.default_rng(1), 500, 40, 0.2
    inside, together = np.zeros(3), np.zeros(3)
    places = (0, 4, 6)  # of one atom of each element
    for _ in range(trials):
        residual, numbers, frame = drawn(random, frames + 1)
        known, new = residual[:-1].ravel(), residual[-1]
        u, kept = np.ones_like(known), slice(0, len(known))
        fit = ElementConformalCalibrator(alpha, draws=11)
        fit.fit_scores(known, u, frame[kept], numbers[kept], kind="force")
        one = ConformalCalibrator(alpha, draws=11)
        one.fit_scores(known, u, frame[kept], kind="force")
        inside += [new[p] <= fit.factors[z].item() for p, z in zip(places, (1, 6, 8), strict=True)]
        together += [new[p] <= one.factor for p in places]
    low, high = binom.interval(0.99, trials, conformal_rank(frames, alpha) / (frames + 1))
    assert ((inside >= low) & (inside <= high)).all()
    assert together[0] > high  # hydrogen too often,
    assert together[2] < low  # oxygen too seldom


def test_an_element_of_too_few_frames_is_named():
    residual, numbers, frame = drawn(np.random.default_rng(2), 30)
    rare = (numbers != 8) | (frame < 8)
    score = residual.ravel()[rare]
    fit = ElementConformalCalibrator(0.1)
    message = "8 calibration frames with O are too few for alpha = 0.1: at least 9 are needed"
    with pytest.raises(CalibrationError, match=message):
        fit.fit_scores(score, np.ones_like(score), frame[rare], numbers[rare], kind="force")
    assert not fit.is_fitted()


def test_an_element_without_errors_is_named():
    residual, numbers, frame = drawn(np.random.default_rng(2), 30)
    score = np.where(numbers == 6, 0.0, residual.ravel())
    with pytest.raises(CalibrationError, match="the factor of C is 0; expected a positive number"):
        ElementConformalCalibrator(0.1).fit_scores(
            score, np.ones_like(score), frame, numbers, kind="force"
        )


def test_use_on_other_elements_or_on_frames():
    residual, numbers, frame = drawn(np.random.default_rng(3), 30)
    score = residual.ravel()
    fit = ElementConformalCalibrator(0.1)
    fit.fit_scores(score, np.ones_like(score), frame, numbers, kind="force")
    u, nitrogen = torch.ones((1, 2), dtype=torch.float64), torch.tensor([[1, 7]])
    with pytest.raises(CalibrationError, match="an element that the calibration data do not"):
        fit(u, nitrogen)
    with pytest.raises(torch.jit.Error, match="an element that the calibration data do not"):
        compile_module(fit)(u, nitrogen)
    with pytest.raises(CalibrationError, match=r"need uncertainties of atoms \(F, A\)"):
        fit(u[0], nitrogen)


def test_residuals_of_frames_have_no_element():
    ones, numbers = np.ones(30), np.ones(30, int)
    for kind, given in (("energy", numbers), ("force", None)):
        with pytest.raises(CalibrationError, match="needs residuals of atoms and their atomic num"):
            ElementConformalCalibrator(0.1).fit_scores(ones, ones, range(30), given, kind=kind)
