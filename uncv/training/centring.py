"""Descriptors about their mean and in units of their spread, by which networks learn far faster.

The mean is taken off the inputs. The spread stays in the weights of the first layer: they start
and step in its inverse, so that Jacobians and slopes need no factor. One spread serves all channels
of an element: a standard deviation per channel makes noise of the channels that hardly vary and
cost a third of the accuracy on unseen frames.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from uncv.training.networks import Networks


class Centring(NamedTuple):
    """Mean and spread of the descriptors of each element.

    Attributes
    ----------
    mean : torch.Tensor
        (S, D), float64.
    spread : torch.Tensor
        Root mean square over the channels of the standard deviation (S,), float64.
    """

    mean: Tensor
    spread: Tensor


def fit_centring(described: Tensor, species: Tensor, count: int) -> Centring:
    """Return mean and spread of the descriptors of each element.

    Parameters
    ----------
    described : torch.Tensor
        Descriptors (N, D).
    species : torch.Tensor
        Index of each atom's element (N,).
    count : int
        Number of elements S; one that does not occur, or does not vary, has spread 1.
    """
    means, spreads = [], []
    for index in range(count):
        x = described[species == index].to(torch.float64)
        mean = x.mean(dim=0) if len(x) > 0 else x.new_zeros(described.shape[1])
        spread = (x - mean).square().mean().sqrt() if len(x) > 0 else x.new_zeros(())
        means.append(mean)
        spreads.append(spread if spread > 0 else torch.ones_like(spread))
    return Centring(torch.stack(means), torch.stack(spreads))


def centre(networks: Networks, centring: Centring) -> None:
    """Change networks of bare descriptors into the equal ones of centred descriptors."""
    _shift(networks, centring.mean)


def uncentre(networks: Networks, centring: Centring) -> None:
    """Undo `centre`."""
    _shift(networks, -centring.mean)


def scale_first_layers(networks: Networks, factors: Tensor) -> None:
    """Multiply the weights of each element's first layer by a factor (S,)."""
    with torch.no_grad():
        for network, factor in zip(networks, factors.tolist(), strict=True):
            network.first.weight.mul_(factor)


def _shift(networks: Networks, means: Tensor) -> None:
    with torch.no_grad():
        for network, mean in zip(networks, means, strict=True):
            first = network.first
            moved = torch.einsum("d,dmh->mh", mean, first.weight.to(torch.float64))
            first.bias.copy_(first.bias.to(torch.float64) + moved)
