"""The moving parts of training: weights, their running average, the best of them, the step size."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from uncv.training.centring import Centring
from uncv.training.networks import (
    Networks,
    by_member,
    copied_networks,
    gradients_by_member,
    parameters_by_member,
)
from uncv.training.settings import TrainSettings

WARM_UP = 20
"""Steps over which the learning rate rises."""
LAST_RATE = 0.01
"""Learning rate of the last step, in parts of the largest."""
HEAD = 0.3
"""Step of a head's weights over that of the others: a quick head soon takes the errors on training
frames for those on all frames, which are larger."""
LARGEST_GRADIENT = 10.0
"""Norm to which the gradient of one member is cut."""
FIRST_LAYER = 0.5
"""Step of the first layer's weights over that of the others, for inputs of spread 1."""
AVERAGING_START = 10.0
"""Steps after which the running average is as long as the steps done so far over this."""


class Optimiser:
    """AdamW on the networks of all members, with averaged weights and the best of each member.

    Parameters
    ----------
    networks : list of ElementNetwork
        Of centred descriptors, changed in place.
    centring : Centring
        The spread of the descriptors, which sets the steps of the first layers.
    settings : TrainSettings
        Weight decay and averaging.
    rate : float
        Largest learning rate.
    steps : int
        Number of steps over which it falls.
    """

    def __init__(
        self,
        networks: Networks,
        centring: Centring,
        settings: TrainSettings,
        rate: float,
        steps: int,
    ) -> None:
        self.networks = networks
        self.averaged = copied_networks(networks)
        self.best = copied_networks(networks)
        for network in networks:
            network.requires_grad_(True)
        for network in self.averaged + self.best:
            network.requires_grad_(False)
        self.best_loss = torch.full((settings.members,), math.inf, dtype=torch.float64)
        self.settings, self.rate, self.steps, self.step_count = settings, rate, steps, 0
        self.adam = torch.optim.AdamW(self._groups(centring), fused=True)

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step."""
        rising = min(1.0, (self.step_count + 1) / WARM_UP)
        done = min(1.0, self.step_count / max(1, self.steps))
        falling = LAST_RATE + (1.0 - LAST_RATE) * 0.5 * (1.0 + math.cos(math.pi * done))
        return self.rate * rising * falling

    def step(self, loss: Tensor) -> None:
        """Take one step down the gradient of a loss that is a sum over the members."""
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        self._clip()
        for group in self.adam.param_groups:
            group["lr"] = self.learning_rate * group["factor"]
        self.adam.step()
        self.step_count += 1
        kept = min(self.settings.averaging, self.step_count / (self.step_count + AVERAGING_START))
        with torch.no_grad():
            for mean, now in zip(self.averaged, self.networks, strict=True):
                for old, new in zip(mean.parameters(), now.parameters(), strict=True):
                    old.lerp_(new, 1.0 - kept)

    def keep_best(self, losses: Tensor) -> bool:
        """Keep the averaged weights of every member whose loss (M,) is its lowest so far."""
        better = losses < self.best_loss
        self.best_loss = torch.where(better, losses, self.best_loss)
        if not bool(better.any()):
            return False
        best, averaged = parameters_by_member(self.best), parameters_by_member(self.averaged)
        for old, new in zip(best, averaged, strict=True):
            old.copy_(torch.where(by_member(better, old), new, old))
        return True

    def forget_best(self) -> None:
        """Take the next losses for the lowest so far, whatever they are."""
        self.best_loss = torch.full_like(self.best_loss, math.inf)

    def keep_last(self) -> None:
        """Keep the averaged weights of all members as they are."""
        for old, new in zip(self.best, self.averaged, strict=True):
            old.load_state_dict(new.state_dict())

    def state(self) -> dict[str, Any]:
        """Return everything that the next step depends on, as plain values and tensors."""
        return {
            "networks": [n.state_dict() for n in self.networks],
            "averaged": [n.state_dict() for n in self.averaged],
            "best": [n.state_dict() for n in self.best],
            "best_loss": self.best_loss,
            "adam": self.adam.state_dict(),
            "step_count": self.step_count,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` gave."""
        for name in ("networks", "averaged", "best"):
            for network, kept in zip(getattr(self, name), state[name], strict=True):
                network.load_state_dict(kept)
        self.best_loss = state["best_loss"]
        self.adam.load_state_dict(state["adam"])
        self.step_count = state["step_count"]

    def _groups(self, centring: Centring) -> list[dict[str, Any]]:
        """Return the parameters with the factors of their steps."""
        decay = self.settings.weight_decay
        factors = [FIRST_LAYER / spread for spread in centring.spread.tolist()]
        groups: list[dict[str, Any]] = [
            {"params": [n.first.weight], "factor": f, "weight_decay": decay / f}
            for n, f in zip(self.networks, factors, strict=True)
        ]
        heads = [p for n in self.networks for p in n.head.parameters()]
        apart = {id(p) for p in heads} | {id(n.first.weight) for n in self.networks}
        others = [p for n in self.networks for p in n.parameters() if id(p) not in apart]
        groups.append({"params": others, "factor": 1.0, "weight_decay": decay})
        if heads:
            groups.append({"params": heads, "factor": HEAD, "weight_decay": decay / HEAD})
        return groups

    def _clip(self) -> None:
        gradients = gradients_by_member(self.networks)
        parts = [torch.linalg.vector_norm(g, dim=tuple(range(1, g.dim()))) for g in gradients]
        norms = torch.linalg.vector_norm(torch.stack(parts), dim=0).clamp(min=1e-30)
        factors = (LARGEST_GRADIENT / norms).clamp(max=1.0)
        if bool((factors < 1.0).any()):
            for gradient in gradients:
                gradient *= by_member(factors, gradient)
