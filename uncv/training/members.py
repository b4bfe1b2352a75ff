"""Ensembles taken apart and put together, so that members can be trained in several places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch

from uncv.errors import TrainingError
from uncv.models import AniPotential
from uncv.models.networks import BatchedLinear
from uncv.training.networks import networks_of, parameters_by_member


def some_members(potential: AniPotential, first: int, count: int) -> AniPotential:
    """Return a potential of ``count`` members from number ``first`` on, with weights of its own."""
    smaller = AniPotential(replace(potential.settings, members=count)).to(potential.dtype)
    sources = parameters_by_member(networks_of(potential))
    with torch.no_grad():
        for target, source in zip(parameters_by_member(networks_of(smaller)), sources, strict=True):
            target.copy_(source[first : first + count])
    return smaller.requires_grad_(False)


def join_members(parts: Sequence[AniPotential]) -> AniPotential:
    """Return one ensemble of the members of several, in their order.

    The output scales of the parts may differ; the joint potential has that of the first, and the
    last layers of the others are multiplied to make up for it.

    Raises
    ------
    TrainingError
        If the parts differ in anything but their weights, members and scales, or have heads, whose
        outputs do not follow the scale.
    """
    if len(parts) == 1:
        return parts[0]
    first = parts[0].settings
    for part in parts:
        alike = replace(part.settings, members=first.members, scale=first.scale) == first
        if not alike or first.head:
            raise TrainingError(
                "the parts of an ensemble differ in their settings, or have heads; expected parts "
                "of the same networks, trained on the same frames, without a head"
            )
    joint = AniPotential(replace(first, members=sum(p.members for p in parts)))
    joint = joint.to(parts[0].dtype)
    sources = [parameters_by_member(networks_of(_scaled(p, first.scale))) for p in parts]
    with torch.no_grad():
        for target, *views in zip(parameters_by_member(networks_of(joint)), *sources, strict=True):
            target.copy_(torch.cat(views))
    return joint.requires_grad_(False)


def _scaled(potential: AniPotential, scale: float) -> AniPotential:
    """Return the same potential with another output scale."""
    if potential.scale == scale:
        return potential
    copy = some_members(potential, 0, potential.members)
    factor = potential.scale / scale
    with torch.no_grad():
        for network in networks_of(copy):
            last = cast("BatchedLinear", network.rest[-1])
            last.weight.mul_(factor)
            last.bias.mul_(factor)
    return copy
