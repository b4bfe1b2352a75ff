"""Settings of the biases; their values are in the contracts, their forces in test_bias_engines."""

from __future__ import annotations

import math
import pickle

import contracts
import numpy as np
import pytest
import torch

from uncv.bias import (
    ACETYLACETONE,
    GLYCINE,
    UDD_RATIO,
    AdaptiveBias,
    Bias,
    CappedBias,
    CeilingBias,
    HarmonicBias,
    LinearBias,
    ScheduledBias,
    SumBias,
    TanhBias,
    UDDBias,
    has_potential,
)
from uncv.schedule import Constant, Ramp, SawTooth

KCAL = 0.0433641  # eV


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


def test_a_bounded_spring_is_harmonic_near_by_and_linear_far_away():
    u = torch.tensor([1e-4, 1e6], dtype=torch.float64)
    _, bounded = HarmonicBias(4.0, 0.0, max_slope=0.5).energy_and_slope(u)
    np.testing.assert_allclose(bounded, [4e-4, 0.5], rtol=1e-6)
    _, wall = CeilingBias(4.0, 1.0, max_slope=0.5).energy_and_slope(u)
    np.testing.assert_allclose(wall, [0.0, 0.5], rtol=1e-6)
    assert repr(CeilingBias(4.0, 1.0, 0.5)) == (
        "CeilingBias(strength=4.0, u_max=1.0, max_slope=0.5)"
    )


def test_published_udd_in_its_own_words():
    """σ² = ½ Σ(E_m − Ē)² of the energies themselves; u is their standard deviation."""
    energies = np.random.default_rng(0).normal(scale=0.02, size=8)
    sigma2 = 0.5 * ((energies - energies.mean()) ** 2).sum()
    depth, width = 15.4 * KCAL, 0.12 * KCAL
    expected = depth * (np.exp(-sigma2 / (8 * 22 * width**2)) - 1.0)
    bias = UDDBias(members=8, atoms=22)
    u = torch.tensor([energies.std(ddof=1)])
    assert float(bias(u)[0]) == pytest.approx(expected, rel=1e-5)
    assert (bias.A, bias.B) == GLYCINE
    assert pytest.approx((6.3 * KCAL, 0.45 * KCAL), rel=1e-5) == ACETYLACETONE
    assert UDD_RATIO == 0.36
    assert repr(UDDBias(0.5, 0.1)) == "UDDBias(A=0.5, B=0.1)"
    assert repr(UDDBias(0.5, 0.1, 8, 22)) == "UDDBias(A=0.5, B=0.1, members=8, atoms=22)"


@pytest.mark.parametrize("bias", [UDDBias(0.4, 0.3), TanhBias(0.4, 0.3)])
def test_saturating_biases_have_a_floor(bias):
    u = torch.tensor([0.0, 0.3, 30.0], dtype=torch.float64)
    energy, slope = bias.energy_and_slope(u)
    assert energy[0] == 0.0
    assert float(energy[2]) == pytest.approx(-0.4, rel=1e-12)
    assert slope[1] < 0
    assert abs(float(slope[2])) < 1e-12


@pytest.mark.parametrize("case", contracts.BIASES, ids=lambda c: c.name)
def test_bound_of_the_slope_and_scaling(case):
    bias = case.make()
    u = torch.linspace(0.0, 50.0, 4001, dtype=torch.float64)
    energy, slope = bias.energy_and_slope(u)
    bound = bias.max_slope()
    assert float(slope.abs().max()) <= bound * (1 + 1e-12)
    if math.isfinite(bound) and not isinstance(bias, SumBias):
        assert float(slope.abs().max()) == pytest.approx(bound, rel=2e-3)
    stronger, steeper = bias.scaled(2.5).energy_and_slope(u)
    np.testing.assert_allclose(stronger, 2.5 * energy, rtol=1e-13)
    np.testing.assert_allclose(steeper, 2.5 * slope, rtol=1e-12, atol=1e-300)
    assert type(bias.scaled(2.5)) is type(bias)


@pytest.mark.parametrize("case", contracts.BIASES, ids=lambda c: c.name)
def test_the_expression_is_the_energy(case):
    """As text in Python; OpenMM and PLUMED read it in test_bias_engines."""
    names = {"exp": math.exp, "tanh": math.tanh, "sqrt": math.sqrt, "max": max}
    plain = compile(case.make().expression("x").replace("^", "**"), "", "eval")
    given = case.make().expression("x", energy_unit=3.0, uncertainty_unit=7.0).replace("^", "**")
    for u in (0.01, 0.04, 0.7, 2.0):
        expected = float(case.formula(np.array(u)))
        assert eval(plain, {**names, "x": u}) == pytest.approx(expected, rel=1e-12)
        assert eval(given, {**names, "x": 7.0 * u}) == pytest.approx(3.0 * expected, rel=1e-12)


def test_expressions_name_their_variable():
    with pytest.raises(ValueError, match=r"variable is called 'u-1'; expected a name"):
        LinearBias(1.0).expression("u-1")
    force = LinearBias(1.0).openmm_expression("force", "sigma")
    assert eval(force, {"sigma": 964.8533212331}) == pytest.approx(-96.48533212331)


class MyBias(Bias):
    def forward(self, u):
        return -u * u


def test_a_bias_of_ones_own_needs_its_energy_alone():
    energy, slope = MyBias().energy_and_slope(torch.tensor([3.0]))
    assert (energy.tolist(), slope.tolist()) == ([-9.0], [-6.0])
    assert MyBias().max_slope() == math.inf
    with pytest.raises(NotImplementedError, match="MyBias has no formula; define formula"):
        MyBias().expression()
    with pytest.raises(NotImplementedError, match="MyBias cannot be scaled; define scaled"):
        MyBias().scaled(2.0)


def test_a_sum_is_told_in_one_line():
    both = SumBias(LinearBias(0.5), CeilingBias(1.0, 2.0))
    assert repr(both) == "SumBias(LinearBias(strength=0.5), CeilingBias(strength=1.0, u_max=2.0))"
    assert both.max_slope() == math.inf
    with pytest.raises(ValueError, match="nothing to add up; give at least one bias"):
        SumBias()
    with pytest.raises(TypeError, match="AdaptiveBias is not a function of u alone"):
        SumBias(LinearBias(1.0), AdaptiveBias())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinearBias(math.nan), r"strength is nan; expected a finite number"),
        (lambda: AdaptiveBias(strength=math.inf), r"strength is inf; expected a finite number"),
        (lambda: AdaptiveBias(hydrogen=math.nan), r"hydrogen is nan; expected a finite number"),
        (lambda: AdaptiveBias(window=0), "window is 0 steps; expected at least 1"),
        (lambda: AdaptiveBias(elements={"Xx": 1.0}), "elements names 'Xx'; expected symbols"),
        (lambda: AdaptiveBias(elements={"X": 1.0}), "elements names 'X'; expected symbols"),
        (lambda: AdaptiveBias(elements={"O": math.nan}), "the weight of O is nan; expected"),
        (lambda: HarmonicBias(-1.0, 0.0), r"strength is -1\.0; expected .* not negative"),
        (lambda: HarmonicBias(1.0, math.nan), "centre is nan; expected a finite number"),
        (lambda: HarmonicBias(1.0, 0.0, 0.0), r"max_slope is 0\.0; expected a positive number"),
        (lambda: CeilingBias(1.0, math.inf), "u_max is inf; expected a finite number"),
        (lambda: UDDBias(0.0, 1.0), r"A is 0\.0; expected a positive number"),
        (lambda: UDDBias(1.0, -1.0), r"B is -1\.0; expected a positive number"),
        (lambda: UDDBias(1.0), "B has no default without members and atoms; give it"),
        (lambda: UDDBias(1.0, 1.0, members=8), "members is 8 and atoms is None; give both"),
        (lambda: UDDBias(1.0, 1.0, 1, 5), "1 members and 5 atoms have no spread; expected at"),
        (lambda: TanhBias(1.0, 0.0), r"width is 0\.0; expected a positive number"),
        (lambda: TanhBias(math.nan, 1.0), "depth is nan; expected a positive number"),
        (lambda: CappedBias(LinearBias(1.0)), "there is no cap; give max_force in eV/Å, max_r"),
        (lambda: CappedBias(LinearBias(1.0), 0.0), r"max_force is 0\.0; expected a positive"),
    ],
)
def test_settings_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CappedBias(AdaptiveBias(), 1.0), "AdaptiveBias cannot be capped; expected a bias"),
        (lambda: ScheduledBias(0.5, Ramp(0, 1, 5)), "float cannot follow a schedule; expected"),
        (lambda: ScheduledBias(LinearBias(1.0), 0.5), "the schedule is a float; expected one of"),
    ],
)
def test_wrong_parts_are_refused(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_adaptive_bias_has_the_published_defaults():
    assert AdaptiveBias() == AdaptiveBias(strength=0.25, hydrogen=0.0, window=100, elements={})


def test_weights_of_elements_in_the_adaptive_bias():
    numbers = np.array([1, 6, 8, 13])
    assert AdaptiveBias(hydrogen=0.3).weights(numbers).tolist() == [0.3, 1.0, 1.0, 1.0]
    given = {"O": 0.5, "Al": 0.0, "H": 0.2}
    bias = AdaptiveBias(elements=given)
    given["O"] = 9.0
    assert bias.weights(numbers).tolist() == [0.2, 1.0, 0.5, 0.0]
    assert pickle.loads(pickle.dumps(bias)) == bias


def test_which_biases_have_a_potential():
    assert has_potential(UDDBias(1.0, 1.0))
    assert has_potential(ScheduledBias(LinearBias(1.0), Constant(2.0)))
    assert not has_potential(CappedBias(LinearBias(1.0), max_ratio=1.0))
    assert not has_potential(ScheduledBias(AdaptiveBias(), SawTooth(0.0, 1.0, 9)))
