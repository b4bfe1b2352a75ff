"""Free energy over one to three variables, with errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d

from uncv.analysis.blocks import time_blocks
from uncv.analysis.pieces import pieces_of
from uncv.analysis.space import PHI_PSI, Axis, cell_numbers, resolve_axes
from uncv.errors import DataError
from uncv.units import KB_IN_EV_PER_K

FloatArray = NDArray[np.float64]
_BLOCKS = 20
MOST_VARIABLES = 3


class FreeEnergySurface(NamedTuple):
    """The free energy over one to three variables.

    Attributes
    ----------
    edges : numpy.ndarray
        Edges of the cells along the first variable (B + 1,), in its unit; for torsions, radians
        from −π to π, the same for both. All variables have as many cells.
    free_energy : numpy.ndarray
        −k_B T ln p, (B,), (B, B) or (B, B, B), first variable first, in eV; zero at the minimum,
        infinite where never visited. p is the probability of a cell.
    error : numpy.ndarray
        Standard error of −k_B T ln p, of the same shape, eV; infinite for cells seen in fewer than
        3 blocks.
    counts : numpy.ndarray
        Frames in each cell, without weights.
    temperature : float
        In K.
    axes : tuple of Axis
        The variables.
    """

    edges: FloatArray
    free_energy: FloatArray
    error: FloatArray
    counts: NDArray[np.int64]
    temperature: float
    axes: tuple[Axis, ...] = PHI_PSI


def free_energy(
    values: ArrayLike,
    temperature: float = 300.0,
    *,
    axes: Sequence[Axis] | None = None,
    weights: ArrayLike | None = None,
    walker: ArrayLike | None = None,
    bins: int = 36,
    bandwidth: float = 0.0,
) -> FreeEnergySurface:
    """Return the free energy over one to three variables with standard errors.

    A histogram on the grid of the axes; with a bandwidth it is smoothed by a Gaussian, periodic
    where the variable is, which makes it a kernel density estimate to the width of a cell. Errors
    are those of 20 blocks or more, equal parts in time of each walker, whose independence the
    caller vouches for (see `block_error` for errors that look for the length of the blocks
    themselves).

    Parameters
    ----------
    values : array_like
        Of each frame (F, d), or (F,), in the order of time within each walker.
    temperature : float
        In K.
    axes : sequence of Axis, optional
        The variables; torsions in radians by default.
    weights : array_like, optional
        Of each frame (F,), as from `bias_weights`; equal by default.
    walker : array_like, optional
        Of each frame (F,), any labels; one by default.
    bins : int
        Cells per variable.
    bandwidth : float
        Standard deviation of the kernel: radians for a torsion, and as large a share of the range
        of any other variable; 0 for the plain histogram.

    Raises
    ------
    DataError
        If there are no frames, none inside the axes, shapes differ, or a value is NaN, infinite or
        negative where it must not be.
    """
    points = np.asarray(values, dtype=np.float64)
    points = points[:, None] if points.ndim == 1 else points
    if points.ndim != 2 or not 1 <= points.shape[1] <= MOST_VARIABLES:
        raise DataError(f"values have shape {points.shape}; expected (frames, 1 to 3 variables)")
    mass, labels = checked_weights(points, weights, walker)
    if bins < 2 or bandwidth < 0.0 or not temperature > 0.0:
        raise DataError(
            f"bins {bins}, bandwidth {bandwidth:g} and temperature {temperature:g}; expected at "
            "least 2 bins, a bandwidth of 0 or more, and a temperature above 0"
        )
    space = resolve_axes(points.shape[1], axes)
    cells = cell_numbers(points, space, bins)
    parts = _block_sums(cells, mass, time_blocks(labels, _BLOCKS), bins ** len(space))
    parts = parts.reshape(-1, *[bins] * len(space))
    if bandwidth > 0.0:
        parts = _smoothed(parts, space, bandwidth / (2 * np.pi) * bins)
    total = parts.sum(axis=0)
    if not total.any():
        raise DataError("no frame of positive weight lies inside the limits; give wider ones")
    kt = KB_IN_EV_PER_K * temperature
    with np.errstate(divide="ignore"):
        energy = -kt * np.log(total / total.max())
    counts = np.bincount(cells[cells >= 0], minlength=bins ** len(space)).reshape(total.shape)
    error = kt * _relative_error(parts)
    return FreeEnergySurface(
        space[0].edges(bins), energy + 0.0, error, counts, float(temperature), space
    )


def free_energy_surface(
    angles: ArrayLike,
    temperature: float = 300.0,
    *,
    weights: ArrayLike | None = None,
    walker: ArrayLike | None = None,
    bins: int = 36,
    bandwidth: float = 0.0,
) -> FreeEnergySurface:
    """Return the free energy over φ and ψ, (F, 2) in radians: `free_energy` of two torsions."""
    points, mass, labels = checked(angles, weights, walker)
    return free_energy(
        points,
        temperature,
        axes=PHI_PSI,
        weights=mass,
        walker=labels,
        bins=bins,
        bandwidth=bandwidth,
    )


def checked(
    angles: ArrayLike, weights: ArrayLike | None, walker: ArrayLike | None
) -> tuple[FloatArray, FloatArray, NDArray[np.int64]]:
    """Return angles (F, 2), weights (F,) of sum 1 and walkers (F,) numbered from 0."""
    points = np.asarray(angles, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        raise DataError(f"angles have shape {points.shape}; expected at least one frame of φ and ψ")
    return (points, *checked_weights(points, weights, walker))


def checked_weights(
    points: FloatArray, weights: ArrayLike | None, walker: ArrayLike | None
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Return weights (F,) of sum 1 and walkers (F,) numbered from 0 for points (F, d)."""
    if len(points) == 0:
        raise DataError("there is no frame; expected at least one")
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
    return mass / mass.sum(), pieces_of(labels).number()


def _block_sums(
    cells: NDArray[np.int64], mass: FloatArray, block: NDArray[np.int64], number: int
) -> FloatArray:
    """Return the weight in each block and cell (K, cells), without what lies outside."""
    inside = cells >= 0
    key = (block * number + cells)[inside]
    blocks = int(block.max()) + 1
    sums = np.bincount(key, weights=mass[inside], minlength=blocks * number)
    return np.asarray(sums, dtype=np.float64).reshape(blocks, number)


def _smoothed(parts: FloatArray, axes: Sequence[Axis], width: float) -> FloatArray:
    for place, axis in enumerate(axes, start=1):
        mode = "wrap" if axis.periodic else "reflect"
        parts = gaussian_filter1d(parts, width, axis=place, mode=mode)
    return parts


def _relative_error(parts: FloatArray) -> FloatArray:
    """Return the standard error of ln p from sums of weights in blocks (K, …)."""
    total, blocks = parts.sum(axis=0), len(parts)
    if blocks < 2:
        return np.full(total.shape, np.inf)
    each = parts.reshape(blocks, -1).sum(axis=1) / parts.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = parts / total - each.reshape(-1, *[1] * total.ndim)
    error = np.sqrt(blocks / (blocks - 1) * (shares**2).sum(axis=0))
    return np.where((parts > 0).sum(axis=0) >= 3, error, np.inf)
