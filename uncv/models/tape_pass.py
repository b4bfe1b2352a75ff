"""Energies of all networks and what each layer does to them, with the derivative written out.

`ElementNetwork.tape` says the same, but takes some two hundred small operations a step, and as many
again for its derivative by autograd. Here the networks of all members and elements are one stack of
matrices, padded to the widest, and their atoms one stack of rows, padded to the most frequent
element, so that each layer is one batched product. With z_l = a_(l-1) W_l + b_l and a_l = σ(z_l)
for hidden layers l = 1 ... L, the slopes are δ_l = t_l ∘ σ'(z_l), t_l = δ_(l+1) W_(l+1)ᵀ and
t_L = s w, with the output scale s and the output weights w. The backward pass goes up the chain of
the slopes, then down that of the values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad, silu

from uncv.models.networks import ElementNetwork
from uncv.protocols import LayerTape

silu_backward, sigmoid_backward = torch.ops.aten.silu_backward, torch.ops.aten.sigmoid_backward
"""bar ∘ σ'(z) from bar and z; bar ∘ g (1 − g) from bar and g; one operation each."""


class NetworkStack:
    """The networks of all elements as one stack, B = M·E matrices for each layer.

    Parameters
    ----------
    networks : sequence of ElementNetwork
        One for each element, all smooth and with as many layers.
    """

    def __init__(self, networks: Sequence[ElementNetwork]) -> None:
        self.networks = list(networks)
        self._made_from = [p for network in networks for p in network.parameters()]
        self._state = self._now()
        first = [network.first for network in networks]
        levels = list(zip(*(network.rest for network in networks), strict=True))
        with torch.no_grad():
            self.weights = [_stacked([la.weight.transpose(0, 1) for la in first])]
            self.biases = [_stacked([la.bias.unsqueeze(1) for la in first])]
            for level in levels:
                self.weights.append(_stacked([la.weight for la in level]))
                self.biases.append(_stacked([la.bias for la in level]))

    @staticmethod
    def fits(networks: Sequence[ElementNetwork]) -> bool:
        """Return whether these networks can be one stack."""
        return all(n.smooth and len(n.rest) == len(networks[0].rest) for n in networks)

    def is_current(self) -> bool:
        """Return whether the networks still have the weights that it was made from."""
        return self._state == self._now()

    def _now(self) -> list[tuple[int, int, bool]]:
        return [(p.data_ptr(), p._version, p.requires_grad) for p in self._made_from]  # noqa: SLF001

    @property
    def trained(self) -> bool:
        """Whether gradients by the weights are wanted, which `tape_pass` does not give."""
        return any(p.requires_grad for p in self._made_from)


def tape_pass(
    stack: NetworkStack, x: Tensor, counts: list[int], scale: float
) -> tuple[Tensor, LayerTape]:
    """Return the outputs (M, N, 1) and the tape of atoms with descriptors (N, D).

    Parameters
    ----------
    stack : NetworkStack
        The networks; not trained.
    x : torch.Tensor
        Descriptors of the atoms, element after element.
    counts : list of int
        Atoms of each element.
    scale : float
        Factor from the outputs to eV.
    """
    most = max(counts)
    places = np.concatenate([np.arange(e * most, e * most + n) for e, n in enumerate(counts)])
    outputs, *layers = TapePass.apply(x, stack, torch.from_numpy(places), most, scale)
    half = len(layers) // 2
    last = torch.full_like(outputs, scale)
    return outputs, LayerTape([x.unsqueeze(0), *layers[:half]], [*layers[half:], last])


class _Layer(NamedTuple):
    """Of a hidden layer: z, σ(z), t and δ, each (B, n, H) with n rows for each element."""

    z: Tensor
    activated: Tensor
    t: Tensor
    delta: Tensor


class TapePass(torch.autograd.Function):
    """Outputs, then σ(z_l) and then δ_l of all hidden layers; see `tape_pass`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, stack: NetworkStack, places: Tensor, most: int, scale: float
    ) -> tuple[Tensor, ...]:
        """Return them, from the places of the atoms among E·n rows, n the most of any element."""
        weights, biases = stack.weights, stack.biases
        elements = len(stack.networks)
        members = len(weights[0]) // elements
        rows = x.new_zeros((elements * most, x.shape[1])).index_copy_(0, places, x)
        below = rows.view(elements, most, -1).repeat(members, 1, 1)
        z, activated = [], []
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            z.append(torch.baddbmm(bias, below, weight))
            activated.append(below := silu(z[-1]))
        outputs = torch.baddbmm(biases[-1], below, weights[-1])
        t = (weights[-1].transpose(1, 2) * scale).expand(-1, most, -1)
        layers = [_Layer(z[-1], below, t, silu_backward(t, z[-1]))]
        for depth in range(len(z) - 2, -1, -1):
            t = torch.bmm(layers[0].delta, weights[depth + 1].transpose(1, 2))
            layers.insert(0, _Layer(z[depth], activated[depth], t, silu_backward(t, z[depth])))
        ctx.stack, ctx.most, ctx.scale = stack, most, scale
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, places, *(tensor for layer in layers for tensor in layer))
        return _unstacked([outputs, *activated, *(la.delta for la in layers)], elements, places)

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor, None, None, None, None]:
        """Return the gradient by the descriptors."""
        x, places, *kept = ctx.saved_tensors
        layers = [_Layer(*kept[i : i + 4]) for i in range(0, len(kept), 4)]
        energy_only = given[0] is not None and all(bar is None for bar in given[1:])
        members = len(layers[0].z) // len(ctx.stack.networks)
        bars = _filled(given, layers, x.new_zeros((members, len(x), 1)))
        if torch.is_grad_enabled():  # to be differentiated once more
            return _differentiable_backward(ctx, x, places, bars), None, None, None, None
        if energy_only:
            return _of_energy(ctx, bars[0], layers[0].delta, places), None, None, None, None
        weights, elements, number = ctx.stack.weights, len(ctx.stack.networks), len(layers)
        bar, *both = _restacked(bars, elements, ctx.most, places)
        value_bars, delta_bars = both[:number], both[number:]
        bent, delta_bar = [], delta_bars[0]
        for depth, layer in enumerate(layers):
            bent.append(_bent(delta_bar * layer.t, layer))
            if depth + 1 < number:
                t_bar = silu_backward(delta_bar, layer.z)
                delta_bar = torch.baddbmm(delta_bars[depth + 1], t_bar, weights[depth + 1])
        for depth in range(number - 1, -1, -1):
            bar = torch.baddbmm(value_bars[depth], bar, weights[depth + 1].transpose(1, 2))
            bar = bent[depth].add_(silu_backward(bar, layers[depth].z))
        down = torch.bmm(bar, weights[0].transpose(1, 2)).view(-1, elements, ctx.most, x.shape[1])
        gradient = down.sum(dim=0).flatten(0, 1).index_select(0, places)
        return gradient, None, None, None, None


def _filled(
    given: Sequence[Tensor | None], layers: Sequence[_Layer], nothing: Tensor
) -> tuple[Tensor, ...]:
    """Return the cotangents of outputs, values and slopes, zero where nothing depends on one."""
    widths = [layer.z.shape[2] for layer in layers]
    pairs = zip(given, [1, *widths, *widths], strict=True)
    return tuple(nothing.expand(-1, -1, w) if bar is None else bar for bar, w in pairs)


def _of_energy(ctx: Any, bar: Tensor, delta: Tensor, places: Tensor) -> Tensor:
    """Return the gradient where energies alone are looked at: the slopes δ of layer 1 say it."""
    elements = len(ctx.stack.networks)
    (factor,) = _restacked((bar,), elements, ctx.most, places)
    down = torch.bmm(delta * (factor / ctx.scale), ctx.stack.weights[0].transpose(1, 2))
    summed = down.view(-1, elements, ctx.most, down.shape[2]).sum(dim=0)
    return summed.flatten(0, 1).index_select(0, places)


def _bent(bar: Tensor, layer: _Layer) -> Tensor:
    """Return bar ∘ σ''(z), σ'' = g (1 − g) (2 + z − 2 σ) with g the logistic function of z."""
    factor = torch.add(layer.z, layer.activated, alpha=-2.0).add_(2.0)
    return sigmoid_backward(bar, torch.sigmoid(layer.z)).mul_(factor)


def _stacked(parts: list[Tensor]) -> Tensor:
    """Return matrices (M, in, out) of each element as (M·E, in, out), zero past their own size."""
    rows, columns = max(p.shape[1] for p in parts), max(p.shape[2] for p in parts)
    wide = [pad(p, (0, columns - p.shape[2], 0, rows - p.shape[1])) for p in parts]
    return torch.stack(wide, dim=1).flatten(0, 1)


def _unstacked(stacks: list[Tensor], elements: int, places: Tensor) -> tuple[Tensor, ...]:
    """Return stacks (M·E, n, H) as rows (M, N, H) of the atoms."""
    rows = [stack.view(len(stack) // elements, -1, stack.shape[2]) for stack in stacks]
    return tuple(row.index_select(1, places) for row in rows)


def _restacked(
    rows: Sequence[Tensor], elements: int, most: int, places: Tensor
) -> tuple[Tensor, ...]:
    """Return rows (M, N, H) of the atoms as stacks (M·E, n, H), zero where there is no atom."""
    together = torch.cat(list(rows), dim=2)
    members, _, width = together.shape
    whole = together.new_zeros((members, elements * most, width))
    whole.index_copy_(1, places, together)
    stacks = whole.view(members * elements, most, width)
    return torch.split(stacks, [row.shape[2] for row in rows], dim=2)


def _differentiable_backward(
    ctx: Any, x: Tensor, places: Tensor, bars: tuple[Tensor, ...]
) -> Tensor:
    """Return the gradient in operations that autograd can follow."""
    elements = len(ctx.stack.networks)
    padded = x.new_zeros((elements * ctx.most, x.shape[1])).index_copy(0, places, x)
    outputs, inputs, deltas = [], [], []
    for network, rows in zip(ctx.stack.networks, padded.split(ctx.most), strict=True):
        output, tape = network.tape(rows, ctx.scale)
        outputs.append(output[:, :, :1])
        inputs.append(tape.inputs[1:])
        deltas.append(tape.deltas[:-1])
    layers = [outputs, *zip(*inputs, strict=True), *zip(*deltas, strict=True)]
    said = _unstacked([_stacked(list(parts)) for parts in layers], elements, places)
    (gradient,) = torch.autograd.grad(said, x, bars, create_graph=True)
    return gradient
