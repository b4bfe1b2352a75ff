"""Basins of a free-energy surface, each with a core: found by flooding, or given as regions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.analysis.flooding import flood
from uncv.analysis.regions import Region
from uncv.analysis.space import Axis, cell_numbers, checked_values
from uncv.analysis.surface import FreeEnergySurface
from uncv.errors import DataError
from uncv.units import KB_IN_EV_PER_K

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
FEWEST_FRAMES = 10
CORE = 0.5
"""How far a core reaches from the minimum to the lowest saddle, as a share of the barrier."""


class Basins(NamedTuple):
    """Basins on the grid of a surface, the deepest first.

    Attributes
    ----------
    axes : tuple of Axis
        The variables.
    label : numpy.ndarray
        Number of the basin of each cell, shaped as the surface; −1 in none.
    core : numpy.ndarray
        The same where the cell is in the core of its basin, −1 elsewhere.
    minima : numpy.ndarray
        Middle of the lowest cell of each basin (B, d), in the units of the axes.
    energies : numpy.ndarray
        Free energy of the minima (B,), eV.
    barriers : numpy.ndarray
        From each minimum to the lowest saddle to another basin (B,), eV; infinite where visited
        cells do not connect.
    """

    axes: tuple[Axis, ...]
    label: IntArray
    core: IntArray
    minima: FloatArray
    energies: FloatArray
    barriers: FloatArray

    @property
    def names(self) -> tuple[str, ...]:
        """The minima in words: degrees for torsions, the unit of the axis otherwise."""
        return tuple(_words(point, self.axes) for point in self.minima)

    def assign(self, cvs: ArrayLike) -> IntArray:
        """Return the basin of each frame (F,) by its cell alone; −1 in none."""
        return self._look(cvs, self.label)

    def assign_cores(self, cvs: ArrayLike) -> IntArray:
        """Return the core in which each frame (F,) lies, for `count_transitions`; −1 in none."""
        return self._look(cvs, self.core)

    def _look(self, cvs: ArrayLike, grid: IntArray) -> IntArray:
        values = checked_values(cvs)
        if values.shape[1] != len(self.axes):
            raise DataError(
                f"the frames have {values.shape[1]} variables and the basins {len(self.axes)}; "
                "give values of the same ones"
            )
        cells = cell_numbers(values, self.axes, len(grid))
        return np.append(grid.ravel(), -1)[cells]  # cell −1, outside, is the last


def find_basins(
    surface: FreeEnergySurface,
    barrier: float | None = None,
    *,
    core: float = CORE,
    fewest: int = FEWEST_FRAMES,
) -> Basins:
    """Find the basins of a free-energy surface.

    Cells are taken in the order of their free energy; one joins the basin of its lowest neighbour
    (diagonal ones count) or begins its own. Where two meet, the shallower becomes part of the
    deeper if it is less deep than the barrier: noise of a histogram makes no basins if the barrier
    is above it. The core of a basin are its cells below the minimum plus half of the way to the
    lowest saddle; where no visited cell leads out, all of it.

    Parameters
    ----------
    surface : FreeEnergySurface
        Best smoothed (``bandwidth``) where cells hold few frames.
    barrier : float, optional
        Least depth of a basin in eV; 2 k_BT of the surface by default.
    core : float
        Share of the way, above 0 and at most 1.
    fewest : int
        Frames that a basin must hold; a short run may have none that does.

    Raises
    ------
    DataError
        If a setting is out of range.
    """
    depth = 2 * KB_IN_EV_PER_K * surface.temperature if barrier is None else barrier
    if not depth >= 0.0 or not 0.0 < core <= 1.0:
        raise DataError(
            f"barrier {depth:g} eV and core {core:g}; expected a barrier of 0 or more, and a core "
            "above 0 up to 1"
        )
    found = flood(surface.free_energy, tuple(axis.periodic for axis in surface.axes), depth)
    there = found.label >= 0
    held = np.bincount(
        found.label[there], weights=surface.counts.ravel()[there], minlength=len(found.minima)
    )
    kept = np.flatnonzero(held >= fewest)
    renumbered = np.full(len(held) + 1, -1)
    renumbered[kept] = np.arange(len(kept))
    label = renumbered[found.label]
    energy = surface.free_energy.ravel()
    minima, barriers = found.minima[kept], found.saddles[kept] - energy[found.minima[kept]]
    reach = energy[minima] + core * barriers
    inside = (label >= 0) & (energy <= np.append(reach, -np.inf)[label])
    shape = surface.free_energy.shape
    return Basins(
        surface.axes,
        label.reshape(shape),
        np.where(inside, label, -1).reshape(shape),
        _centres(minima, shape, surface.axes),
        energy[minima],
        barriers,
    )


def region_cores(angles: ArrayLike, regions: Sequence[Region], margin: float = 20.0) -> IntArray:
    """Return the core in which each frame lies, of regions of two torsions; −1 in none.

    The core of a region is what is left when a margin is cut off at each end of each torsion; a
    full circle has no end.

    Parameters
    ----------
    angles : array_like
        φ and ψ (F, 2) in radians.
    regions : sequence of Region
        Without a frame in common.
    margin : float
        In degrees.

    Raises
    ------
    DataError
        If the margin leaves nothing of a region, or a frame lies in two cores.
    """
    points = checked_values(angles)
    cores = np.full(len(points), -1, dtype=np.int64)
    for number, region in enumerate(regions):
        inside = region.shrunk(margin).contains(points)
        if (cores[inside] >= 0).any():
            raise DataError(f"the core of {region.name} overlaps with another; give regions apart")
        cores[inside] = number
    return cores


def _centres(cells: IntArray, shape: tuple[int, ...], axes: Sequence[Axis]) -> FloatArray:
    places = np.unravel_index(cells, shape)
    columns = [
        axis.low + (place + 0.5) / bins * (axis.high - axis.low)
        for axis, place, bins in zip(axes, places, shape, strict=True)
    ]
    return np.stack(columns, axis=1)


def _words(point: FloatArray, axes: Sequence[Axis]) -> str:
    parts = []
    for value, axis in zip(point, axes, strict=True):
        if axis.unit == "rad":
            parts.append(f"{np.degrees(value):.0f}°")
        else:
            parts.append(f"{value:.4g} {axis.unit}".strip())
    return f"({', '.join(parts)})" if len(parts) > 1 else parts[0]
