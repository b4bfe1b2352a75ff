"""Reductions of atoms' uncertainties with their slopes: those of torch, padding too."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch

from uncv.step_reduce import known, reduced
from uncv.uncertainty import REDUCTIONS, SMOOTH, reduce_atoms

MASK = np.array([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
VALUES = MASK * np.random.default_rng(3).uniform(0.01, 2.0, size=MASK.shape)


@pytest.mark.parametrize("how", SMOOTH)
def test_values_and_slopes_are_those_of_torch(how):
    leaf = torch.tensor(VALUES, requires_grad=True)
    expected = reduce_atoms(leaf, torch.tensor(MASK > 0), how)
    weights = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    (slopes,) = torch.autograd.grad(expected, leaf, weights)
    found = reduced(VALUES, MASK, how)
    np.testing.assert_allclose(found.value, expected.detach(), rtol=1e-13)
    np.testing.assert_allclose(weights[:, None].numpy() * found.slopes, slopes, atol=1e-13)


@pytest.mark.parametrize("how", SMOOTH)
def test_slopes_are_central_differences(how):
    def moved(x: np.ndarray) -> float:
        return reduced(x, MASK, how).value.sum()

    expected = MASK * tiny.central_differences(moved, VALUES, 1e-6)
    np.testing.assert_allclose(reduced(VALUES, MASK, how).slopes, expected, atol=1e-8)


@pytest.mark.parametrize("how", SMOOTH)
def test_equal_and_tiny_uncertainties_have_finite_slopes(how):
    """Where members agree, an uncertainty is the smoothing alone."""
    found = reduced(1e-6 * MASK, MASK, how)
    atoms = 1.0 if how != "sum" else MASK.sum(axis=1)
    np.testing.assert_allclose(found.value, 1e-6 * atoms, rtol=1e-6)
    assert np.isfinite(found.slopes).all()


def test_all_but_the_maximum_are_known():
    assert [how for how in REDUCTIONS if not known(how)] == ["max"]
