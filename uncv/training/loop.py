"""Epochs: steps over shuffled batches, validation, the best weights, early stopping."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from uncv.errors import TrainingError
from uncv.training.frames import FrameBatch, LabelledFrames
from uncv.training.heads import heads_by_errors, learn_heads, set_heads
from uncv.training.likelihood import frame_nll, head_errors
from uncv.training.loss import (
    Prediction,
    SquaredErrors,
    frame_losses,
    predict,
    squared_errors,
)
from uncv.training.networks import Networks
from uncv.training.optimiser import Optimiser
from uncv.training.settings import EpochLog, TrainSettings
from uncv.training.start import nested_seed

VALIDATION_BATCH = 32
SMALL_LOSS = 1e-30
"""Keeps the logarithm of a ratio of losses finite where both are 0."""


class Validation(NamedTuple):
    """Errors on frames that training does not see.

    Attributes
    ----------
    losses : torch.Tensor
        Of each member (M,), float64.
    energy_rmse, force_rmse : float
        Of the member mean, meV per atom and eV/Å.
    """

    losses: Tensor
    energy_rmse: float
    force_rmse: float


class TrainingFrames(NamedTuple):
    """Frames of one training run, centred alike.

    Attributes
    ----------
    training : LabelledFrames
        F frames for the steps.
    validation : LabelledFrames or None
        Frames for choosing the best weights; None keeps the last.
    weights : torch.Tensor
        Weight of each training frame for each member (M, F), 0 or 1.
    """

    training: LabelledFrames
    validation: LabelledFrames | None
    weights: Tensor


class Training:
    """One training run, epoch by epoch.

    Parameters
    ----------
    optimiser : Optimiser
        Holds the weights.
    frames : TrainingFrames
        What it is trained on and checked with.
    scale : float
        Factor from networks to eV.
    seed : int
        Of the order of the frames.
    """

    def __init__(
        self, optimiser: Optimiser, frames: TrainingFrames, scale: float, seed: int
    ) -> None:
        self.optimiser, self.settings = optimiser, optimiser.settings
        self.frames, self.validation, self.weights = frames
        self.scale, self.seed = scale, seed
        self.epoch = 0
        self.stale = 0
        self.phase = replace(self.settings, head="")
        learn_heads(optimiser.networks, wanted=False)

    @property
    def warming_up(self) -> bool:
        """Whether the networks have a head that does not learn yet."""
        return self.phase.head != self.settings.head

    @property
    def finished(self) -> bool:
        """Whether the last epoch is done or nothing has improved for too long."""
        stale = self.stale >= self.settings.patience and not self.warming_up
        return self.epoch >= self.settings.epochs or stale

    def learn_heads(self) -> None:
        """End the warm-up: from now on the loss is the likelihood, and heads learn."""
        self.phase = self.settings
        learn_heads(self.optimiser.networks, wanted=True)

    def advance(self) -> EpochLog:
        """Go through the training frames once and validate.

        Raises
        ------
        TrainingError
            If the loss is not finite.
        """
        if self.warming_up and self._warmed_up():
            self._start_heads()
        total, steps = 0.0, 0
        for batch in self._batches():
            loss = self._loss(batch)
            value = float(loss.detach())
            if not math.isfinite(value):
                raise TrainingError(
                    f"the loss is {value} in epoch {self.epoch + 1}, expected a finite number; "
                    f"lower the learning rate (now {self.optimiser.rate:g}) or remove "
                    "frames with huge forces"
                )
            self.optimiser.step(loss)
            total, steps = total + value, steps + 1
        self.epoch += 1
        checked = self._validate()
        mean = total / (steps * self.settings.members)
        rate = self.optimiser.learning_rate
        return EpochLog(self.epoch, mean, checked.energy_rmse, checked.force_rmse, rate)

    def _validate(self) -> Validation:
        if self.validation is None:
            self.optimiser.keep_last()
            return Validation(torch.full((self.settings.members,), math.nan), math.nan, math.nan)
        checked = validate(self.optimiser.averaged, self.scale, self.validation, self.phase)
        self.stale = 0 if self.optimiser.keep_best(checked.losses) else self.stale + 1
        return checked

    def _loss(self, batch: FrameBatch) -> Tensor:
        prediction = predict(self.optimiser.networks, self.scale, self.frames, batch)
        losses = self._frame_losses(prediction, batch)
        weights = self.weights[:, batch.ids]
        return ((losses * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)).sum()

    def _frame_losses(self, prediction: Prediction, batch: FrameBatch) -> Tensor:
        errors = squared_errors(prediction, batch)
        if self.phase.head:
            errors = errors._replace(forces=head_errors(prediction, batch, self.phase))
        return frame_losses(errors, self.phase)

    def _warmed_up(self) -> bool:
        enough = int(self.settings.head_warm_up * self.settings.epochs)
        return self.epoch >= enough or self.stale >= self.settings.patience

    def _start_heads(self) -> None:
        """Let heads say the errors so far, on frames not trained on where there are any."""
        held = self.validation
        unseen = held is not None and bool(held.labels.has_forces.any())
        frames = held if held is not None and unseen else self.frames
        averaged = self.optimiser.averaged
        values = heads_by_errors(averaged, self.scale, frames, self.settings.head)
        for networks in (self.optimiser.networks, averaged):
            set_heads(networks, values)
        self.learn_heads()
        self.optimiser.forget_best()
        self.stale = 0

    def _batches(self) -> Iterator[FrameBatch]:
        generator = torch.Generator().manual_seed(nested_seed(self.seed, self.epoch))
        order = torch.randperm(len(self.frames), generator=generator)
        for ids in order.tensor_split(-(-len(order) // self.settings.batch_size)):
            yield self.frames.batch(ids)


def validate(
    networks: Networks, scale: float, frames: LabelledFrames, settings: TrainSettings
) -> Validation:
    """Return the errors of the networks on some frames.

    The loss of networks with a head is the mean NLL of a force component, plus half the logarithm
    of the loss over its part of the forces: what the NLL would be if the errors of energy and
    stress were errors of the forces.
    """
    members: list[SquaredErrors] = []
    of_mean: list[SquaredErrors] = []
    nll: list[Tensor] = []
    with torch.no_grad():
        for ids in torch.arange(len(frames)).split(VALIDATION_BATCH):
            batch = frames.batch(ids)
            prediction = predict(networks, scale, frames, batch)
            members.append(squared_errors(prediction, batch))
            mean = Prediction(*(p.mean(dim=0, keepdim=True) for p in prediction))
            of_mean.append(squared_errors(mean, batch))
            if settings.head:
                nll.append(frame_nll(prediction, batch, settings))
    labels = frames.labels
    energy = _rmse([e.energy for e in of_mean], labels.has_energy)
    forces = _rmse([e.forces for e in of_mean], labels.has_forces * frames.forces)
    losses = _mean([frame_losses(e, settings) for e in members])
    known = float(labels.has_forces.sum())
    if settings.head and known > 0:
        of_forces = settings.force_weight * _mean([e.forces for e in members])
        share = (losses + SMALL_LOSS) / (of_forces + SMALL_LOSS)
        losses = _mean(nll) * (len(frames) / known) + 0.5 * share.log()
    return Validation(losses, 1000.0 * energy, forces)


def _mean(parts: list[Tensor]) -> Tensor:
    """Return the mean over all frames (M,), float64, of batches of (M, B)."""
    return torch.cat(parts, dim=1).to(torch.float64).mean(dim=1)


def _rmse(squares: list[Tensor], known: Tensor) -> float:
    total, number = float(torch.cat(squares, dim=1).sum()), float(known.sum())
    return math.sqrt(total / number) if number > 0 else math.nan
