"""How much of a space of collective variables a run has visited."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.errors import DataError

_CIRCLE = (-np.pi, np.pi)


def coverage(
    cvs: ArrayLike, levels: int = 5, *, base: int = 2, bounds: tuple[float, float] | None = None
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

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    DataError
        If a value is NaN or infinite, or the shape is not (frames, variables).

    References
    ----------
    Zaverkin et al., npj Comput. Mater. 10, 83 (2024).
    """
    points = _unit_cube(cvs, bounds)
    return float(np.mean([_visited(points, base, level) for level in range(1, levels + 1)]))


def coverage_series(
    cvs: ArrayLike,
    frames: ArrayLike,
    levels: int = 5,
    *,
    base: int = 2,
    bounds: tuple[float, float] | None = None,
) -> NDArray[np.float64]:
    """Return the coverage of the first n points for each n of ``frames``.

    Parameters
    ----------
    cvs : array_like
        Values (F, d) in the order in which they were visited.
    frames : array_like
        Numbers of points.
    levels, base, bounds
        As in :func:`coverage`.
    """
    points = _unit_cube(cvs, bounds)
    counts = np.asarray(frames, dtype=np.int64)
    series = np.zeros(counts.shape)
    for level in range(1, levels + 1):
        side = base**level
        cells, first = np.unique(_cells(points, side), return_index=True)
        first = np.sort(first[cells >= 0])
        series += np.searchsorted(first, counts, side="left") / side ** points.shape[1]
    return series / levels


def expected_coverage(
    points: ArrayLike, dimensions: int, levels: int = 5, *, base: int = 2
) -> NDArray[np.float64]:
    """Return the mean coverage of uniformly random points, the measure's own scale.

    >>> [round(float(c), 2) for c in expected_coverage([1, 10, 100, 1000, 10000], 2)]
    [0.07, 0.32, 0.64, 0.92, 1.0]
    """
    cells = float(base) ** (dimensions * np.arange(1, levels + 1))
    share = 1.0 - (1.0 - 1.0 / cells) ** np.asarray(points, dtype=np.float64)[..., None]
    return np.asarray(share.mean(axis=-1))


def accessible_coverage(
    cvs: ArrayLike,
    reference: ArrayLike,
    bins: int = 32,
    *,
    bounds: tuple[float, float] | None = None,
) -> float:
    """Return the share of the cells of a reference run that were visited.

    Parameters
    ----------
    cvs, reference : array_like
        Values (F, d) of the run and of a long run that defines what is accessible.
    bins : int
        Cells per axis.
    bounds : (float, float), optional
        As in :func:`coverage`.

    Raises
    ------
    DataError
        If the reference is empty or lies outside the bounds.
    """
    wanted = np.unique(_cells(_unit_cube(reference, bounds), bins))
    wanted = wanted[wanted >= 0]
    if len(wanted) == 0:
        raise DataError("the reference visits no cell; give a run inside the bounds")
    visited = np.unique(_cells(_unit_cube(cvs, bounds), bins))
    return float(np.isin(wanted, visited).mean())


def _visited(points: NDArray[np.float64], base: int, level: int) -> float:
    side = base**level
    cells = np.unique(_cells(points, side))
    return float((cells >= 0).sum()) / side ** points.shape[1]


def _cells(points: NDArray[np.float64], side: int) -> NDArray[np.int64]:
    """Return the number of the cell of each point (F,), −1 for points outside."""
    indices = np.floor(points * side).astype(np.int64)
    inside = ((indices >= 0) & (indices < side)).all(axis=1)
    numbers = indices @ (side ** np.arange(points.shape[1], dtype=np.int64))
    return np.where(inside, numbers, -1)


def _unit_cube(cvs: ArrayLike, bounds: tuple[float, float] | None) -> NDArray[np.float64]:
    values = np.asarray(cvs, dtype=np.float64)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2:
        raise DataError(f"variables have shape {values.shape}; expected (frames, variables)")
    if not np.isfinite(values).all():
        raise DataError("a variable is NaN or infinite; remove these frames")
    low, high = bounds or _CIRCLE
    scaled = (values - low) / (high - low)
    return scaled if bounds else scaled % 1.0 % 1.0  # twice: −1e-17 % 1.0 is 1.0
