"""Free energy over two periodic angles, with errors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter

from uncv.analysis.blocks import time_blocks
from uncv.errors import DataError
from uncv.units import KB_IN_EV_PER_K

FloatArray = NDArray[np.float64]
_BLOCKS = 20


class FreeEnergySurface(NamedTuple):
    """The free energy over φ and ψ.

    Attributes
    ----------
    edges : numpy.ndarray
        Edges of the cells (B + 1,) in radians from −π to π, the same for both angles.
    free_energy : numpy.ndarray
        −k_B T ln p, (B, B), φ first, in eV; zero at the minimum, infinite where never visited.
    error : numpy.ndarray
        Standard error of −k_B T ln p (B, B), eV; infinite for cells seen in fewer than 3 blocks.
    counts : numpy.ndarray
        Frames in each cell (B, B), without weights.
    temperature : float
        In K.
    """

    edges: FloatArray
    free_energy: FloatArray
    error: FloatArray
    counts: NDArray[np.int64]
    temperature: float


def free_energy_surface(
    angles: ArrayLike,
    temperature: float = 300.0,
    *,
    weights: ArrayLike | None = None,
    walker: ArrayLike | None = None,
    bins: int = 36,
    bandwidth: float = 0.0,
) -> FreeEnergySurface:
    """Return the free energy over two angles with standard errors.

    A histogram on a periodic grid; with a bandwidth it is smoothed by a periodic Gaussian, which
    makes it a kernel density estimate to the width of a cell. Errors are those of 20 blocks or
    more, equal parts in time of each walker, whose independence the caller vouches for (see
    `block_error` for errors that look for the length of the blocks themselves).

    Parameters
    ----------
    angles : array_like
        φ and ψ of each frame (F, 2) in radians, in the order of time within each walker.
    temperature : float
        In K.
    weights : array_like, optional
        Of each frame (F,), as from `bias_weights`; equal by default.
    walker : array_like, optional
        Of each frame (F,), any labels; one by default.
    bins : int
        Cells per angle.
    bandwidth : float
        Standard deviation of the kernel in radians; 0 for the plain histogram.

    Raises
    ------
    DataError
        If there are no frames, shapes differ, or a value is NaN, infinite or negative where it must
        not be.
    """
    points, mass, labels = checked(angles, weights, walker)
    if bins < 2 or bandwidth < 0.0 or not temperature > 0.0:
        raise DataError(
            f"bins {bins}, bandwidth {bandwidth:g} and temperature {temperature:g}; expected at "
            "least 2 bins, a bandwidth of 0 or more, and a temperature above 0"
        )
    cells = cells_of(points, bins)
    number = time_blocks(labels, _BLOCKS)
    parts = np.zeros((int(number.max()) + 1, bins, bins))
    np.add.at(parts, (number, *np.divmod(cells, bins)), mass)
    if bandwidth > 0.0:
        width = bandwidth / (2 * np.pi / bins)
        parts = gaussian_filter(parts, (0.0, width, width), mode="wrap")
    kt = KB_IN_EV_PER_K * temperature
    total = parts.sum(axis=0)
    with np.errstate(divide="ignore"):
        free_energy = -kt * np.log(total / total.max())
    return FreeEnergySurface(
        np.linspace(-np.pi, np.pi, bins + 1),
        free_energy + 0.0,
        kt * _relative_error(parts),
        np.bincount(cells, minlength=bins * bins).reshape(bins, bins),
        float(temperature),
    )


def checked(
    angles: ArrayLike, weights: ArrayLike | None, walker: ArrayLike | None
) -> tuple[FloatArray, FloatArray, NDArray[np.int64]]:
    """Return angles (F, 2), weights (F,) of sum 1 and walkers (F,) numbered from 0."""
    points = np.asarray(angles, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        raise DataError(f"angles have shape {points.shape}; expected at least one frame of φ and ψ")
    mass = np.ones(len(points)) if weights is None else np.asarray(weights, dtype=np.float64)
    labels = np.zeros(len(points)) if walker is None else np.asarray(walker)
    if mass.shape != (len(points),) or labels.shape != (len(points),):
        raise DataError(
            f"{len(points)} frames have weights of shape {mass.shape} and walkers of shape "
            f"{labels.shape}; expected one for each frame"
        )
    if not (np.isfinite(points).all() and np.isfinite(mass).all()) or (mass < 0).any():
        raise DataError("an angle or weight is NaN, infinite or negative; leave such frames out")
    if not mass.sum() > 0:
        raise DataError("all weights are zero; expected a positive one")
    numbers = np.unique(labels, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return points, mass / mass.sum(), numbers


def cells_of(angles: FloatArray, bins: int) -> NDArray[np.int64]:
    """Return the cell of each frame (F,), numbered row by row, φ first, on a periodic grid."""
    place = np.floor((angles / (2 * np.pi) + 0.5) % 1.0 * bins).astype(np.int64) % bins
    return np.asarray(place[:, 0] * bins + place[:, 1])


def _relative_error(parts: FloatArray) -> FloatArray:
    """Return the standard error of ln p from sums of weights in blocks (K, B, B)."""
    total, blocks = parts.sum(axis=0), len(parts)
    if blocks < 2:
        return np.full(total.shape, np.inf)
    whole = parts.sum(axis=(1, 2), keepdims=True) / parts.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = parts / total - whole
    error = np.sqrt(blocks / (blocks - 1) * (shares**2).sum(axis=0))
    return np.where((parts > 0).sum(axis=0) >= 3, error, np.inf)
