"""Outputs of the networks and slopes of the energy, with the derivative by the weights written out.

Training needs E, g = ∂E/∂descriptor, and the gradient of a loss of both by the weights. Autograd
takes some sixty small operations an element for it; written out they are a third, which is what a
step of a small molecule costs. With a_l = σ(z_l), z_l = a_(l-1) W_l + b_l for layers l = 1 ... L,
output W_(L+1), the slope is g = δ_1 W_1ᵀ, δ_l = t_l ∘ σ'(z_l), t_l = δ_(l+1) W_(l+1)ᵀ,
t_L = W_(L+1)ᵀ. The backward pass goes up that chain, then down that of the values. A head is one
more product with a_L and has no slopes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from uncv.models.networks import CELU_ALPHA, ElementNetwork


class _Layer(NamedTuple):
    """Of a hidden layer: z and a, σ' and σ'', t and δ; each (M, n, H)."""

    activated: Tensor
    slope: Tensor
    curvature: Tensor
    t: Tensor
    delta: Tensor


class NetworkPass(torch.autograd.Function):
    """Outputs (M, N, 1 + K) and slopes of the energy (M, N, D) of the atoms of all elements.

    ``NetworkPass.apply(networks, inputs, rows, *weights)`` with the centred descriptors (n_e, D) of
    each element, the rows (n_e,) they have among the N atoms, and the weights of all networks as
    `weights_of` lists them. Differentiable by the weights alone.
    """

    @staticmethod
    def forward(
        ctx: Any,
        networks: list[ElementNetwork],
        inputs: list[Tensor],
        rows: list[Tensor],
        *weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return outputs and slopes."""
        members, atoms = weights[0].shape[1], sum(len(r) for r in rows)
        values = inputs[0].new_empty((members, atoms, networks[0].outputs))
        slopes = inputs[0].new_empty((members, atoms, inputs[0].shape[1]))
        ctx.kept = []
        ctx.inputs, ctx.rows, ctx.weights = inputs, rows, _by_network(networks, weights)
        for network, x, of, own in zip(networks, inputs, rows, ctx.weights, strict=True):
            value, slope, layers = _forward(network, x, own)
            values.index_copy_(1, of, value)
            slopes.index_copy_(1, of, slope)
            ctx.kept.append(layers)
        return values, slopes

    @staticmethod
    def backward(ctx: Any, value_bar: Tensor, slope_bar: Tensor) -> tuple[Any, ...]:
        """Return the gradients of the weights."""
        gradients: list[Tensor] = []
        for x, of, own, layers in zip(ctx.inputs, ctx.rows, ctx.weights, ctx.kept, strict=True):
            bars = value_bar.index_select(1, of), slope_bar.index_select(1, of)
            gradients += _backward(x, own, layers, *bars)
        return (None, None, None, *gradients)


def weights_of(networks: list[ElementNetwork]) -> list[Tensor]:
    """Return weight and bias of each layer, from the first to output and head, by element."""
    return [
        tensor
        for network in networks
        for layer in (network.first, *network.rest, *network.head)
        for tensor in (layer.weight, layer.bias)
    ]


def _by_network(networks: list[ElementNetwork], weights: tuple[Tensor, ...]) -> list[list[Tensor]]:
    parts, begin = [], 0
    for network in networks:
        number = 2 * (1 + len(network.rest) + len(network.head))
        parts.append(list(weights[begin : begin + number]))
        begin += number
    return parts


def _forward(
    network: ElementNetwork, x: Tensor, weights: list[Tensor]
) -> tuple[Tensor, Tensor, list[_Layer]]:
    first, bias = weights[:2]
    end = 2 * (1 + len(network.rest))
    z = torch.addmm(bias.flatten(), x, first.flatten(1)).unflatten(1, bias.shape).transpose(0, 1)
    up = []
    for weight, bias in zip(weights[2:end:2], weights[3:end:2], strict=True):
        up.append(_activate(z, smooth=network.smooth))
        z = torch.baddbmm(bias, up[-1][0], weight)
    layers: list[_Layer] = []
    t = weights[end - 2].transpose(1, 2)
    for depth in reversed(range(len(up))):
        activated, slope, curvature = up[depth]
        layers.insert(0, _Layer(activated, slope, curvature, t, t * slope))
        if depth > 0:
            t = torch.bmm(layers[0].delta, weights[2 * depth].transpose(1, 2))
    slopes = torch.bmm(layers[0].delta, first.permute(1, 2, 0))
    for weight, bias in zip(weights[end::2], weights[end + 1 :: 2], strict=True):
        z = torch.cat([z, torch.baddbmm(bias, up[-1][0], weight)], dim=2)
    return z, slopes, layers


def _backward(
    x: Tensor, weights: list[Tensor], layers: list[_Layer], value_bar: Tensor, slope_bar: Tensor
) -> list[Tensor]:
    gradients = [torch.empty(0)] * len(weights)
    bent = []
    delta_bar = torch.bmm(slope_bar, weights[0].transpose(0, 1))
    for depth, layer in enumerate(layers):
        t_bar = delta_bar * layer.slope
        bent.append(delta_bar.mul_(layer.curvature).mul_(layer.t))
        if depth + 1 < len(layers):
            gradients[2 * depth + 2] = torch.bmm(t_bar.transpose(1, 2), layers[depth + 1].delta)
            delta_bar = torch.bmm(t_bar, weights[2 * depth + 2])
        else:
            gradients[2 * depth + 2] = t_bar.sum(dim=1).unsqueeze(2)
    z_bar, head_bar = value_bar[:, :, :1], value_bar[:, :, 1:]
    for depth in reversed(range(len(layers))):
        upper = 2 * depth + 2
        gradients[upper].baddbmm_(layers[depth].activated.transpose(1, 2), z_bar)
        gradients[upper + 1] = z_bar.sum(dim=1, keepdim=True)
        down = torch.matmul(z_bar, weights[upper].transpose(1, 2))
        if depth == len(layers) - 1 and head_bar.shape[2] > 0:
            gradients[-2] = torch.bmm(layers[depth].activated.transpose(1, 2), head_bar)
            gradients[-1] = head_bar.sum(dim=1, keepdim=True)
            down += torch.bmm(head_bar, weights[-2].transpose(1, 2))
        z_bar = bent[depth].addcmul_(down, layers[depth].slope)
    gradients[1] = z_bar.sum(dim=1)
    flat = z_bar.transpose(0, 1).flatten(1)
    gradients[0] = torch.mm(x.T, flat).unflatten(1, weights[1].shape)
    gradients[0].transpose(0, 1).baddbmm_(slope_bar.transpose(1, 2), layers[0].delta)
    return gradients


def _activate(z: Tensor, *, smooth: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return σ(z), σ'(z) and σ''(z)."""
    if smooth:
        gate = torch.sigmoid(z)
        value = z * gate
        slope = torch.addcmul(value + gate, value, gate, value=-1.0)
        curvature = torch.addcmul(gate, gate, gate, value=-1.0).mul_((z + 2.0).sub_(value, alpha=2))
        return value, slope, curvature
    slope = torch.exp(z.clamp(max=0.0).mul_(1.0 / CELU_ALPHA))
    value = (slope - 1.0).mul_(CELU_ALPHA).add_(z.clamp(min=0.0))
    return value, slope, (slope / CELU_ALPHA).mul_(z < 0)
