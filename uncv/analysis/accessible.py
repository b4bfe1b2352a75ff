"""Which cells of a space can be reached at all, by a long reference run or its free energy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.analysis.coverage import visited_cells
from uncv.analysis.space import Axis, checked_values, resolve_axes
from uncv.analysis.surface import FreeEnergySurface
from uncv.errors import DataError


class AccessibleCells(NamedTuple):
    """A set of cells of a grid.

    Attributes
    ----------
    axes : tuple of Axis
        The space.
    bins : int
        Cells per axis.
    cells : numpy.ndarray
        Numbers of the cells (C,), ascending, row by row.
    """

    axes: tuple[Axis, ...]
    bins: int
    cells: NDArray[np.int64]


def cells_of_run(
    reference: ArrayLike, axes: Sequence[Axis] | None = None, bins: int = 32
) -> AccessibleCells:
    """Return the cells that a long reference run visits.

    Parameters
    ----------
    reference : array_like
        Values (F, d) of the run.
    axes : sequence of Axis, optional
        The space; torsions by default.
    bins : int
        Cells per axis.

    Raises
    ------
    DataError
        If the reference is empty or lies outside the axes.
    """
    values = checked_values(reference)
    space = resolve_axes(values.shape[1], axes)
    if bins < 1:
        raise DataError(f"bins is {bins}; expected 1 or more")
    cells = visited_cells(values, space, bins)
    if len(cells) == 0:
        raise DataError("the reference visits no cell; give a run inside the bounds")
    return AccessibleCells(space, bins, cells)


def cells_below(surface: FreeEnergySurface, cutoff: float) -> AccessibleCells:
    """Return the cells of a surface whose free energy is at most a cutoff in eV above its minimum.

    Raises
    ------
    DataError
        If the cutoff is not positive.
    """
    if not cutoff > 0.0:
        raise DataError(f"the cutoff is {cutoff:g} eV; expected one above 0")
    low = surface.free_energy.ravel() <= cutoff
    return AccessibleCells(surface.axes, len(surface.edges) - 1, np.flatnonzero(low))


def accessible_coverage(
    cvs: ArrayLike,
    reference: ArrayLike | AccessibleCells,
    bins: int = 32,
    *,
    bounds: tuple[float, float] | None = None,
    axes: Sequence[Axis] | None = None,
) -> float:
    """Return the share of the accessible cells that were visited.

    Parameters
    ----------
    cvs : array_like
        Values (F, d) of the run.
    reference : array_like or AccessibleCells
        Values (F, d) of a long run that defines what is accessible, or the cells themselves
        (`cells_of_run`, `cells_below`).
    bins : int
        Cells per axis, where values are given.
    bounds, axes
        As in :func:`uncv.analysis.coverage`, where values are given.

    Raises
    ------
    DataError
        If the reference is empty, lies outside the bounds, or is of another space.
    """
    values = checked_values(cvs)
    if not isinstance(reference, AccessibleCells):
        space = resolve_axes(values.shape[1], axes, bounds)
        reference = cells_of_run(reference, space, bins)
    elif len(reference.axes) != values.shape[1]:
        raise DataError(
            f"the run has {values.shape[1]} variables and the accessible cells "
            f"{len(reference.axes)}; give values of the same ones"
        )
    visited = visited_cells(values, reference.axes, reference.bins)
    return float(np.isin(reference.cells, visited).mean())
