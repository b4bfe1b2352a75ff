"""Two ways to the gradients of a step: the same numbers, and the quick one where it holds."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from contracts import UNCERTAINTIES

from uncv.cv import UncertaintyCV
from uncv.errors import GradientError
from uncv.models import AniPotential, library
from uncv.step import FusedStep
from uncv.step_pass import DescriptorPass, GraphPass
from uncv.step_spread import SpreadPass
from uncv.uncertainty import EnsembleUncertainty, UncertaintyBase

needs_library = pytest.mark.skipif(not library.available(), reason=library.why_not() or "built")
WALKERS = 3
PLACES = {"open": tiny.frames("CH3OH", WALKERS), "periodic": tiny.crystal(WALKERS)}
SLOPE, WEIGHT = np.array([0.7, -1.3, 0.0]), np.array([1.0, 0.0, 1.0])
QUICK = (DescriptorPass, SpreadPass)
CASES = [case for case in UNCERTAINTIES if isinstance(case.potential(), AniPotential)]


def variable(case) -> UncertaintyCV:
    potential = case.potential()
    fitted = case.make()
    if fitted.needs_fit:
        fitted.fit(potential, tiny.concatenate([tiny.mixed(), tiny.frames("CH3OH", 6, seed=9)]))
    return UncertaintyCV(potential, fitted, case.reduce)


def gradients(step: FusedStep, data, stress: bool, kind: type | tuple) -> list[np.ndarray]:
    """Forces and stress of a sum, and of u and E apart."""
    cell = data.cell[0] if stress else None
    values = step.forward(data.positions, cell, stress=stress)
    assert isinstance(step._pass, kind)
    both = step.derivatives(SLOPE, WEIGHT)
    atomic = None if values.atomic is None else np.cos(np.arange(values.atomic.size))
    of_atoms = step.forces(
        SLOPE, WEIGHT, None if atomic is None else atomic.reshape(values.atomic.shape)
    )
    of_u, of_energy = step.gradients_apart()
    found = [values.energy, values.uncertainty, both.forces, of_atoms, *of_u, *of_energy]
    found.append(both.stress)
    return [np.asarray(x) for x in found if x is not None]


@needs_library
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.filterwarnings("ignore:there was no")
@pytest.mark.filterwarnings("ignore:the activation of this potential")
def test_both_ways_give_the_same_for_every_estimator(case, place, monkeypatch):
    data, stress = PLACES[place], place == "periodic"
    cv = variable(case)
    step = FusedStep(cv, data.numbers[0], WALKERS, periodic=stress)
    members = cv.uncertainty.extra == "member_forces"
    found = gradients(step, data, stress, GraphPass if members else QUICK)
    monkeypatch.setattr(AniPotential, "describe", lambda *_: None)
    monkeypatch.setattr(AniPotential, "_packed", lambda self: None)
    expected = gradients(step, data, stress, GraphPass)
    assert len(found) == len(expected) == (9 if stress else 6)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9 * np.abs(other).max())
    assert np.abs(found[4]).max() > 1e-6  # ∇u itself


@needs_library
@pytest.mark.parametrize("stress", [False, True])
def test_gradients_apart_agree_with_central_differences(stress):
    data = PLACES["periodic"]
    step = FusedStep(tiny.cv("atomic_energy", "softmax"), data.numbers[0], WALKERS, periodic=True)

    def values(strain: np.ndarray, moves: np.ndarray) -> np.ndarray:
        scale = np.eye(3) + (strain + strain.T) / 2
        found = step.forward((data.positions + moves) @ scale, data.cell[0] @ scale)
        return np.stack([found.uncertainty, found.energy])

    step.forward(data.positions, data.cell[0], stress=True)
    apart = step.gradients_apart()
    assert isinstance(step._pass, SpreadPass)
    nothing = np.zeros_like(data.positions)
    volume = abs(np.linalg.det(data.cell[0]))
    for index, of in enumerate(apart):
        if stress:
            slopes = tiny.central_differences(lambda s: values(s, nothing)[index], np.zeros((3, 3)))  # noqa: B023
            expected, found = np.moveaxis(slopes, -1, 0) / volume, of.stress.numpy()
        else:
            slopes = tiny.central_differences(
                lambda x: values(np.zeros((3, 3)), x)[index].sum(),  # noqa: B023
                nothing,
            )
            expected, found = slopes, of.positions.numpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@needs_library
def test_single_precision_keeps_its_digits():
    data = PLACES["periodic"]
    cv = tiny.cv("energy")
    exact = FusedStep(cv, data.numbers[0], WALKERS, periodic=True)
    expected = gradients(exact, data, True, SpreadPass)
    rounded = tiny.cv("energy")
    rounded.potential.to(torch.float32)
    step = FusedStep(rounded, data.numbers[0], WALKERS, periodic=True)
    for one, other in zip(gradients(step, data, True, SpreadPass), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-4 * np.abs(other).max())


class Shifted(AniPotential):
    """Its energy has a term of the positions beside that of the descriptor."""

    def forward(self, batch, prepared=None, *, extra=""):
        said = super().forward(batch, prepared, extra=extra)
        spring = batch.positions.square().sum(dim=(1, 2))
        factors = torch.arange(1.0, 1.0 + self.members, dtype=torch.float64).unsqueeze(1)
        return said._replace(energies=said.energies + factors * spring)


def shifted() -> AniPotential:
    made = Shifted(tiny.potential().settings).to(torch.float64)
    made.load_state_dict(tiny.potential().state_dict())
    return made.requires_grad_(False)


def hooked() -> AniPotential:
    made = tiny.potential()
    made.register_forward_hook(lambda *_: None)
    return made


@pytest.mark.parametrize("make", [shifted, hooked])
def test_a_potential_with_a_say_in_forward_is_followed_by_autograd(make):
    data = PLACES["open"]
    cv = UncertaintyCV(make(), EnsembleUncertainty())
    step = FusedStep(cv, data.numbers[0], WALKERS)
    centred = data.positions - data.positions.mean(axis=1, keepdims=True)
    found = gradients(step, data, False, GraphPass)
    expected = cv.evaluate(tiny.Dataset(data.numbers, centred))
    np.testing.assert_allclose(found[1], expected.uncertainty)
    np.testing.assert_allclose(found[4], expected.uncertainty_gradient, atol=1e-9)


class Cut(UncertaintyBase):
    """Forgets where its values come from."""

    needs_fit, per_atom = False, False

    def settings(self):
        return {}

    def forward(self, output, groups):
        return output.energies.detach().var(dim=0)


def test_an_uncertainty_without_a_graph_is_an_error():
    data = PLACES["open"]
    step = FusedStep(UncertaintyCV(tiny.potential(), Cut()), data.numbers[0], WALKERS)
    step.forward(data.positions)
    with pytest.raises(GradientError, match="not connected to the positions"):
        step.gradients_apart()
    with pytest.raises(GradientError, match="not connected to the positions"):
        step.forces(SLOPE, WEIGHT)
