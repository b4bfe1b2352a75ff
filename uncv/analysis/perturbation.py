"""From frames of one potential to the ensemble of another, by free-energy perturbation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from uncv.analysis.blocks import block_error
from uncv.analysis.reweighting import effective_sample_size
from uncv.errors import DataError
from uncv.units import KB_IN_EV_PER_K


class Perturbation(NamedTuple):
    """Frames of a reference potential as frames of another.

    Attributes
    ----------
    weights : numpy.ndarray
        Of each frame in the ensemble of the other potential (F,), of sum 1.
    effective_sample_size : float
        Kish's, of these weights; small where the two ensembles hardly overlap.
    effective_before : float
        Kish's, of the weights given.
    free_energy : float
        F(other) − F(reference) = −k_B T ln⟨exp(−ΔE/k_BT)⟩, eV.
    error : float
        Its standard error from blocks, eV; infinite where the run cannot tell.
    spread : float
        Standard deviation of ΔE = E − E_ref in the reference ensemble, eV.
    """

    weights: NDArray[np.float64]
    effective_sample_size: float
    effective_before: float
    free_energy: float
    error: float
    spread: float


def perturb(
    energy: ArrayLike,
    reference_energy: ArrayLike,
    temperature: float = 300.0,
    *,
    weights: ArrayLike | None = None,
    walker: ArrayLike | None = None,
) -> Perturbation:
    """Return weights exp(−(E − E_ref)/k_BT) of frames that the reference potential sampled.

    With them any average over the frames, such as `free_energy_difference` or a surface, is one
    over the other potential. A constant in the energies changes ``free_energy`` alone.

    Parameters
    ----------
    energy, reference_energy : array_like
        E of the other potential and E_ref of the one that was sampled (F,), eV.
    temperature : float
        In K.
    weights : array_like, optional
        Of the frames in the reference ensemble (F,), from a bias; equal by default.
    walker : array_like, optional
        The walker of each frame (F,), for the error.

    Raises
    ------
    DataError
        If shapes differ, or a number is NaN, infinite or a negative weight.

    References
    ----------
    R. W. Zwanzig, J. Chem. Phys. 22, 1420 (1954).
    """
    kt = KB_IN_EV_PER_K * temperature
    difference = np.asarray(energy, dtype=np.float64) - np.asarray(reference_energy)
    mass = np.ones(difference.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    if difference.ndim != 1 or len(difference) == 0 or mass.shape != difference.shape:
        raise DataError(
            f"energies and weights have shapes {difference.shape} and {mass.shape}; expected one "
            "for each frame, and at least one frame"
        )
    if not (np.isfinite(difference).all() and np.isfinite(mass).all()) or (mass < 0).any():
        raise DataError("an energy or weight is NaN, infinite or negative; leave such frames out")
    mass = mass / mass.sum()
    with np.errstate(divide="ignore"):
        exponents = np.log(mass) - difference / kt
    total = logsumexp(exponents)
    after = np.exp(exponents - total)
    mean = mass @ difference
    return Perturbation(
        after,
        effective_sample_size(after),
        effective_sample_size(mass),
        -kt * float(total),
        kt * block_error(after - mass, walker).error,
        float(np.sqrt(mass @ (difference - mean) ** 2)),
    )
