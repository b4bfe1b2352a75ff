"""Forces of members and what follows from them: plain autograd twice, and central differences."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from uncv.cv import UncertaintyCV
from uncv.data import Batch
from uncv.models import AniPotential, library
from uncv.models.derivatives import differentiable
from uncv.models.neighbours import pair_vectors
from uncv.models.networks import ElementNetwork
from uncv.models.slope_pass import SlopePass, plain_slopes
from uncv.step import FusedStep
from uncv.uncertainty import EnsembleUncertainty

pytestmark = pytest.mark.filterwarnings("ignore:the activation of this potential")
DEEP = ((6, 5), (8, 4), (5, 5), (7, 3))
NETWORKS = {
    "smooth": {},
    "smooth, deep, scaled": {"hidden": ((6, 5, 4), (8, 4, 3), (5, 5, 5), (7, 3, 2)), "scale": 1.7},
    "celu": {"activation": "celu", "hidden": DEEP},
    "with a head": {"head": "mean_variance", "hidden": DEEP},
    "of unequal depths": {"hidden": ((6, 5), (8,), (5, 4, 3), (7, 3))},
}
PLACES = {"open and padded": tiny.mixed(), "periodic": tiny.crystal(2)}


@pytest.fixture(params=["compiled", "plain torch"])
def path(request, monkeypatch) -> str:
    if request.param == "plain torch":
        monkeypatch.setattr(library, "available", lambda: False)
    elif not library.available():
        pytest.skip(library.why_not())
    return request.param


@pytest.fixture
def exact_celu(monkeypatch):
    """Torch's own celu differentiates with alpha in single precision, even of float64."""

    def activate(self, z: Tensor) -> Tensor:
        bent = 0.1 * torch.expm1(z.clamp(max=0.0) / 0.1)
        return torch.nn.functional.silu(z) if self.smooth else torch.where(z > 0, z, bent)

    monkeypatch.setattr(ElementNetwork, "_activate", activate)


class Said(NamedTuple):
    """Energies, forces of members, and derivatives of a function of both."""

    energies: Tensor
    forces: Tensor
    derivatives: tuple[Tensor, ...]


def say(potential: AniPotential, data: tiny.Dataset, forces_of) -> Said:
    """What a way to the members' forces says; the derivatives are by positions and strain."""
    strained = differentiable(data.to_batch(), strain=bool(data.pbc.all()))
    energies, forces = forces_of(potential, strained.batch)
    weights = torch.linspace(-1.0, 2.0, forces.numel(), dtype=torch.float64).view(forces.shape)
    value = (weights * forces.sin()).sum() + energies.square().sum()
    derivatives = torch.autograd.grad(value, strained.leaves)
    return Said(energies.detach(), forces.detach(), derivatives)


def quick(potential: AniPotential, batch: Batch) -> tuple[Tensor, Tensor]:
    output = potential(batch, extra="member_forces")
    return output.energies, output.member_forces


def plain(potential: AniPotential, batch: Batch) -> tuple[Tensor, Tensor]:
    """Autograd from the positions on, member after member."""
    prepared = potential.prepare(batch)
    pairs = prepared.graph.pairs
    vectors = pair_vectors(batch.positions, batch.cell, pairs).to(potential.dtype)
    energies = potential.read(
        potential.aev(vectors, prepared.graph), prepared.groups, "member_forces"
    ).energies
    rows = [
        torch.autograd.grad(e.sum(), batch.positions, create_graph=True)[0].to(torch.float64)
        for e in energies
    ]
    return energies, -torch.stack(rows)


def assert_close(found: Tensor, wanted: Tensor, tolerance: float) -> None:
    assert found.dtype is wanted.dtype is torch.float64
    assert found.shape == wanted.shape
    scale = float(wanted.abs().max())
    assert scale > 1e-3
    assert float((found - wanted).abs().max()) < tolerance * scale


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("networks", NETWORKS)
def test_equal_autograd_twice_in_double_precision(networks, place, path, exact_celu):
    potential = tiny.potential(**NETWORKS[networks])
    found, wanted = (say(potential, PLACES[place], way) for way in (quick, plain))
    assert_close(found.energies, wanted.energies, 1e-12)
    assert_close(found.forces, wanted.forces, 1e-10)
    assert len(found.derivatives) == (2 if place == "periodic" else 1)
    for one, other in zip(found.derivatives, wanted.derivatives, strict=True):
        assert_close(one, other, 1e-10)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("networks", ["smooth, deep, scaled", "celu"])
def test_equal_autograd_twice_in_single_precision(networks, place, path):
    """Of derivatives, plain autograd in double precision is the judge."""
    potential = tiny.potential(**NETWORKS[networks]).to(torch.float32)
    found, single = (say(potential, PLACES[place], way) for way in (quick, plain))
    assert_close(found.forces, single.forces, 1e-6)
    wanted = say(potential.to(torch.float64), PLACES[place], plain)
    for one, other in zip(found.derivatives, wanted.derivatives, strict=True):
        assert_close(one, other, 2e-6)


@pytest.mark.parametrize("smooth", [True, False])
def test_slope_pass_passes_gradcheck(smooth, exact_celu):
    network = ElementNetwork(2, 5, (4, 3), "silu" if smooth else "celu").double()
    network.initialise(torch.Generator().manual_seed(0))
    network.requires_grad_(False)
    x = torch.randn((3, 5), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x.requires_grad_()

    def said(rows: Tensor) -> tuple[Tensor, Tensor]:
        return SlopePass.apply(rows, network, 1.3)

    for one, other in zip(said(x), plain_slopes(x, network, 1.3), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(said, (x,))
    assert torch.autograd.gradgradcheck(said, (x,))


def test_weights_get_their_gradient():
    data, potential = tiny.frames("CH3OH"), tiny.potential().requires_grad_(True)

    def slopes(way) -> tuple[Tensor, ...]:
        strained = differentiable(data.to_batch(), strain=False)
        energies, forces = way(potential, strained.batch)
        value = forces.square().sum() + energies.sum()
        return torch.autograd.grad(value, list(potential.parameters()), allow_unused=True)

    for one, other in zip(slopes(quick), slopes(plain), strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


def test_no_descriptor_in_plain_torch(monkeypatch):
    if not library.available():
        pytest.skip(library.why_not())
    potential, data = tiny.potential(), tiny.crystal(2)
    monkeypatch.setattr(potential.aev, "forward", None)  # a call would fail
    say(potential, data, quick)


@pytest.mark.parametrize("networks", ["smooth, deep, scaled", "celu"])
@pytest.mark.parametrize("walkers", [1, 3])
def test_gradient_of_the_spread_is_its_central_difference(networks, walkers, path):
    """By positions, of walkers in a cell."""
    data = tiny.crystal(walkers)
    step = spread(tiny.potential(**NETWORKS[networks]), data)
    step.forward(data.positions, data.cell[0], stress=True)
    found = step.gradients_apart()[0].positions.numpy()
    expected = tiny.central_differences(
        lambda x: step.forward(x, data.cell[0]).uncertainty.sum(), data.positions, 1e-5
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7 * np.abs(expected).max())


@pytest.mark.parametrize("networks", ["smooth", "smooth, deep, scaled"])
def test_stress_of_the_spread_is_its_central_difference(networks, path):
    data = tiny.crystal(2)
    step = spread(tiny.potential(**NETWORKS[networks]), data)
    step.forward(data.positions, data.cell[0], stress=True)
    found = step.gradients_apart()[0].stress.numpy() * abs(np.linalg.det(data.cell[0]))

    def strained(epsilon: np.ndarray) -> np.ndarray:
        scale = np.eye(3) + (epsilon + epsilon.T) / 2
        return step.forward(data.positions @ scale, data.cell[0] @ scale).uncertainty

    expected = np.moveaxis(tiny.central_differences(strained, np.zeros((3, 3)), 1e-5), -1, 0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7 * np.abs(expected).max())


def spread(potential: AniPotential, data: tiny.Dataset) -> FusedStep:
    """The step of a bias on the spread of forces."""
    cv = UncertaintyCV(potential, EnsembleUncertainty("forces"), "softmax")
    return FusedStep(cv, data.numbers[0], len(data), periodic=True)


def test_positions_need_no_gradient_and_padding_has_no_force():
    data = tiny.mixed()
    output = tiny.potential()(data.to_batch(), extra="member_forces")
    assert not output.member_forces[:, ~data.mask].any()
    assert not output.member_forces.requires_grad
    sums = output.member_forces.sum(dim=2)
    torch.testing.assert_close(sums, torch.zeros_like(sums), rtol=0, atol=1e-12)
