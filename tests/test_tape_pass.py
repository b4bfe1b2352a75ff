"""Derivatives that are written out, against autograd: the tape, its sketch and the norms."""

from __future__ import annotations

import pytest
import tiny
import torch

from uncv.gradient.norms import (
    NormsOfPlaces,
    NormsOfRows,
    NormTables,
    norms_of_places,
    norms_of_rows,
)
from uncv.gradient.sketch import Sketch, sketch, tables_of
from uncv.groups import group_atoms
from uncv.models import tape_pass as tape_module
from uncv.models.networks import ElementNetwork
from uncv.models.tape_pass import NetworkStack, tape_pass

HIDDEN = ((8, 5), (7, 6), (6, 4), (5, 9))


def both_ways(potential, batch):
    """The tape as potentials give it, and as `AniReadout.read` does."""
    prepared = potential.prepare(batch)
    quick = potential(batch, prepared, extra="layers")
    described = potential(batch, prepared).features.flatten(0, 1)
    plain = potential.read(described, prepared.groups, "layers")
    return quick, plain


@pytest.mark.parametrize("members", [1, 3])
def test_tape_pass_is_the_tape_of_the_networks(members):
    """Values, and gradients of everything they hold."""
    potential = tiny.potential(members, hidden=HIDDEN, scale=1.7, seed=2)
    batch = tiny.mixed().to_batch()
    batch = batch._replace(positions=batch.positions.requires_grad_())
    quick, plain = both_ways(potential, batch)
    torch.testing.assert_close(quick.energies, plain.energies, rtol=1e-12, atol=1e-14)
    found, expected = ([o.energies, *o.layers.inputs, *o.layers.deltas] for o in (quick, plain))
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(e.shape, generator=generator, dtype=torch.float64) for e in expected]
    gradients = []
    for tensors in (found, expected):
        for one, two in zip(tensors, expected, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-14)
        loss = sum((t * w).sum() for t, w in zip(tensors, weights, strict=True))
        gradients += torch.autograd.grad(loss, batch.positions)
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("members", [1, 3])
def test_gradients_of_energies_alone_take_the_short_way(members, monkeypatch):
    potential = tiny.potential(members, hidden=HIDDEN, scale=1.7, seed=2)
    batch = tiny.mixed().to_batch()
    batch = batch._replace(positions=batch.positions.requires_grad_())
    quick, plain = both_ways(potential, batch)
    weights = torch.randn(quick.energies.shape, generator=torch.Generator().manual_seed(1)).double()
    taken: list[int] = []
    short = tape_module._of_energy
    monkeypatch.setattr(tape_module, "_of_energy", lambda *args: taken.append(1) or short(*args))
    found, expected = (
        torch.autograd.grad((o.energies * weights).sum(), batch.positions, retain_graph=True)[0]
        for o in (quick, plain)
    )
    assert taken == [1]
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-13)
    torch.autograd.grad(quick.energies.sum() + quick.layers.deltas[0].sum(), batch.positions)
    assert taken == [1]


def test_tape_pass_can_be_differentiated_twice():
    networks = [ElementNetwork(2, 3, hidden, "silu").to(torch.float64) for hidden in HIDDEN]
    for seed, network in enumerate(networks):
        network.initialise(torch.Generator().manual_seed(seed))
        network.requires_grad_(False)
    stack = NetworkStack(networks)
    x = torch.tensor([[0.1, -0.4, 1.0], [0.7, 0.2, -0.3], [-0.9, 0.5, 0.6]], dtype=torch.float64)
    x.requires_grad_()

    def of(rows):
        outputs, tape = tape_pass(stack, rows, [1, 0, 0, 2], 1.7)
        return torch.cat([t.flatten() for t in (outputs, *tape.inputs[1:], *tape.deltas[:-1])])[::3]

    assert torch.autograd.gradcheck(of, x)
    assert torch.autograd.gradgradcheck(of, x)


def test_the_stack_follows_the_weights():
    potential, batch = tiny.potential(hidden=HIDDEN), tiny.mixed().to_batch()
    before = potential(batch, extra="layers").energies
    with torch.no_grad():
        potential.networks[0].rest[0].weight.mul_(1.5)
    after = potential(batch, extra="layers").energies
    assert not torch.allclose(after, before)
    torch.testing.assert_close(after, potential(batch).energies, rtol=1e-12, atol=1e-14)
    potential.to(torch.float32)
    assert potential(batch, extra="layers").layers.deltas[0].dtype == torch.float32


def test_networks_in_training_keep_their_gradients():
    potential, batch = tiny.potential(hidden=HIDDEN), tiny.mixed().to_batch()
    potential(batch, extra="layers")
    potential.requires_grad_(True)
    deltas = potential(batch, extra="layers").layers.deltas
    (found,) = torch.autograd.grad(deltas[0].sum(), potential.networks[0].rest[0].weight)
    assert found.any()


def test_networks_of_other_depth_or_with_kinks_are_not_stacked():
    assert NetworkStack.fits(tiny.potential(hidden=HIDDEN).networks)
    assert not NetworkStack.fits(tiny.potential(hidden=((8,), (7, 6), (6,), (5,))).networks)
    assert not NetworkStack.fits(tiny.potential(activation="celu").networks)


@pytest.mark.parametrize("members", [1, 3])
def test_sketch_has_the_derivatives_of_its_formula(members):
    generator = torch.Generator().manual_seed(1)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    inputs = [normal(1, 4, 5), normal(members, 4, 3)]
    deltas = [normal(members, 4, 3), normal(members, 4, 1)]
    table = normal(members, 5 + 1 + 3 + 3 + 1 + 1, 6)
    tables = tables_of(table, inputs, deltas)
    tape = [t.requires_grad_() for t in (*inputs, *deltas)]
    expected = torch.zeros(4, 6, dtype=torch.float64)
    for m in range(members):
        own = table[m]
        first = inputs[0][0] @ own[:5] + own[5]
        second = inputs[1][m] @ own[9:12] + own[12]
        expected = expected + first * (deltas[0][m] @ own[6:9])
        expected = expected + second * (deltas[1][m] @ own[13:])
    torch.testing.assert_close(Sketch.apply(tables, *tape), expected)
    torch.testing.assert_close(sketch(inputs, deltas, table), expected)

    def of(*tensors):
        return Sketch.apply(tables, *tensors)

    assert torch.autograd.gradcheck(of, tape)
    assert torch.autograd.gradgradcheck(of, tape)
    deltas[1].requires_grad_(False)
    (found,) = torch.autograd.grad(of(*tape).sum(), inputs[0])
    (wanted,) = torch.autograd.grad(expected.sum(), inputs[0])
    torch.testing.assert_close(found, wanted)


def matrices(elements=3, width=5):
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn((elements, width, width), generator=generator, dtype=torch.float64)
    offset = torch.randn((elements, width), generator=generator, dtype=torch.float64)
    rows = torch.randn((7, width), generator=generator, dtype=torch.float64)
    return weight + weight.transpose(1, 2), offset, rows.requires_grad_()


def test_norms_of_places():
    weight, offset, rows = matrices()
    numbers = torch.tensor([8, 1, 1, 6, 0, 8, 1])
    own = (numbers.view(-1, 1, 1) == torch.tensor([[1], [6], [8]])).to(torch.float64)
    flat = weight.transpose(0, 1).flatten(1)
    tables = NormTables(weight, flat, flat.t().contiguous())
    element = torch.tensor([2, 0, 0, 1, 0, 2, 0])
    expected = (torch.einsum("nd,ndk->nk", rows, weight[element]) + offset[element]).norm(dim=1)
    expected = torch.where(numbers > 0, expected, 0.0)

    def of(x):
        return NormsOfPlaces.apply(x, own, tables, offset)

    torch.testing.assert_close(of(rows), expected)
    torch.testing.assert_close(norms_of_places(rows, own, flat, offset), expected)
    assert torch.autograd.gradcheck(of, rows)
    assert torch.autograd.gradgradcheck(of, rows)


def test_norms_of_rows():
    weight, offset, rows = matrices()
    counts = [4, 0, 3]
    element = torch.tensor([0, 0, 0, 0, 2, 2, 2])
    expected = (torch.einsum("nd,ndk->nk", rows, weight[element]) + offset[element]).norm(dim=1)

    def of(x):
        return NormsOfRows.apply(x, counts, weight, offset)

    torch.testing.assert_close(of(rows), expected)
    torch.testing.assert_close(norms_of_rows(rows, counts, weight, offset), expected)
    assert torch.autograd.gradcheck(of, rows)
    assert torch.autograd.gradgradcheck(of, rows)
    assert not of(rows.detach()).requires_grad


def test_norm_zero_has_slope_zero():
    weight, offset, _ = matrices()
    zero = torch.zeros(2, 5, dtype=torch.float64, requires_grad=True)
    value = NormsOfRows.apply(zero, [2, 0, 0], weight, torch.zeros_like(offset))
    (slope,) = torch.autograd.grad(value.sum(), zero)
    assert not value.any()
    assert not slope.any()


def test_groups_of_a_tape_are_those_of_the_batch():
    batch = tiny.mixed().to_batch()
    potential = tiny.potential()
    groups = group_atoms(batch.numbers, potential.elements)
    tape = potential(batch, extra="layers").layers
    described = potential(batch).features.flatten(0, 1)
    torch.testing.assert_close(tape.inputs[0][0], described[torch.cat(groups.rows)])
