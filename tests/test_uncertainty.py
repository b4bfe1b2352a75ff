"""Ensemble uncertainties and reductions against formulas in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch

from uncv.cv import UncertaintyCV
from uncv.errors import FileFormatError
from uncv.groups import group_atoms
from uncv.protocols import MemberOutput
from uncv.uncertainty import (
    REDUCTIONS,
    SMOOTH,
    EnsembleUncertainty,
    UncertaintyBase,
    by_name,
    reduce_atoms,
)
from uncv.uncertainty.base import DELTA


def test_energy_is_the_sample_standard_deviation_of_the_frame():
    potential, data = tiny.potential(members=4), tiny.mixed()
    result = UncertaintyCV(potential, EnsembleUncertainty("energy")).evaluate(data)
    said = potential.evaluate(data, member_forces=True)
    std = said.energies.std(axis=0, ddof=1)
    np.testing.assert_allclose(result.uncertainty, np.sqrt(std**2 + DELTA**2), rtol=1e-10)
    weight = (said.energies - said.energies.mean(axis=0)) / (3 * std)
    gradient = np.einsum("mf,mfax->fax", weight, -said.member_forces)
    np.testing.assert_allclose(result.uncertainty_gradient, gradient, atol=1e-9)


def test_atomic_energy_is_the_sample_standard_deviation_of_each_atom():
    potential, data = tiny.potential(members=4), tiny.mixed()
    cv = UncertaintyCV(potential, EnsembleUncertainty("atomic_energy"))
    atomic = potential(data.to_batch()).atomic_energies.numpy()
    expected = np.sqrt(atomic.var(axis=0, ddof=1) + DELTA**2) * data.mask
    np.testing.assert_allclose(cv.evaluate(data).atomic_uncertainty, expected, rtol=1e-9)


def test_forces_is_a_root_mean_square_per_component():
    potential, data = tiny.potential(members=4), tiny.mixed()
    cv = UncertaintyCV(potential, EnsembleUncertainty("forces"))
    forces = potential.evaluate(data, member_forces=True).member_forces
    deviation = ((forces - forces.mean(axis=0)) ** 2).sum(axis=(0, 3)) / (3 * (4 - 1))
    expected = np.sqrt(deviation + DELTA**2) * data.mask
    np.testing.assert_allclose(cv.evaluate(data).atomic_uncertainty, expected, rtol=1e-9)


def numpy_reduction(values, how):
    """Of the values of one frame."""
    if how == "softmax":
        weight = np.exp(8.0 * values / np.sqrt((values**2).mean()))
        return (weight * values).sum() / weight.sum()
    return {
        "mean": values.mean(),
        "sum": values.sum(),
        "rms": np.sqrt((values**2).mean()),
        "max": values.max(),
    }[how]


@pytest.mark.parametrize("how", REDUCTIONS)
@pytest.mark.parametrize("scale", [1.0, 1e-5, 1e4])
def test_reductions_look_at_atoms_and_not_at_padding(how, scale, rng):
    values = scale * rng.random((3, 6))
    mask = np.arange(6) < np.array([[6], [2], [1]])
    values[~mask] = 1e9 if how != "max" else 0.0
    tensor = torch.tensor(values, requires_grad=True)
    reduced = reduce_atoms(tensor, torch.tensor(mask), how)
    expected = [numpy_reduction(v[m], how) for v, m in zip(values, mask, strict=True)]
    np.testing.assert_allclose(reduced.detach(), expected, rtol=1e-8)
    (gradient,) = torch.autograd.grad(reduced.sum(), tensor)
    assert torch.isfinite(gradient).all()
    assert not gradient[torch.tensor(~mask)].any()


@pytest.mark.parametrize("how", SMOOTH)
def test_reductions_have_the_gradient_of_their_formula(how, rng):
    values = torch.tensor(rng.random((2, 5)) + 0.1, requires_grad=True)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    assert torch.autograd.gradcheck(lambda v: reduce_atoms(v, mask, how), values)


def test_softmax_lies_between_mean_and_maximum_and_follows_scale(rng):
    values = torch.tensor(rng.random((4, 9)))
    mask = torch.ones(4, 9, dtype=torch.bool)
    mean, softmax, largest = (reduce_atoms(values, mask, h) for h in ("mean", "softmax", "max"))
    assert (mean < softmax).all()
    assert (softmax < largest).all()
    np.testing.assert_allclose(reduce_atoms(50 * values, mask, "softmax"), 50 * softmax)
    sharp = reduce_atoms(values, mask, "softmax", 1000.0)
    np.testing.assert_allclose(sharp, largest, rtol=1e-3)


def test_members_that_agree_give_delta_and_a_finite_slope():
    energies = torch.full((3, 1), 2.0, dtype=torch.float64, requires_grad=True)
    output = MemberOutput(energies, torch.zeros(3, 1, 2), torch.zeros(1, 2, 1))
    u = EnsembleUncertainty("energy")(output, torch.ones(1, 2, dtype=torch.bool))
    assert float(u.detach()) == pytest.approx(1e-6)
    (gradient,) = torch.autograd.grad(u.sum(), energies)
    assert torch.isfinite(gradient).all()


def test_reference_energies_do_not_reach_u():
    """Their size would drown the spread of the members in float32."""
    data = tiny.frames("CH3OH")
    plain = tiny.cv()
    shifted = tiny.cv(reference_energies=(-1e3, -1e5, -1e6, -1e6))
    plain.potential.to(torch.float32)
    shifted.potential.to(torch.float32)
    one, two = plain.evaluate(data), shifted.evaluate(data)
    np.testing.assert_array_equal(one.uncertainty, two.uncertainty)
    assert abs(one.energy[0] - two.energy[0]) > 1e6


def test_kinds_and_what_each_needs():
    kinds = {of: EnsembleUncertainty(of).kind for of in ("energy", "atomic_energy", "forces")}
    assert kinds == {"energy": "energy", "atomic_energy": "energy", "forces": "force"}
    assert not EnsembleUncertainty("energy").per_atom
    assert EnsembleUncertainty("forces").extra == "member_forces"
    uncertainty = EnsembleUncertainty()
    assert uncertainty.fit(tiny.potential(), tiny.frames("H2O")) is uncertainty
    assert isinstance(uncertainty, UncertaintyBase)


def test_unknown_names_are_errors():
    with pytest.raises(ValueError, match="of='force' is unknown; expected one of"):
        EnsembleUncertainty(of="force")
    with pytest.raises(ValueError, match="reduction median is unknown"):
        reduce_atoms(torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool), "median")
    with pytest.raises(FileFormatError, match="uncertainty 'Oracle' is unknown"):
        by_name("Oracle", {})
    assert by_name("EnsembleUncertainty", {"of": "forces"}).settings() == {"of": "forces"}


def test_forces_without_member_forces_is_an_error():
    output = MemberOutput(torch.zeros(2, 1), torch.zeros(2, 1, 1), torch.zeros(1, 1, 1))
    with pytest.raises(ValueError, match="evaluate with extra='member_forces'"):
        EnsembleUncertainty("forces")(output, group_atoms(torch.ones(1, 1).long(), (1,)))
