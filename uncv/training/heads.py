"""Heads that networks get for training, and what they say before anything is learnt."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from uncv.models import AniPotential
from uncv.models.networks import BatchedLinear
from uncv.training.frames import LabelledFrames
from uncv.training.likelihood import raw_of
from uncv.training.loss import predict
from uncv.training.networks import Networks

FRAMES = 64
"""Frames whose force errors set what new heads say."""
SMALLEST_VAR = 1e-6
"""That a new head says, (eV/Å)²."""


def with_head(potential: AniPotential, head: str) -> AniPotential:
    """Return a potential with a head of zeros; its energies are the same.

    Raises
    ------
    ValueError
        If it has another head.
    """
    if potential.head == head:
        return potential
    if potential.head:
        raise ValueError(
            f"the potential to continue has the head {potential.head!r} but the settings ask for "
            f"{head!r}; give TrainSettings(head={potential.head!r}), or start anew"
        )
    wider = AniPotential(replace(potential.settings, head=head)).to(potential.dtype)
    wider.load_state_dict({**wider.state_dict(), **potential.state_dict()})
    return wider.requires_grad_(False)


def learn_heads(networks: Networks, *, wanted: bool) -> None:
    """Let the next steps change the heads, or leave them as they are."""
    for network in networks:
        network.head.requires_grad_(wanted)


def set_heads(networks: Networks, values: list[Tensor]) -> None:
    """Let heads say the same of all atoms of an element: outputs (M, K) for each element."""
    with torch.no_grad():
        for network, raw in zip(networks, values, strict=True):
            for layer in network.head:
                if isinstance(layer, BatchedLinear):
                    layer.weight.zero_()
                    layer.bias[:, 0] = raw


def heads_by_errors(
    networks: Networks, scale: float, frames: LabelledFrames, head: str
) -> list[Tensor]:
    """Return the outputs (M, K) of each element that say the variance of its force errors.

    An element that the frames have not is given that of all atoms.
    """
    batch = frames.batch(frames.labels.has_forces.nonzero().squeeze(1)[:FRAMES])
    with torch.no_grad():
        errors = predict(networks, scale, frames, batch).forces - batch.labels.forces
    squares = errors.square().mean(dim=2)
    chosen = [squares[:, rows] if len(rows) > 0 else squares for rows in batch.rows]
    return [raw_of(head, s.to(torch.float64).mean(dim=1).clamp(min=SMALLEST_VAR)) for s in chosen]
