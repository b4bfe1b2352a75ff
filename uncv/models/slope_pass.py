"""Energies of one element's networks and their slopes by the descriptor, with the derivative.

With z_l = a_(l-1) W_l + b_l and a_l = σ(z_l) for hidden layers l = 1 ... L, the slopes go down
δ_l = t_l ∘ σ'(z_l), t_l = δ_(l+1) W_(l+1)ᵀ, from t_L = s w with the output scale s and the output
weights w; the gradient by the descriptor is δ_1 W_1ᵀ. The backward pass goes up the chain of the
slopes, then down that of the values, with one product of matrices for each layer and way.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from uncv.models.networks import CELU_ALPHA, BatchedLinear, ElementNetwork

sigmoid_backward, where_above = torch.ops.aten.sigmoid_backward, torch.ops.aten.threshold_backward
"""bar ∘ g (1 − g) from bar and g; bar where x is above a number, else 0, from bar and x."""


class _Layer(NamedTuple):
    """Of a hidden layer, each (M, n, H): σ'(z), σ''(z) and t."""

    slope: Tensor
    bend: Tensor
    t: Tensor


class SlopePass(torch.autograd.Function):
    """Outputs (M, n, 1) and slopes (M, n, D) in eV: ``apply(x (n, D), network, scale)``.

    The networks' weights must not require a gradient. If the backward pass has to be
    differentiated itself, `ElementNetwork.tape` and autograd take over.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, network: ElementNetwork, scale: float
    ) -> tuple[Tensor, Tensor]:
        """Return them."""
        z = network.first(x).contiguous()
        slopes, bends = [], []
        rest = _rest(network)
        for layer in rest:
            activated, slope, bend = _activation(z, network.smooth)
            slopes.append(slope)
            bends.append(bend)
            z = layer(activated)
        weights = [layer.weight.transpose(1, 2) for layer in rest]
        layers = [_Layer(slopes[-1], bends[-1], (weights[-1] * scale).expand_as(slopes[-1]))]
        for depth in range(len(slopes) - 2, -1, -1):
            t = torch.bmm(layers[0].t * slopes[depth + 1], weights[depth])
            layers.insert(0, _Layer(slopes[depth], bends[depth], t))
        gradients = torch.bmm(layers[0].t * slopes[0], network.first.weight.permute(1, 2, 0))
        ctx.network, ctx.scale = network, scale
        ctx.save_for_backward(x, *(tensor for layer in layers for tensor in layer))
        return z, gradients

    @staticmethod
    def backward(ctx: Any, bar: Tensor, slope_bar: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient by the descriptors."""
        x, *kept = ctx.saved_tensors
        network: ElementNetwork = ctx.network
        if torch.is_grad_enabled():
            said = plain_slopes(x, network, ctx.scale)
            (gradient,) = torch.autograd.grad(said, x, (bar, slope_bar), create_graph=True)
            return gradient, None, None
        layers = [_Layer(*kept[i : i + 3]) for i in range(0, len(kept), 3)]
        rest = _rest(network)
        bent, up = [], torch.bmm(slope_bar, network.first.weight.permute(1, 0, 2))
        for layer, above in zip(layers, rest, strict=True):
            bent.append(up * layer.t * layer.bend)
            if above is not rest[-1]:
                up = torch.bmm(up * layer.slope, above.weight)
        for layer, above in zip(reversed(layers), reversed(rest), strict=True):
            bar = torch.matmul(bar, above.weight.transpose(1, 2))
            bar = torch.addcmul(bent.pop(), bar, layer.slope)
        together = bar.transpose(0, 1).flatten(1)
        return torch.mm(together, network.first.weight.flatten(1).t()), None, None


def _rest(network: ElementNetwork) -> list[BatchedLinear]:
    return cast("list[BatchedLinear]", list(network.rest))


def plain_slopes(x: Tensor, network: ElementNetwork, scale: float) -> tuple[Tensor, Tensor]:
    """Return what `SlopePass` does, differentiable any number of times and by the weights."""
    output, tape = network.tape(x, scale)
    slopes = torch.matmul(tape.deltas[0], network.first.weight.permute(1, 2, 0))
    return output[:, :, :1], slopes


def _activation(z: Tensor, smooth: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return σ(z), σ'(z) and σ''(z); the last jumps at 0 where the networks are not smooth."""
    if smooth:
        share = torch.sigmoid(z)
        activated = z * share
        slope = sigmoid_backward(z, share).add_(share)
        bend = torch.add(z, activated, alpha=-2.0).add_(2.0)
        return activated, slope, sigmoid_backward(bend, share)
    # Not torch.celu, whose slopes know alpha to single precision only.
    slope = z.clamp(max=0.0).div_(CELU_ALPHA).exp_()
    bend = where_above(slope, z.neg(), 0.0).div_(CELU_ALPHA)
    return z.clamp(min=0.0).add_(slope - 1.0, alpha=CELU_ALPHA), slope, bend
