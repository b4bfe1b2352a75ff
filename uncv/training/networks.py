"""The networks of an ensemble as training handles them: a list by element, member by member."""

from __future__ import annotations

import copy

from torch import Tensor

from uncv.models import AniPotential
from uncv.models.networks import ElementNetwork

Networks = list[ElementNetwork]


def copied_networks(networks: Networks) -> Networks:
    """Return the same networks with weights of their own."""
    return [copy.deepcopy(network) for network in networks]


def networks_of(potential: AniPotential) -> Networks:
    """Return the networks of a potential in the order of its elements."""
    return [n for n in potential.networks if isinstance(n, ElementNetwork)]


def parameters_by_member(networks: Networks) -> list[Tensor]:
    """Return views of all weights with the members as their first axis, in a fixed order.

    Views follow the weights, and changes in place go to them.
    """
    views = []
    for network in networks:
        for parameter in network.parameters():
            shared_input = parameter is network.first.weight
            views.append(parameter.transpose(0, 1) if shared_input else parameter)
    return views


def gradients_by_member(networks: Networks) -> list[Tensor]:
    """Return views of the gradients like `parameters_by_member`, where there are any."""
    views = []
    for network in networks:
        for parameter in network.parameters():
            if parameter.grad is not None:
                shared_input = parameter is network.first.weight
                views.append(parameter.grad.transpose(0, 1) if shared_input else parameter.grad)
    return views


def by_member(values: Tensor, like: Tensor) -> Tensor:
    """Return one value per member (M,) shaped to multiply or choose in a tensor (M, ...)."""
    return values.view(-1, *(1 for _ in like.shape[1:]))
