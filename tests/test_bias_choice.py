"""The strength of a bias from a warm-up: the ratio of forces that it was chosen for comes out."""

from __future__ import annotations

import numpy as np
import pytest
import tiny

from uncv.bias import (
    SPREAD,
    HarmonicBias,
    LinearBias,
    TanhBias,
    UDDBias,
    WarmUp,
    choose_tanh,
    choose_udd,
    factor_for_ratio,
    mean_force_ratio,
)
from uncv.errors import DataError, GradientError


def measured(cv=None):
    cv = cv or tiny.cv()
    return cv.evaluate(tiny.frames("CH3OH", 12, 0.06, seed=3))


def warm_up():
    found = measured()
    return WarmUp(found.uncertainty, found.uncertainty_gradient, found.forces)


def ratio_in_words(found, slope):
    """r of Kulichenko et al., equation 5, with one loop for each of its sums."""
    total = 0.0
    for u, gradients, forces in zip(
        found.uncertainty, found.uncertainty_gradient, found.forces, strict=True
    ):
        for gradient, force in zip(gradients, forces, strict=True):
            bias_force = -slope(u) * gradient
            total += np.sqrt(bias_force @ bias_force) / np.sqrt(force @ force)
    return total / found.forces[..., 0].size


@pytest.mark.parametrize(
    ("members", "atoms", "effective"), [(None, None, 1.0), (3, 6, np.sqrt(3 * 6 / 2))]
)
def test_udd_is_chosen_for_a_ratio_of_forces(members, atoms, effective):
    found = measured()
    bias = choose_udd(warm_up(), 0.3, B=0.05, members=members, atoms=atoms)
    assert (bias.B, bias.members, bias.atoms) == (0.05, members, atoms)
    width = 0.05 * effective
    reached = ratio_in_words(
        found, lambda u: -bias.A * u / width**2 * np.exp(-0.5 * (u / width) ** 2)
    )
    assert reached == pytest.approx(0.3, rel=1e-10)
    assert mean_force_ratio(bias, warm_up()) == pytest.approx(0.3, rel=1e-10)


def test_the_width_follows_the_spread_of_u():
    found = measured()
    spread = np.sqrt(np.mean(found.uncertainty**2))
    assert pytest.approx(SPREAD * spread) == choose_udd(warm_up()).B
    published = choose_udd(warm_up(), members=3, atoms=6)
    assert published.width == pytest.approx(SPREAD * spread)
    assert pytest.approx(choose_udd(warm_up()).A) == published.A
    assert mean_force_ratio(published, warm_up()) == pytest.approx(0.36)
    assert choose_tanh(warm_up()).width == pytest.approx(SPREAD * spread)


def test_tanh_is_chosen_for_a_ratio_of_forces():
    bias = choose_tanh(warm_up(), 0.4, width=0.2)
    reached = ratio_in_words(
        measured(), lambda u: -bias.depth / bias.width / np.cosh(u / bias.width) ** 2
    )
    assert isinstance(bias, TanhBias)
    assert reached == pytest.approx(0.4, rel=1e-10)


def test_a_choice_does_not_know_the_scale_of_u():
    """As after a new calibration: u and its gradient grow, the bias energy of a frame stays."""
    found = measured()
    scaled = WarmUp(7.0 * found.uncertainty, 7.0 * found.uncertainty_gradient, found.forces)
    for choose in (choose_udd, choose_tanh):
        one, two = choose(warm_up()), choose(scaled)
        assert two.width == pytest.approx(7.0 * one.width)
        assert getattr(two, "A", getattr(two, "depth", 0.0)) == pytest.approx(
            getattr(one, "A", getattr(one, "depth", 1.0))
        )


def test_series_of_norms_do_too():
    """One number a frame: ⟨|V'| |∇u| / |F|⟩ of the norms over all atoms."""
    u, gradient, force = np.array([0.1, 0.2]), np.array([2.0, 3.0]), np.array([4.0, 5.0])
    expected = 1.5 * np.mean([0.5, 0.6])
    assert mean_force_ratio(LinearBias(1.5), WarmUp(u, gradient, force)) == pytest.approx(expected)
    factor = factor_for_ratio(LinearBias(1.5), WarmUp(u, gradient, force), 0.9)
    assert factor * expected == pytest.approx(0.9)


def test_padding_and_atoms_without_a_force_do_not_count():
    found = measured()
    padded = [
        np.pad(x, ((0, 0), (0, 3), (0, 0))) for x in (found.uncertainty_gradient, found.forces)
    ]
    one = choose_udd(WarmUp(found.uncertainty, *padded))
    assert pytest.approx(choose_udd(warm_up()).A) == one.A


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], [], []), r"shapes \(0,\), \(0,\) and \(0,\); expected at least one frame"),
        (([1.0], [1.0], [1.0, 2.0]), r"shapes \(1,\), \(1,\) and \(2,\)"),
        (([1.0], [np.nan], [1.0]), "holds values that are NaN or infinite; leave them out"),
    ],
)
def test_a_warm_up_is_checked(arguments, message):
    with pytest.raises(DataError, match=message):
        WarmUp(*arguments)


def test_what_gives_no_strength():
    with pytest.raises(DataError, match="a frame of the warm-up has no forces at all"):
        choose_tanh(WarmUp([0.1], [1.0], [0.0]), width=1.0)
    flat = WarmUp([0.1, 0.1], [0.0, 0.0], [1.0, 1.0])
    with pytest.raises(GradientError, match=r"UDDBias\(.*\) has no force on the frames of the"):
        choose_udd(flat)
    with pytest.raises(GradientError, match="has no force on the frames"):
        factor_for_ratio(HarmonicBias(1.0, 0.1), WarmUp([0.1], [1.0], [1.0]), 0.3)
    with pytest.raises(GradientError, match="u is 0 in the whole warm-up"):
        choose_tanh(WarmUp([0.0], [1.0], [1.0]))
    with pytest.raises(ValueError, match=r"ratio is -0\.1; expected a positive number"):
        choose_udd(warm_up(), -0.1, B=1.0)
    assert isinstance(choose_udd(warm_up(), B=1.0), UDDBias)
