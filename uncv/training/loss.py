"""Predictions of all members for a batch of labelled frames, and their loss, member by member."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from uncv.training.frames import FrameBatch, LabelledFrames
from uncv.training.network_pass import NetworkPass, weights_of
from uncv.training.networks import Networks
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
    raw : torch.Tensor
        What the networks give beside the energy (M, N, K); see `uncv.heads`.
    """

    energies: Tensor
    forces: Tensor
    stress: Tensor
    raw: Tensor


class SquaredErrors(NamedTuple):
    """Mean squared errors of each member and frame, (M, B) each; zero without a label.

    In (eV/atom)², (eV/Å)² and (eV/Å³)².
    """

    energy: Tensor
    forces: Tensor
    stress: Tensor


def predict(
    networks: Networks, scale: float, frames: LabelledFrames, batch: FrameBatch
) -> Prediction:
    """Return energies, forces, stress and heads, differentiable by the weights."""
    if not (frames.forces or frames.strain):
        atomic = _energies_alone(networks, batch)
        nothing = atomic.new_zeros((*atomic.shape, 3))
        energies = _of_frames(atomic, batch) * scale
        return Prediction(energies, nothing, nothing[:, :0, :0], nothing[:, :, :0])
    outputs, slopes = NetworkPass.apply(networks, batch.inputs, batch.rows, *weights_of(networks))
    energies = _of_frames(outputs.select(2, 0), batch)
    gradients, strains = frames.gradients(batch, slopes)
    stress = strains * (scale / batch.volumes[:, None])
    return Prediction(energies * scale, gradients * -scale, stress, outputs[:, :, 1:])


def _of_frames(atomic: Tensor, batch: FrameBatch) -> Tensor:
    """Return the sum over each frame's atoms (M, B) of values (M, N)."""
    zeros = atomic.new_zeros((len(atomic), len(batch.ids)))
    return zeros.index_add(1, batch.frame, atomic)


def mean_of_frames(atoms: Tensor, batch: FrameBatch) -> Tensor:
    """Return the mean over each frame's atoms (M, B) of values (M, N), 0 without force labels."""
    return _of_frames(atoms, batch) / batch.counts.to(atoms.dtype) * batch.labels.has_forces


def _energies_alone(networks: Networks, batch: FrameBatch) -> Tensor:
    order = torch.argsort(torch.cat(batch.rows))
    values = [n(x) for n, x in zip(networks, batch.inputs, strict=True)]
    return torch.cat(values, dim=1).index_select(1, order)


def squared_errors(prediction: Prediction, batch: FrameBatch) -> SquaredErrors:
    """Return the errors of each member and frame."""
    labels, counts = batch.labels, batch.counts.to(prediction.energies.dtype)
    energy = ((prediction.energies - labels.energy) / counts).square() * labels.has_energy
    forces = mean_of_frames((prediction.forces - labels.forces).square().mean(dim=2), batch)
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
