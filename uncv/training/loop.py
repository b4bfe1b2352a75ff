"""Epochs: steps over shuffled batches, validation, the best weights, early stopping."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from uncv.errors import TrainingError
from uncv.training.frames import FrameBatch, LabelledFrames
from uncv.training.loss import Prediction, frame_losses, predict, squared_errors
from uncv.training.networks import Networks
from uncv.training.optimiser import Optimiser
from uncv.training.settings import EpochLog, TrainSettings
from uncv.training.start import nested_seed

VALIDATION_BATCH = 32


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

    @property
    def finished(self) -> bool:
        """Whether the last epoch is done or nothing has improved for too long."""
        return self.epoch >= self.settings.epochs or self.stale >= self.settings.patience

    def advance(self) -> EpochLog:
        """Go through the training frames once and validate.

        Raises
        ------
        TrainingError
            If the loss is not finite.
        """
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
        checked = validate(self.optimiser.averaged, self.scale, self.validation, self.settings)
        self.stale = 0 if self.optimiser.keep_best(checked.losses) else self.stale + 1
        return checked

    def _loss(self, batch: FrameBatch) -> Tensor:
        prediction = predict(self.optimiser.networks, self.scale, self.frames, batch)
        losses = frame_losses(squared_errors(prediction, batch), self.settings)
        weights = self.weights[:, batch.ids]
        return ((losses * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)).sum()

    def _batches(self) -> Iterator[FrameBatch]:
        generator = torch.Generator().manual_seed(nested_seed(self.seed, self.epoch))
        order = torch.randperm(len(self.frames), generator=generator)
        for ids in order.tensor_split(-(-len(order) // self.settings.batch_size)):
            yield self.frames.batch(ids)


def validate(
    networks: Networks, scale: float, frames: LabelledFrames, settings: TrainSettings
) -> Validation:
    """Return the errors of the networks on some frames."""
    losses, of_mean = [], []
    with torch.no_grad():
        for ids in torch.arange(len(frames)).split(VALIDATION_BATCH):
            batch = frames.batch(ids)
            prediction = predict(networks, scale, frames, batch)
            losses.append(frame_losses(squared_errors(prediction, batch), settings))
            mean = Prediction(*(p.mean(dim=0, keepdim=True) for p in prediction))
            of_mean.append(squared_errors(mean, batch))
    labels = frames.labels
    energy = _rmse([e.energy for e in of_mean], labels.has_energy)
    forces = _rmse([e.forces for e in of_mean], labels.has_forces * frames.forces)
    mean_losses = torch.cat(losses, dim=1).to(torch.float64).mean(dim=1)
    return Validation(mean_losses, 1000.0 * energy, forces)


def _rmse(squares: list[Tensor], known: Tensor) -> float:
    total, number = float(torch.cat(squares, dim=1).sum()), float(known.sum())
    return math.sqrt(total / number) if number > 0 else math.nan
