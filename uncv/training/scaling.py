"""Standardised descriptors, by which the networks learn far faster than by the bare ones."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from uncv.models.networks import ElementNetwork

FLOOR = 0.05
"""Smallest width, in parts of the root mean square width of the element's channels."""


class Scaling(NamedTuple):
    """x' = (x − mean) / width of each element's descriptor.

    Attributes
    ----------
    mean, width : torch.Tensor
        (S, D), float64.
    """

    mean: Tensor
    width: Tensor


def fit_scaling(described: Tensor, species: Tensor, count: int) -> Scaling:
    """Return mean and standard deviation of the descriptors of each element.

    Channels that hardly vary get a floor: their width never goes below a part of the typical one,
    and is 1 for an element that does not vary at all.

    Parameters
    ----------
    described : torch.Tensor
        Descriptors (N, D).
    species : torch.Tensor
        Index of each atom's element (N,).
    count : int
        Number of elements S.
    """
    means, widths = [], []
    for index in range(count):
        x = described[species == index].to(torch.float64)
        if len(x) == 0:
            x = described.new_zeros((1, described.shape[1]), dtype=torch.float64)
        width = x.std(dim=0, unbiased=False)
        typical = width.square().mean().sqrt()
        widths.append(width.clamp(min=FLOOR * typical) if typical > 0 else torch.ones_like(width))
        means.append(x.mean(dim=0))
    return Scaling(torch.stack(means), torch.stack(widths))


def absorb(networks: nn.ModuleList, scaling: Scaling) -> None:
    """Change networks of bare descriptors into the equal ones of standardised descriptors."""
    for index, network in enumerate(networks):
        _change(network, scaling.mean[index], scaling.width[index])


def release(networks: nn.ModuleList, scaling: Scaling) -> None:
    """Undo `absorb`."""
    for index, network in enumerate(networks):
        width = 1.0 / scaling.width[index]
        _change(network, -scaling.mean[index] * width, width)


def _change(network: nn.Module, mean: Tensor, width: Tensor) -> None:
    if not isinstance(network, ElementNetwork):
        raise TypeError(f"network is {type(network).__name__}; expected ElementNetwork")
    weight, bias = network.first.weight, network.first.bias
    with torch.no_grad():
        old = weight.to(torch.float64)
        bias += torch.einsum("d,dmh->mh", mean, old).to(bias.dtype)
        weight.copy_(old * width[:, None, None])
