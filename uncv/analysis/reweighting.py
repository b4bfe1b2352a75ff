"""Weights that undo a bias, and how many frames they leave."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax

from uncv.analysis.pieces import pieces_of
from uncv.errors import DataError
from uncv.units import KB_IN_EV_PER_K


def bias_weights(
    bias: ArrayLike, temperature: float = 300.0, walker: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Return the weight of each frame of a biased run in the unbiased ensemble.

    The weights are exp(V/k_BT), computed without overflow. One normalisation for all frames is
    right where all walkers feel one and the same bias. Where each has a bias of its own, whose zero
    means nothing to the others, the weights of each walker are normalised by themselves, and each
    walker counts by its number of frames. The bias must be static or, as that of OPES or well
    tempered metadynamics after its first hills, change slowly; of metadynamics take ``rbias``.

    Parameters
    ----------
    bias : array_like
        V of each frame (F,), eV.
    temperature : float
        In K.
    walker : array_like, optional
        The walker (F,), any labels, where each walker has a bias of its own.

    Returns
    -------
    numpy.ndarray
        Weights (F,) of sum 1.

    Raises
    ------
    DataError
        If there are no frames, or a bias is NaN or infinite.
    """
    values = np.asarray(bias, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0:
        raise DataError(f"the bias has shape {values.shape}; expected one value for each frame")
    bad = ~np.isfinite(values)
    if bad.any():
        raise DataError(
            f"the bias of {int(bad.sum())} of {len(values)} frames is NaN or infinite; leave the "
            "frames of failed or parked walkers out"
        )
    exponents = values / (KB_IN_EV_PER_K * temperature)
    if walker is None:
        return np.asarray(softmax(exponents))
    labels = np.asarray(walker)
    if labels.shape != values.shape:
        raise DataError(f"{labels.shape} walkers are given for {values.shape} frames")
    pieces = pieces_of(labels)
    parts = [softmax(own) * (len(own) / len(values)) for own in pieces.split(exponents)]
    weights = np.empty(len(values))
    weights[pieces.order] = np.concatenate(parts)
    return weights


def effective_sample_size(weights: ArrayLike) -> float:
    """Return Kish's (Σw)²/Σw²: how many frames of equal weight are as good as these.

    It knows of unequal weights, not of frames that resemble the one before: those make block errors
    larger. It is 0 if all weights are 0.

    References
    ----------
    L. Kish, Survey Sampling (1965).

    Examples
    --------
    >>> effective_sample_size([1.0, 1.0, 0.0])
    2.0
    """
    values = np.asarray(weights, dtype=np.float64)
    total = float((values**2).sum())
    return float(values.sum()) ** 2 / total if total > 0 else 0.0
