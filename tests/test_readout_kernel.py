"""The compiled networks against plain torch, finite differences, and themselves in other shapes."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from tiny import frames as molecules
from torch import Tensor

from uncv.data import Batch
from uncv.models import AniPotential, AniSettings, library
from uncv.models import readout_kernel as compiled
from uncv.models.readout_kernel import CompiledNetworks
from uncv.models.readout_pass import NetworkPass, Readout

needs_library = pytest.mark.skipif(not library.available(), reason=library.why_not() or "built")
pytestmark = needs_library
TOLERANCE = {torch.float64: 1e-11, torch.float32: 2e-5}
SHAPES = {
    "one layer": ((5,),) * 3,
    "whole vectors": ((64, 32),) * 3,
    "no whole vectors": ((37, 21, 3), (9, 50), (17,)),
    "one wide": ((130, 33),) * 3,
}


def potential(
    hidden=SHAPES["no whole vectors"], activation="silu", members=3, dtype=torch.float64, **more
) -> AniPotential:
    """Random weights, biases too, for H, C and O."""
    settings = AniSettings(
        elements=(1, 6, 8), members=members, hidden=hidden, activation=activation, **more
    )
    made = AniPotential(settings)
    generator = torch.Generator().manual_seed(3)
    for network in made.networks:
        network.initialise(generator)
    with torch.no_grad():
        for value in made.parameters():
            if not value.any():
                value.normal_(0.0, 0.3, generator=generator)
    return made.to(dtype).requires_grad_(False)


def batch(dtype=torch.float64, frames: int = 4) -> Batch:
    """Frames of different numbers of atoms, padded."""
    numbers = torch.tensor([[6, 1, 1, 8, 1, 6], [8, 1, 1, 0, 0, 0], [6, 6, 8, 8, 0, 0]])
    numbers = numbers.repeat(frames // 3 + 1, 1)[:frames]
    generator = torch.Generator().manual_seed(5)
    grid = torch.cartesian_prod(*[torch.arange(2.0)] * 3)[:6].to(torch.float64)
    noise = 0.2 * torch.randn((frames, 6, 3), generator=generator, dtype=torch.float64)
    nothing = torch.zeros((frames, 3, 3), dtype=torch.float64)
    return Batch(numbers, grid * 1.3 + noise, nothing, torch.zeros((frames, 3), dtype=torch.bool))


def without_library(made: AniPotential, monkeypatch) -> AniPotential:
    """The same potential, in plain torch."""
    plain = AniPotential.from_metadata(made.metadata()).to(made.dtype)
    plain.load_state_dict(made.state_dict())
    monkeypatch.setattr(plain, "_packed", lambda: None)
    return plain.requires_grad_(False)


def gradient(made: AniPotential, of: Batch, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Atomic energies (M, F, A), and what Σ weights·E does to the positions."""
    leaf = of.positions.clone().requires_grad_()
    said = made(of._replace(positions=leaf)).atomic_energies
    (found,) = torch.autograd.grad((said * weights).sum(), leaf)
    return said.detach(), found


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["double", "single"])
@pytest.mark.parametrize("activation", ["silu", "celu"])
@pytest.mark.parametrize("hidden", SHAPES.values(), ids=SHAPES)
def test_energies_and_gradients_are_those_of_plain_torch(hidden, activation, dtype, monkeypatch):
    made = potential(hidden, activation, dtype=dtype)
    of = batch()
    weights = torch.randn((3, 4, 6), generator=torch.Generator().manual_seed(0))
    calls = counted(monkeypatch)
    found = gradient(made, of, weights.double())
    assert calls == [True]
    expected = gradient(without_library(made, monkeypatch), of, weights.double())
    assert calls == [True]
    near = TOLERANCE[dtype]
    assert torch.allclose(found[0], expected[0], rtol=0, atol=near * expected[0].abs().max().item())
    if activation == "celu":  # torch rounds 1/α to single precision in the derivative of celu
        near = max(near, 1e-7)
    assert torch.allclose(found[1], expected[1], rtol=0, atol=near * expected[1].abs().max().item())
    assert (found[0][:, of.numbers == 0] == 0).all()


def counted(monkeypatch) -> list[bool]:
    """A list that grows with every call of the library; its items say whether slopes were asked."""
    calls: list[bool] = []
    run = CompiledNetworks.run

    def counting(self, described, groups, *, slopes, last=False):
        calls.append(slopes)
        return run(self, described, groups, slopes=slopes, last=last)

    monkeypatch.setattr(CompiledNetworks, "run", counting)
    return calls


@pytest.mark.parametrize("activation", ["silu", "celu"])
def test_gradients_agree_with_finite_differences(activation):
    made, of = potential(activation=activation), batch()
    weights = torch.randn((3, 4, 6), generator=torch.Generator().manual_seed(1)).double()
    _, found = gradient(made, of, weights)
    for frame, atom, axis in [(0, 0, 0), (1, 2, 1), (2, 3, 2), (3, 4, 0)]:
        values = []
        for step in (1e-5, -1e-5):
            moved = of.positions.clone()
            moved[frame, atom, axis] += step
            with torch.no_grad():
                said = made(of._replace(positions=moved)).atomic_energies
            values.append(float((said * weights).sum()))
        slope = (values[0] - values[1]) / 2e-5
        assert float(found[frame, atom, axis]) == pytest.approx(slope, rel=1e-6, abs=1e-9)


def test_energies_alone_ask_for_no_slopes(monkeypatch):
    made, calls = potential(), counted(monkeypatch)
    with torch.no_grad():
        made(batch())
    made(batch())
    assert calls == [False, False]


def test_gradients_apart_add_up_to_that_of_the_sum():
    made, of = potential(), batch()
    leaf = of.positions.clone().requires_grad_()
    energies = made(of._replace(positions=leaf)).energies
    heads = [energies.mean(dim=0).sum(), energies.var(dim=0).sum()]
    apart = [torch.autograd.grad(head, leaf, retain_graph=True)[0] for head in heads]
    (together,) = torch.autograd.grad(heads[0] - 2 * heads[1], leaf)
    assert torch.allclose(together, apart[0] - 2 * apart[1], rtol=0, atol=1e-12)


def test_second_derivatives_are_those_of_plain_torch(monkeypatch):
    made, of = potential(), batch()
    found, expected = (second_derivative(m, of) for m in (made, without_library(made, monkeypatch)))
    assert expected.abs().max() > 1e-3
    assert torch.allclose(found, expected, rtol=0, atol=1e-10 * expected.abs().max().item())


def second_derivative(made: AniPotential, of: Batch) -> Tensor:
    leaf = of.positions.clone().requires_grad_()
    energy = made(of._replace(positions=leaf)).energies.sum()
    (slope,) = torch.autograd.grad(energy, leaf, create_graph=True)
    (found,) = torch.autograd.grad(slope.square().sum(), leaf)
    return found


@pytest.mark.parametrize("frames", [1, 5, 60])
def test_a_frame_does_not_depend_on_how_many_there_are(frames):
    made, of = potential(), batch(frames=frames)
    weights = torch.ones((3, 1, 1), dtype=torch.float64)
    together = gradient(made, of, weights)
    for number in {0, frames - 1}:
        one = Batch(*(value[number : number + 1] for value in of))
        energies, slopes = gradient(made, one, weights)
        assert torch.allclose(together[0][:, number], energies[:, 0], rtol=0, atol=1e-12)
        assert torch.allclose(together[1][number], slopes[0], rtol=0, atol=1e-12)


def test_threads_change_nothing():
    made, of = potential(((256, 128),) * 3, members=8), batch(frames=60)
    weights = torch.ones((8, 1, 1), dtype=torch.float64)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(gradient(made, of, weights))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("capability", list(library.VARIANTS))
def test_every_built_variant_gives_the_same(capability, monkeypatch):
    kinds = list(library.VARIANTS)
    here = torch.backends.cpu.get_cpu_capability()
    if here not in kinds[kinds.index(capability) :]:
        pytest.skip(f"this processor has no {capability}")
    made, of = potential(), batch()
    weights = torch.ones((3, 1, 1), dtype=torch.float64)
    expected = gradient(without_library(made, monkeypatch), of, weights)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    for cached in (library.load, compiled._calls):
        cached.cache_clear()
    try:
        found = gradient(made, of, weights)
    finally:
        for cached in (library.load, compiled._calls):
            cached.cache_clear()
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-11 * other.abs().max().item())


@pytest.mark.parametrize("activation", ["silu", "celu"])
def test_not_a_number_stays_so(activation):
    made, of = potential(activation=activation), batch()
    made(of)
    described = torch.zeros((24, made.aev.width), dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        described[2, 5] = torch.nan
    readout = Readout(made._compiled, made.prepare(of).groups, 1.0, None)
    energies = NetworkPass.apply(described, readout).flatten(1)
    (slope,) = torch.autograd.grad(energies.sum(), described)
    assert energies[:, 2].isnan().all()
    assert slope[2].isnan().all()
    rest = torch.arange(24) != 2
    assert not energies[:, rest].isnan().any()
    assert not slope[rest].isnan().any()


def test_tiny_numbers_stay_what_they_are_elsewhere():
    code = (
        "import torch, sys; sys.path.insert(0, 'tests'); "
        "from test_readout_kernel import potential, batch; potential()(batch()); "
        "print(float(torch.tensor([5e-324], dtype=torch.float64) * 1.0))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "5e-324"


def test_new_weights_are_packed_anew():
    made, of = potential(), batch()
    before = made(of).energies
    with torch.no_grad():
        made.networks[0].rest[0].weight.mul_(2.0)
    assert not torch.allclose(made(of).energies, before)


def test_what_is_trained_goes_through_plain_torch(monkeypatch):
    calls = counted(monkeypatch)
    made = potential().requires_grad_(True)
    (slope,) = torch.autograd.grad(made(batch()).energies.sum(), [made.networks[0].first.weight])
    assert slope.abs().max() > 0
    potential(head="mean_variance")(batch())
    assert calls == []


def test_large_batches_go_through_plain_torch(monkeypatch):
    calls = counted(monkeypatch)
    made, of = potential(), batch()
    expected = made(of).energies
    monkeypatch.setattr(compiled, "MOST_NUMBERS", 100)
    assert torch.allclose(made(of).energies, expected, rtol=0, atol=1e-12)
    assert calls == [False]


def test_without_a_library_plain_torch_serves(monkeypatch):
    made, of = potential(), batch()
    expected = made(of).energies
    monkeypatch.setattr(library, "available", lambda: False)
    made._compiled = None
    assert torch.allclose(made(of).energies, expected, rtol=0, atol=1e-12)


def test_copies_and_pickles_pack_for_themselves():
    made, of = potential(), batch()
    expected = made(of).energies
    for other in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert other._compiled is None
        assert torch.equal(other(of).energies, expected)


def test_wrong_width_is_refused():
    made = potential()
    of = batch()
    made(of)
    readout = Readout(made._compiled, made.prepare(of).groups, 1.0, None)
    with pytest.raises(ValueError, match=r"descriptors are 7 wide; the networks expect"):
        NetworkPass.apply(torch.zeros((24, 7), dtype=torch.float64), readout)


def test_real_weights_give_real_energies(monkeypatch):
    made = potential_of_ani()
    data = molecules(count=3)
    calls = counted(monkeypatch)
    found = made.evaluate(data)
    assert calls
    expected = without_library(made, monkeypatch).evaluate(data)
    assert np.abs(found.energies - expected.energies).max() < 1e-5
    assert np.abs(found.forces - expected.forces).max() < 2e-5


def potential_of_ani() -> AniPotential:
    from uncv.models import load_potential

    return load_potential("ani1x")


def last_layer(made: AniPotential, of: Batch, create_graph: bool = False) -> list[Tensor]:
    """The last layer's input and gradients of energies, of it, and of both, by the positions."""
    leaf = of.positions.clone().requires_grad_()
    out = made(of._replace(positions=leaf), extra="last_layer")
    generator = torch.Generator().manual_seed(8)
    weights = torch.randn(out.last_layer.shape, generator=generator).to(out.last_layer.dtype)
    weights[1] = 0.0  # a member without any costs nothing, and gives nothing
    energy, other = out.energies.cos().sum(), (out.last_layer.sin() * weights).sum()
    found = [out.last_layer.detach()]
    for value in (energy, other, energy + other):
        (by_positions,) = torch.autograd.grad(
            value, leaf, retain_graph=True, create_graph=create_graph
        )
        found.append(by_positions)
    if create_graph:
        (found[-1],) = torch.autograd.grad(found[-1].square().sum(), leaf)
    return [x.detach() for x in found]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["double", "single"])
@pytest.mark.parametrize("frames", [1, 4, 40])  # few rows of an element, and many
@pytest.mark.parametrize("hidden", SHAPES.values(), ids=SHAPES)
def test_the_last_layer_and_its_gradients_are_those_of_plain_torch(
    hidden, frames, dtype, monkeypatch
):
    made, of = potential(hidden, dtype=dtype), batch(frames=frames)
    calls = counted(monkeypatch)
    found = last_layer(made, of)
    assert calls == [True]
    expected = last_layer(without_library(made, monkeypatch), of)
    assert calls == [True]
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        size = other.abs().max().item()
        assert torch.allclose(one, other, rtol=0, atol=5 * TOLERANCE[dtype] * size)


def test_the_last_layer_can_be_differentiated_twice(monkeypatch):
    made, of = potential(), batch()
    found = last_layer(made, of, create_graph=True)[-1]
    expected = last_layer(without_library(made, monkeypatch), of, create_graph=True)[-1]
    assert torch.allclose(found, expected, rtol=0, atol=1e-10 * expected.abs().max().item())


def test_threads_do_not_change_the_last_layer(monkeypatch):
    made, of = potential(((160, 128),) * 3), batch(frames=60)
    expected = last_layer(made, of)
    monkeypatch.setattr(compiled.torch, "get_num_threads", lambda: 3)
    for one, other in zip(last_layer(made, of), expected, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("hidden", SHAPES.values(), ids=SHAPES)
def test_an_atom_has_the_same_gradient_alone_as_among_many(hidden):
    """Few rows take the weights of the way up, many those of the way down."""
    made = potential(hidden)
    of = batch(frames=30)
    generator = torch.Generator().manual_seed(2)
    weights = torch.randn((3, 30, 6), generator=generator).to(torch.float64)
    _, whole = gradient(made, of, weights)
    for frame in range(3):
        part = Batch(*(x[frame : frame + 1] for x in of))
        _, alone = gradient(made, part, weights[:, frame : frame + 1])
        assert torch.allclose(alone[0], whole[frame], rtol=0, atol=1e-11 * whole.abs().max().item())
