"""Settings of the biases; their values are in the contracts, their forces in the engines' tests."""

from __future__ import annotations

import pytest
import torch

from uncv.bias import AdaptiveBias, Bias, HarmonicBias, LinearBias


def test_a_positive_strength_drives_towards_uncertainty():
    energy, slope = LinearBias(strength=0.5).energy_and_slope(torch.tensor([2.0, 4.0]))
    assert energy.tolist() == [-1.0, -2.0]
    assert slope.tolist() == [-0.5, -0.5]
    assert isinstance(LinearBias(1.0), Bias)
    assert repr(LinearBias(0.5)) == "LinearBias(strength=0.5)"


def test_the_slope_is_there_without_gradients_too():
    u = torch.tensor([1.0], requires_grad=True)
    with torch.no_grad():
        energy, slope = LinearBias(2.0).energy_and_slope(u)
    assert not energy.requires_grad
    assert slope.tolist() == [-2.0]
    assert u.grad is None


def test_harmonic_bias_pulls_towards_its_centre():
    energy, slope = HarmonicBias(4.0, 1.5).energy_and_slope(torch.tensor([1.0, 1.5, 3.5]))
    assert energy.tolist() == [0.5, 0.0, 8.0]
    assert slope.tolist() == [-2.0, 0.0, 8.0]
    assert repr(HarmonicBias(4.0, 1.5)) == "HarmonicBias(strength=4.0, centre=1.5)"
    with pytest.raises(
        ValueError, match=r"strength is -1\.0; expected a number that is not negative"
    ):
        HarmonicBias(-1.0, 0.0)
    with pytest.raises(ValueError, match="centre is nan; expected a finite number"):
        HarmonicBias(1.0, float("nan"))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_strength_is_finite(bad):
    with pytest.raises(ValueError, match=r"strength is .*expected a finite number"):
        LinearBias(bad)
    with pytest.raises(ValueError, match=r"strength is .*expected a finite number"):
        AdaptiveBias(strength=bad)
    with pytest.raises(ValueError, match=r"hydrogen is .*expected a finite number"):
        AdaptiveBias(hydrogen=bad)


def test_adaptive_bias_has_the_published_defaults_and_checks_its_window():
    assert AdaptiveBias() == AdaptiveBias(strength=0.25, hydrogen=0.0, window=100)
    with pytest.raises(ValueError, match="window is 0 steps"):
        AdaptiveBias(window=0)
