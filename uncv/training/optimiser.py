"""The moving parts of training: weights, their running average, the best of them, the step size."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from uncv.training.centring import Centring
from uncv.training.settings import TrainSettings

WARM_UP = 20
"""Steps over which the learning rate rises."""
SPREAD_FACTOR = 2.0
LAST_RATE = 0.01
"""Learning rate of the last step, in parts of the largest."""
LARGEST_GRADIENT = 10.0
"""Norm to which the gradient of one member is cut."""


class Optimiser:
    """AdamW on the networks of all members, with averaged weights and the best of each member.

    Parameters
    ----------
    networks : torch.nn.ModuleList
        Changed in place.
    settings : TrainSettings
        Learning rate, weight decay, averaging.
    steps : int
        Number of steps over which the learning rate falls.
    """

    def __init__(
        self, networks: nn.ModuleList, centring: Centring, settings: TrainSettings, steps: int
    ) -> None:
        self.networks = networks.requires_grad_(True)
        self.averaged = copy.deepcopy(networks).requires_grad_(False)
        self.best = copy.deepcopy(self.averaged)
        self.members = networks[0].first.weight.shape[1]  # type: ignore[union-attr, index]
        self.best_loss = torch.full((self.members,), math.inf, dtype=torch.float64)
        self.settings, self.steps, self.step_count = settings, steps, 0
        self.adam = torch.optim.AdamW(self._groups(centring), fused=True)

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step."""
        rising = min(1.0, (self.step_count + 1) / WARM_UP)
        done = min(1.0, self.step_count / max(1, self.steps))
        falling = LAST_RATE + (1.0 - LAST_RATE) * 0.5 * (1.0 + math.cos(math.pi * done))
        return self.settings.learning_rate * rising * falling

    def step(self, loss: Tensor) -> None:
        """Take one step down the gradient of a loss that is a sum over the members."""
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        self._clip()
        for group in self.adam.param_groups:
            group["lr"] = self.learning_rate * group["factor"]
        self.adam.step()
        self.step_count += 1
        kept = min(self.settings.averaging, self.step_count / (self.step_count + 10.0))
        with torch.no_grad():
            for mean, now in zip(
                self.averaged.parameters(), self.networks.parameters(), strict=True
            ):
                mean.lerp_(now, 1.0 - kept)

    def keep_best(self, losses: Tensor) -> bool:
        """Keep the averaged weights of every member whose loss (M,) is its lowest so far."""
        better = losses < self.best_loss
        self.best_loss = torch.where(better, losses, self.best_loss)
        with torch.no_grad():
            for best, now in zip(self.best.parameters(), self.averaged.parameters(), strict=True):
                axis = self._member_axis(best)
                shape = [1] * best.dim()
                shape[axis] = self.members
                best.copy_(torch.where(better.view(shape), now, best))
        return bool(better.any())

    def state(self) -> dict[str, Any]:
        """Return everything that the next step depends on, as plain values and tensors."""
        return {
            "networks": self.networks.state_dict(),
            "averaged": self.averaged.state_dict(),
            "best": self.best.state_dict(),
            "best_loss": self.best_loss,
            "adam": self.adam.state_dict(),
            "step_count": self.step_count,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` gave."""
        self.networks.load_state_dict(state["networks"])
        self.averaged.load_state_dict(state["averaged"])
        self.best.load_state_dict(state["best"])
        self.best_loss = state["best_loss"]
        self.adam.load_state_dict(state["adam"])
        self.step_count = state["step_count"]

    def _groups(self, centring: Centring) -> list[dict[str, Any]]:
        """Return the parameters with their step sizes: that of a first layer per spread of input."""
        groups = []
        for network, spread in zip(self.networks, centring.spread.tolist(), strict=True):
            first = network.first.weight
            others = [p for p in network.parameters() if p is not first]
            for parameters, factor in (([first], 1.0 / (SPREAD_FACTOR * spread)), (others, 1.0)):
                decay = self.settings.weight_decay / factor
                groups.append({"params": parameters, "factor": factor, "weight_decay": decay})
        return groups

    def _clip(self) -> None:
        parameters = list(self.networks.parameters())
        total = torch.zeros(self.members, dtype=parameters[0].dtype)
        for p in parameters:
            if p.grad is not None:
                axis = self._member_axis(p)
                total += p.grad.square().sum(dim=[d for d in range(p.dim()) if d != axis])
        factor = (LARGEST_GRADIENT / total.sqrt().clamp(min=1e-30)).clamp(max=1.0)
        for p in parameters:
            if p.grad is not None:
                shape = [1] * p.dim()
                shape[self._member_axis(p)] = self.members
                p.grad *= factor.view(shape)

    def _member_axis(self, parameter: Tensor) -> int:
        """Return the axis of the members: the second of the shared first layer, else the first."""
        inner = parameter.dim() == 3 and parameter.shape[0] != self.members
        return 1 if inner else 0
