"""How likely the force labels are, given the spread that a head says: the loss of the heads.

Sources: Nix, Weigend, ICNN 1994 (mean and variance); Seitzer et al., ICLR 2022 (the power of the
variance that keeps badly fitted atoms in view); Amini et al., NeurIPS 2020 (evidence).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from uncv.heads import evidence, force_var
from uncv.training.frames import FrameBatch
from uncv.training.loss import Prediction, mean_of_frames
from uncv.training.settings import TrainSettings


class Likelihood(NamedTuple):
    """Of the force labels of N atoms, each the mean over its three components (M, N).

    Attributes
    ----------
    nll : torch.Tensor
        Negative logarithm of their density.
    loss : torch.Tensor
        What training lowers: the same, weighted or with a regulariser.
    precision : torch.Tensor
        Fisher information that the loss holds of the mean, Å²/eV²: 1/variance for a normal
        distribution. Without derivative.
    """

    nll: Tensor
    loss: Tensor
    precision: Tensor


def normal(raw: Tensor, errors: Tensor, beta: float) -> Likelihood:
    """Return the likelihood under a normal distribution.

    Parameters
    ----------
    raw : torch.Tensor
        Outputs of a mean-variance head (M, N, 1).
    errors : torch.Tensor
        Of the forces (M, N, 3), eV/Å.
    beta : float
        The loss is the NLL times variance^beta, that power without derivative.
    """
    var = force_var(raw)
    nll = 0.5 * (torch.log(2.0 * math.pi * var) + errors.square().mean(dim=2) / var)
    fixed = var.detach()
    return Likelihood(nll, nll * fixed**beta, fixed ** (beta - 1.0))


def normal_inverse_gamma(raw: Tensor, errors: Tensor, weight: float) -> Likelihood:
    """Return the likelihood with mean and variance integrated out: Student's t.

    It has 2α degrees of freedom and scale² = β (1 + ν)/(ν α).

    Parameters
    ----------
    raw : torch.Tensor
        Outputs of an evidential head (M, N, 3).
    errors : torch.Tensor
        Of the forces (M, N, 3), eV/Å.
    weight : float
        Of the regulariser |error| (2ν + α).
    """
    nu, alpha, beta = evidence(raw)
    omega = 2.0 * beta * (1.0 + nu)
    spread = torch.log(nu.unsqueeze(2) * errors.square() + omega.unsqueeze(2)).mean(dim=2)
    nll = 0.5 * torch.log(math.pi / nu) - alpha * torch.log(omega) + (alpha + 0.5) * spread
    nll = nll + torch.lgamma(alpha) - torch.lgamma(alpha + 0.5)
    loss = nll + weight * errors.abs().mean(dim=2) * (2.0 * nu + alpha)
    information = (2.0 * alpha + 1.0) / (2.0 * alpha + 3.0) * 2.0 * alpha * nu / omega
    return Likelihood(nll, loss, information.detach())


def likelihood(raw: Tensor, errors: Tensor, settings: TrainSettings) -> Likelihood:
    """Return the likelihood of force errors (M, N, 3) under the head of the settings."""
    if settings.head == "mean_variance":
        return normal(raw, errors, settings.beta_nll)
    return normal_inverse_gamma(raw, errors, settings.evidential_weight)


def head_errors(prediction: Prediction, batch: FrameBatch, settings: TrainSettings) -> Tensor:
    """Return the loss of each member and frame (M, B) in the unit of a squared force error.

    It is divided by half the mean precision of the batch. A head that says the same of all atoms
    then pulls at the forces just as the squared error does, so that the weights of energy, forces
    and stress keep their meaning.
    """
    found = likelihood(prediction.raw, prediction.forces - batch.labels.forces, settings)
    known = batch.labels.has_forces[batch.frame]
    precision = (found.precision * known).sum(dim=1, keepdim=True) / known.sum().clamp(min=1.0)
    return mean_of_frames(found.loss, batch) * (2.0 / precision.clamp(min=1e-30))


def frame_nll(prediction: Prediction, batch: FrameBatch, settings: TrainSettings) -> Tensor:
    """Return the mean NLL of a force component of each member and frame (M, B)."""
    found = likelihood(prediction.raw, prediction.forces - batch.labels.forces, settings)
    return mean_of_frames(found.nll, batch)


def raw_of(head: str, var: Tensor) -> Tensor:
    """Return the outputs (..., K) by which a head says a variance (...) in (eV/Å)².

    For the evidential one ν = 1 and α = 2, where the variance of the errors is 2 β.
    """
    if head == "mean_variance":
        return _inverse_softplus(var).unsqueeze(-1)
    one = torch.ones_like(var)
    return torch.stack([_inverse_softplus(x) for x in (one, one, 0.5 * var)], dim=-1)


def _inverse_softplus(value: Tensor) -> Tensor:
    return value + torch.log(-torch.expm1(-value))
