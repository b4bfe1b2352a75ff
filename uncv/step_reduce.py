"""From the uncertainties of atoms to that of a walker, with its slopes, written out.

`uncv.uncertainty.reduce_atoms` gives the same in torch; here a step of few atoms does without the
graph of some ten operations.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncv.uncertainty import SMOOTH

FloatArray = NDArray[np.float64]
SHARPNESS = 8.0
"""Of the softmax, as `reduce_atoms` has it."""


class Reduced(NamedTuple):
    """The uncertainty of each walker (W,), and its slopes by those of the atoms (W, A)."""

    value: FloatArray
    slopes: FloatArray


def known(how: str) -> bool:
    """Return whether the slopes of a reduction are written out: those of all smooth ones."""
    return how in SMOOTH


def reduced(values: FloatArray, mask: FloatArray, how: str) -> Reduced:
    """Reduce uncertainties of atoms to walkers.

    Parameters
    ----------
    values : numpy.ndarray
        (W, A), not negative, 0 on padding and above it elsewhere.
    mask : numpy.ndarray
        1 on atoms, 0 on padding (W, A).
    how : str
        'mean', 'sum', 'rms' or 'softmax'.
    """
    atoms = np.maximum(mask.sum(axis=1, keepdims=True), 1.0)
    if how == "sum":
        return Reduced(values.sum(axis=1), mask)
    if how == "mean":
        return Reduced((values.sum(axis=1, keepdims=True) / atoms)[:, 0], mask / atoms)
    square = (values * values).sum(axis=1, keepdims=True) / atoms
    if how == "rms":
        root = np.sqrt(square)
        return Reduced(root[:, 0], values / (atoms * root))
    return _softmax(values, mask, square, atoms)


def _softmax(
    values: FloatArray, mask: FloatArray, square: FloatArray, atoms: FloatArray
) -> Reduced:
    """Return Σ p u and its slopes, p ∝ exp(s u / r), r² = Σ u² / n + 1e-24."""
    root = np.sqrt(square + 1e-24)
    logits = SHARPNESS * values / root
    weights = np.exp(logits - logits.max(axis=1, keepdims=True)) * mask
    weights /= weights.sum(axis=1, keepdims=True)
    mean = (weights * values).sum(axis=1, keepdims=True)
    by_logits = weights * (values - mean)
    by_root = -(by_logits * logits).sum(axis=1, keepdims=True) / root
    slopes = weights + SHARPNESS / root * by_logits + by_root * values / (atoms * root)
    return Reduced(mean[:, 0], slopes)
