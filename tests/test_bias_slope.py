"""Slopes of biases, written out: against differences and autograd, and where they are used."""

from __future__ import annotations

import contracts
import numpy as np
import pytest
import torch

from uncv.bias import Bias, CeilingBias, HarmonicBias, LinearBias, SumBias, TanhBias, UDDBias

CASES = [
    *((case.name, case.make) for case in contracts.BIASES),
    ("bounded spring", lambda: HarmonicBias(3.0, 0.4, max_slope=0.7)),
    ("bounded wall", lambda: CeilingBias(3.0, 0.4, max_slope=0.7)),
    ("published", lambda: UDDBias(0.5, 0.02, members=8, atoms=22)),
    ("no strength", lambda: HarmonicBias(0.0, 0.4)),
]
MAKE = pytest.mark.parametrize("make", [make for _, make in CASES], ids=[name for name, _ in CASES])


def at(bias: Bias, u: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    return bias.at(u.numpy())


@MAKE
def test_the_slope_is_that_of_autograd_and_of_differences(make, monkeypatch):
    bias = make()
    u = torch.linspace(0.003, 3.0, 41, dtype=torch.float64)
    expected = bias.energy_and_slope(u)
    above, below = bias(u + 1e-6), bias(u - 1e-6)
    monkeypatch.setattr(torch.autograd, "grad", None)  # nobody asks it
    energy, slope = at(bias, u)
    assert energy.dtype == slope.dtype == np.float64
    assert energy.shape == slope.shape == (41,)
    np.testing.assert_allclose(energy, expected[0], rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(slope, expected[1], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(slope, (above - below) / 2e-6, rtol=1e-6, atol=1e-8)


@MAKE
def test_the_given_uncertainties_are_left_alone(make):
    u = np.array([0.5, 2.0])
    energy, slope = make().at(u)
    energy[:], slope[:] = 9.0, 9.0
    np.testing.assert_array_equal(u, [0.5, 2.0])


def test_at_the_edges_of_a_wall_and_far_away():
    u = np.array([0.0, 1.0, 1.0 + 1e-9, 1e8])
    _, slope = CeilingBias(2.0, 1.0, max_slope=0.5).at(u)
    np.testing.assert_allclose(slope, [0.0, 0.0, 2e-9, 0.5], rtol=1e-6)
    for bias in (UDDBias(0.4, 0.3), TanhBias(0.4, 0.3)):
        assert bias.at(u)[1][3] == 0.0


class Steeper(LinearBias):
    """Changes V and forgets the slope."""

    def forward(self, u):
        return -u.pow(3)


class Told(Bias):
    """A bias of one's own that says its slope."""

    def forward(self, u):
        return u.pow(2)

    def written_out(self, u):
        return u**2, 2.0 * u


class Untold(Bias):
    """A bias of one's own that does not."""

    def forward(self, u):
        return u.pow(2)


class Again(Steeper):
    """Says the slope that its base forgot."""

    def written_out(self, u):
        return -(u**3), -3.0 * u**2


@pytest.mark.parametrize(
    ("make", "graphs"),
    [(lambda: Steeper(1.0), 1), (Told, 0), (Untold, 1), (lambda: Again(1.0), 0)],
    ids=["forward alone", "both", "neither", "both again"],
)
def test_a_slope_counts_only_for_its_own_energy(make, graphs, monkeypatch):
    bias, u, asked = make(), torch.tensor([0.5, 2.0], dtype=torch.float64), []
    expected = bias.energy_and_slope(u)
    with_another = SumBias(bias, LinearBias(0.5)).energy_and_slope(u)
    autograd = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *g: asked.append(g) or autograd(*g))
    np.testing.assert_allclose(at(bias, u), torch.stack(expected), rtol=1e-14)
    assert len(asked) == graphs
    found = at(SumBias(bias, LinearBias(0.5)), u)
    np.testing.assert_allclose(found, torch.stack(with_another), rtol=1e-14)


def test_what_is_not_written_out_says_so():
    with pytest.raises(NotImplementedError, match="Untold has no derivative written out; define"):
        Untold().written_out(np.ones(1))


def test_hooks_and_patches_are_followed():
    u = np.array([0.5, 2.0])
    hooked = LinearBias(0.5)
    hooked.register_forward_hook(lambda module, given, out: 3.0 * out)
    np.testing.assert_allclose(hooked.at(u)[1], -1.5)
    np.testing.assert_allclose(SumBias(hooked).at(u)[1], -1.5)
    patched = LinearBias(0.5)
    patched.forward = lambda u: u.pow(2)
    np.testing.assert_allclose(patched.at(u)[1], [1.0, 4.0])
