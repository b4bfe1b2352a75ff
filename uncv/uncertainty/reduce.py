"""From the uncertainties of atoms to that of a frame."""

from __future__ import annotations

import math

import torch
from torch import Tensor

REDUCTIONS = ("mean", "sum", "max", "rms", "softmax")
SMOOTH = ("mean", "sum", "rms", "softmax")
"""Reductions with a continuous gradient, fit for a collective variable."""


def reduce_atoms(values: Tensor, mask: Tensor, how: str, sharpness: float = 8.0) -> Tensor:
    """Reduce uncertainties of atoms (F, A) to frames (F,).

    Parameters
    ----------
    values : torch.Tensor
        Not negative (F, A).
    mask : torch.Tensor
        True on atoms (F, A).
    how : str
        'mean' (dilutes one bad atom by 1/N), 'sum', 'rms', 'softmax' (mean weighted by
        exp(sharpness·u/u_rms), a smooth stand-in for the maximum) or 'max' (its gradient jumps from
        atom to atom: for stopping only).
    sharpness : float
        Of the softmax; without unit.

    Raises
    ------
    ValueError
        If the reduction is unknown.
    """
    atoms = mask.sum(dim=1).clamp(min=1)
    filled = values.masked_fill(~mask, 0.0)
    if how == "mean":
        return filled.sum(dim=1) / atoms
    if how == "sum":
        return filled.sum(dim=1)
    if how == "rms":
        return (filled.square().sum(dim=1) / atoms).sqrt()
    if how == "max":
        return values.masked_fill(~mask, -math.inf).amax(dim=1)
    if how == "softmax":
        square = filled.square().sum(dim=1, keepdim=True) / atoms.unsqueeze(1)
        logits = (sharpness * values / (square + 1e-24).sqrt()).masked_fill(~mask, -math.inf)
        return (torch.softmax(logits, dim=1) * filled).sum(dim=1)
    raise ValueError(f"reduction {how} is unknown; expected mean, sum, rms, softmax or max")
