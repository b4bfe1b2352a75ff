"""How much of a space of collective variables a run has visited."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.analysis.space import Axis, cell_numbers, checked_values, resolve_axes
from uncv.errors import DataError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

DENSE = 1 << 22
"""Cells up to which a grid is held as a whole; beyond, cells are sorted."""
MOST_CELLS = 1 << 40


def coverage(
    cvs: ArrayLike,
    levels: int = 5,
    *,
    base: int = 2,
    bounds: tuple[float, float] | None = None,
    axes: Sequence[Axis] | None = None,
) -> float:
    """Return the share of visited cells, averaged over grids of rising fineness.

    Level h cuts each of the d axes into ``base**h`` cells; the coverage is
    (1/K) Σ_h visited_h / base^(d h). It grows with the number of points even where the
    points are uniform (see :func:`expected_coverage`): compare runs at equal numbers of frames.

    Parameters
    ----------
    cvs : array_like
        Values (F, d), or (F,) for one variable.
    levels : int
        Number of levels K.
    base : int
        Cells per axis at the first level, and the factor from one level to the next.
    bounds : (float, float), optional
        The range of every variable, in its unit; points outside count nowhere. By default the
        variables are angles in radians, wrapped into [−π, π).
    axes : sequence of Axis, optional
        The range of each variable, in place of ``bounds``, and whether it is periodic.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    DataError
        If a value is NaN or infinite, the shape is not (frames, variables), or the grid is not one.

    References
    ----------
    Zaverkin et al., npj Comput. Mater. 10, 83 (2024).
    """
    values = checked_values(cvs)
    space = resolve_axes(values.shape[1], axes, bounds)
    check_grid(len(space), levels, base)
    finest = visited_cells(values, space, base**levels)
    return float(level_shares(finest, len(space), levels, base).mean())


def coverage_series(
    cvs: ArrayLike,
    frames: ArrayLike,
    levels: int = 5,
    *,
    base: int = 2,
    bounds: tuple[float, float] | None = None,
    axes: Sequence[Axis] | None = None,
) -> FloatArray:
    """Return the coverage of the first n points for each n of ``frames``.

    Parameters
    ----------
    cvs : array_like
        Values (F, d) in the order in which they were visited.
    frames : array_like
        Numbers of points.
    levels, base, bounds, axes
        As in :func:`coverage`.
    """
    values = checked_values(cvs)
    space = resolve_axes(values.shape[1], axes, bounds)
    check_grid(len(space), levels, base)
    counts = np.asarray(frames, dtype=np.int64)
    cells, first = first_visits(cell_numbers(values, space, base**levels))
    series = np.zeros(counts.shape)
    for level in range(levels, 0, -1):
        visited = np.searchsorted(np.sort(first), counts, side="left")
        series += visited / base ** (len(space) * level)
        cells, members = np.unique(
            coarser(cells, base**level, base, len(space)), return_inverse=True
        )
        earliest = np.full(len(cells), len(values), dtype=np.int64)
        np.minimum.at(earliest, members.reshape(-1), first)
        first = earliest
    return np.asarray(series / levels)


def expected_coverage(
    points: ArrayLike, dimensions: int, levels: int = 5, *, base: int = 2
) -> FloatArray:
    """Return the mean coverage of uniformly random points, the measure's own scale.

    >>> [round(float(c), 2) for c in expected_coverage([1, 10, 100, 1000, 10000], 2)]
    [0.07, 0.32, 0.64, 0.92, 1.0]
    """
    cells = float(base) ** (dimensions * np.arange(1, levels + 1))
    share = 1.0 - (1.0 - 1.0 / cells) ** np.asarray(points, dtype=np.float64)[..., None]
    return np.asarray(share.mean(axis=-1))


def visited_cells(values: FloatArray, axes: Sequence[Axis], bins: int) -> IntArray:
    """Return the numbers of the cells with a point in them, ascending."""
    return distinct(cell_numbers(values, axes, bins), bins ** len(axes))


def distinct(numbers: IntArray, most: int) -> IntArray:
    """Return the different numbers from 0 to below ``most``, ascending; negative ones are none."""
    if most > DENSE:
        found = np.unique(numbers)
        return found[found >= 0]
    seen = np.zeros(most + 1, dtype=bool)
    seen[numbers] = True  # −1 is the last place, which nothing else has
    return np.flatnonzero(seen[:-1])


def first_visits(numbers: IntArray) -> tuple[IntArray, IntArray]:
    """Return the cells visited, and the first frame in each."""
    cells, first = np.unique(numbers, return_index=True)
    return cells[cells >= 0], first[cells >= 0]


def coarser(cells: IntArray, bins: int, factor: int, dimensions: int) -> IntArray:
    """Return the cells, on a grid coarser by a factor, that hold cells of a grid of ``bins``."""
    number = np.zeros(len(cells), dtype=np.int64)
    for axis in range(dimensions):
        place = cells // bins ** (dimensions - 1 - axis) % bins
        number = number * (bins // factor) + place // factor
    return number


def level_shares(finest: IntArray, dimensions: int, levels: int, base: int) -> FloatArray:
    """Return the share of visited cells at each level (K,), by the distinct ones of the last."""
    shares = np.zeros(levels)
    cells = finest
    for level in range(levels, 0, -1):
        shares[level - 1] = len(cells) / base ** (dimensions * level)
        cells = np.unique(coarser(cells, base**level, base, dimensions))
    return shares


def check_grid(dimensions: int, levels: int, base: int) -> None:
    """Refuse grids without cells, and those whose cells cannot be numbered.

    Raises
    ------
    DataError
        If there are no levels, a base below 2, or too many cells.
    """
    if levels < 1 or base < 2 or base ** (levels * dimensions) > MOST_CELLS:
        raise DataError(
            f"{levels} levels of base {base} in {dimensions} dimensions make no grid; expected a "
            "level or more, a base of 2 or more, and at most 2^40 cells at the last level"
        )
