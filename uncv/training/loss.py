"""Predictions of all members for a batch of labelled frames, and their loss, member by member."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from uncv.training.frames import FrameBatch, LabelledFrames
from uncv.training.settings import TrainSettings


class Prediction(NamedTuple):
    """What the members say of a batch, without the atomic reference energies.

    Attributes
    ----------
    energies : torch.Tensor
        (M, B) in eV.
    forces : torch.Tensor
        (M, N, 3) in eV/Å.
    stress : torch.Tensor
        (M, B, 6 or 0) in eV/Å³, Voigt's order.
    """

    energies: Tensor
    forces: Tensor
    stress: Tensor


class SquaredErrors(NamedTuple):
    """Mean squared errors of each member and frame, (M, B) each; zero without a label.

    In (eV/atom)², (eV/Å)² and (eV/Å³)².
    """

    energy: Tensor
    forces: Tensor
    stress: Tensor


def predict(
    networks: nn.ModuleList, scale: float, frames: LabelledFrames, batch: FrameBatch
) -> Prediction:
    """Return energies, forces and stress, differentiable by the weights."""
    values, slopes = zip(
        *(net.value_and_slope(x) for net, x in zip(networks, batch.inputs, strict=True)),  # type: ignore[operator]
        strict=True,
    )
    order = torch.cat(batch.rows)
    frame = batch.frame[order]
    atomic = torch.cat(values, dim=1)
    energies = atomic.new_zeros((atomic.shape[0], len(batch.ids))).index_add(1, frame, atomic)
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order))
    together = torch.cat(slopes, dim=1).index_select(1, back)
    gradients, strains = frames.gradients(batch, together)
    stress = strains * (scale / batch.volumes[:, None])
    return Prediction(energies * scale, gradients * -scale, stress)


def squared_errors(prediction: Prediction, batch: FrameBatch) -> SquaredErrors:
    """Return the errors of each member and frame."""
    labels, counts = batch.labels, batch.counts.to(prediction.energies.dtype)
    energy = ((prediction.energies - labels.energy) / counts).square() * labels.has_energy
    atoms = (prediction.forces - labels.forces).square().mean(dim=2)
    forces = torch.zeros_like(energy).index_add(1, batch.frame, atoms) / counts * labels.has_forces
    if prediction.stress.shape[2] == 0:
        return SquaredErrors(energy, forces, torch.zeros_like(energy))
    stress = (prediction.stress - labels.stress).square().mean(dim=2) * labels.has_stress
    return SquaredErrors(energy, forces, stress)


def frame_losses(errors: SquaredErrors, settings: TrainSettings) -> Tensor:
    """Return the weighted sum of the squared errors, (M, B)."""
    return (
        settings.energy_weight * errors.energy
        + settings.force_weight * errors.forces
        + settings.stress_weight * errors.stress
    )
