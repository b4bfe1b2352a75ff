"""Epochs: steps over shuffled batches, validation, the best weights, early stopping."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from uncv.errors import TrainingError
from uncv.training.frames import FrameBatch, LabelledFrames
from uncv.training.loss import SquaredErrors, frame_losses, predict, squared_errors
from uncv.training.optimiser import Optimiser
from uncv.training.settings import EpochLog, TrainSettings

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


class Training:
    """One training run, epoch by epoch.

    Parameters
    ----------
    optimiser : Optimiser
        Holds the weights.
    frames, validation : LabelledFrames
        Standardised alike.
    weights : torch.Tensor
        Weight of each training frame for each member (M, F), 0 or 1.
    scale : float
        Factor from networks to eV.
    seed : int
        Of the order of the frames.
    """

    def __init__(
        self,
        optimiser: Optimiser,
        frames: LabelledFrames,
        validation: LabelledFrames,
        weights: Tensor,
        scale: float,
        seed: int,
    ) -> None:
        self.optimiser, self.settings = optimiser, optimiser.settings
        self.frames, self.validation, self.weights = frames, validation, weights
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
            if value != value or value in (float("inf"), float("-inf")):
                raise TrainingError(
                    f"the loss is {value} in epoch {self.epoch + 1}; lower the learning rate "
                    f"(now {self.settings.learning_rate:g}) or remove frames with huge forces"
                )
            self.optimiser.step(loss)
            total, steps = total + value, steps + 1
        self.epoch += 1
        checked = validate(
            self.optimiser.averaged, self.scale, self.validation, self.settings
        )
        self.stale = 0 if self.optimiser.keep_best(checked.losses) else self.stale + 1
        members = self.weights.shape[0]
        return EpochLog(
            self.epoch,
            total / (steps * members),
            checked.energy_rmse,
            checked.force_rmse,
            self.optimiser.learning_rate,
        )

    def _loss(self, batch: FrameBatch) -> Tensor:
        prediction = predict(self.optimiser.networks, self.scale, self.frames, batch)
        losses = frame_losses(squared_errors(prediction, batch), self.settings)
        weights = self.weights[:, batch.ids]
        return ((losses * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)).sum()

    def _batches(self) -> Iterator[FrameBatch]:
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + self.epoch) % 2**63)
        order = torch.randperm(len(self.frames), generator=generator)
        for ids in order.tensor_split(-(-len(order) // self.settings.batch_size)):
            yield self.frames.batch(ids)


def validate(
    networks: torch.nn.ModuleList, scale: float, frames: LabelledFrames, settings: TrainSettings
) -> Validation:
    """Return the errors of the networks on some frames."""
    errors, mean_errors, known = [], [], []
    with torch.no_grad():
        for ids in torch.arange(len(frames)).split(VALIDATION_BATCH):
            batch = frames.batch(ids)
            prediction = predict(networks, scale, frames, batch)
            errors.append(frame_losses(squared_errors(prediction, batch), settings))
            mean = type(prediction)(*(p.mean(dim=0, keepdim=True) for p in prediction))
            mean_errors.append(squared_errors(mean, batch))
            known.append(torch.stack([batch.labels.has_energy, batch.labels.has_forces]))
    joined = SquaredErrors(*(torch.cat(e, dim=1)[0] for e in zip(*mean_errors, strict=True)))
    has = torch.cat(known, dim=1).sum(dim=1)
    losses = torch.cat(errors, dim=1).to(torch.float64).mean(dim=1)
    energy = (joined.energy.sum() / has[0]).sqrt() if has[0] > 0 else torch.tensor(float("nan"))
    forces = (joined.forces.sum() / has[1]).sqrt() if has[1] > 0 else torch.tensor(float("nan"))
    return Validation(losses, 1000.0 * float(energy), float(forces))
