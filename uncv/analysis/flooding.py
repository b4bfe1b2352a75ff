"""Watershed of a grid of energies, periodic where it is, by rising water."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Flooded(NamedTuple):
    """Basins of a grid, cells numbered row by row.

    Attributes
    ----------
    label : numpy.ndarray
        Basin of each cell (C,), the deepest being 0; −1 where the energy is infinite.
    minima : numpy.ndarray
        Lowest cell of each basin (B,).
    saddles : numpy.ndarray
        Lowest energy at which the water of each basin meets that of another (B,); infinite where it
        never does.
    """

    label: IntArray
    minima: IntArray
    saddles: FloatArray


def flood(energy: FloatArray, periodic: tuple[bool, ...], barrier: float) -> Flooded:
    """Return the basins that are deeper than a barrier.

    Parameters
    ----------
    energy : numpy.ndarray
        Of each cell, of any shape; infinite where there is none.
    periodic : tuple of bool
        For each axis.
    barrier : float
        In the unit of the energy.
    """
    flat = energy.ravel()
    near = _neighbours(energy.shape, periodic)
    basin = np.full(flat.size + 1, -1)  # the last one is the cell beyond an end
    order = np.argsort(flat, kind="stable")
    above: list[int] = []  # the basin that each has become part of, or itself
    minima: list[int] = []
    meetings: dict[tuple[int, int], float] = {}
    for cell in order[: np.isfinite(flat).sum()]:
        around = [n for n in near[cell] if basin[n] >= 0]
        if not around:
            basin[cell] = len(minima)
            above.append(len(minima))
            minima.append(int(cell))
            continue
        basin[cell] = basin[min(around, key=lambda n: flat[n])]
        roots = sorted({_root(above, int(basin[n])) for n in around})
        for other in roots[1:]:  # of smaller number, deeper
            if flat[cell] - flat[minima[other]] < barrier:
                above[other] = roots[0]
            else:
                meetings.setdefault((roots[0], other), float(flat[cell]))
    return _named(basin[:-1], above, minima, meetings)


def _named(
    basin: IntArray,
    above: list[int],
    minima: list[int],
    meetings: dict[tuple[int, int], float],
) -> Flooded:
    roots = [_root(above, number) for number in range(len(above))]
    kept = sorted(set(roots))
    new = {root: number for number, root in enumerate(kept)}
    saddles = np.full(len(kept), np.inf)
    for pair, height in meetings.items():
        one, two = (new[roots[number]] for number in pair)
        if one != two:
            saddles[[one, two]] = np.minimum(saddles[[one, two]], height)
    renumbered = np.array([*(new[root] for root in roots), -1], dtype=np.int64)
    return Flooded(renumbered[basin], np.array([minima[root] for root in kept]), saddles)


def _root(above: list[int], number: int) -> int:
    while above[number] != number:
        number = above[number]
    return number


def _neighbours(shape: tuple[int, ...], periodic: tuple[bool, ...]) -> IntArray:
    """Return the neighbours of each cell (C, 3^d − 1), diagonal ones too; C beyond an end."""
    total = int(np.prod(shape))
    places = np.indices(shape).reshape(len(shape), -1)
    columns = []
    for step in product((-1, 0, 1), repeat=len(shape)):
        if not any(step):
            continue
        moved = places + np.array(step)[:, None]
        outside = np.zeros(total, dtype=bool)
        for axis, (bins, wraps) in enumerate(zip(shape, periodic, strict=True)):
            if wraps:
                moved[axis] %= bins
            else:
                outside |= (moved[axis] < 0) | (moved[axis] >= bins)
                moved[axis] = np.clip(moved[axis], 0, bins - 1)
        columns.append(np.where(outside, total, np.ravel_multi_index(tuple(moved), shape)))
    return np.stack(columns, axis=1)
