"""Coverage of a run with its interval, beside what uniform points would cover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.analysis.accessible import AccessibleCells
from uncv.analysis.coverage import check_grid, coarser, distinct, expected_coverage
from uncv.analysis.pieces import pieces_of
from uncv.analysis.space import Axis, cell_numbers, checked_values, resolve_axes
from uncv.errors import DataError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
FEWEST_WALKERS = 4


@dataclass(frozen=True)
class Grid:
    """How coverage is measured.

    Parameters
    ----------
    levels, base : int
        K and b: see `uncv.analysis.coverage`.
    resamples : int
        Of the bootstrap over walkers.
    confidence : float
        Of the interval.
    seed : int
        Of the bootstrap.
    """

    levels: int = 5
    base: int = 2
    resamples: int = 1000
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.resamples < 1 or not 0.0 < self.confidence < 1.0:
            raise DataError(
                f"resamples {self.resamples} and confidence {self.confidence:g}; expected at "
                "least 1 resample, and a confidence between 0 and 1"
            )


class Share(NamedTuple):
    """A share of cells with its interval.

    Attributes
    ----------
    value : float
        Between 0 and 1.
    low, high : float
        Ends of the interval; NaN with fewer than four walkers.
    """

    value: float
    low: float
    high: float


class CoverageMeasure(NamedTuple):
    """What a run covers.

    Attributes
    ----------
    coverage : Share
        Multi-level coverage.
    levels : numpy.ndarray
        Share of visited cells at each level (K,).
    accessible : Share or None
        Share of the accessible cells that were visited; None where these are not known.
    expected : float
        Mean coverage of as many uniform points.
    frames, outside : int
        Frames counted, and those of them outside the limits, which cover nothing.
    walkers : int
        Number of walkers.
    """

    coverage: Share
    levels: FloatArray
    accessible: Share | None
    expected: float
    frames: int
    outside: int
    walkers: int


def measure_coverage(
    cvs: ArrayLike,
    *,
    axes: Sequence[Axis] | None = None,
    walker: ArrayLike | None = None,
    accessible: AccessibleCells | None = None,
    grid: Grid | None = None,
) -> CoverageMeasure:
    """Return the coverage of a run, with an interval by a bootstrap over its walkers.

    The interval tells how far the coverage of another run of as many walkers and frames would be
    from this one. A union of cells cannot be resampled as such: a draw of walkers with replacement
    holds fewer different ones and covers less. What is resampled is the share of cells that each
    walker has to itself, by which the coverage would fall without it; the deviations of its sum,
    widened by √(W/(W−1)), are put around the coverage found. With walkers that hardly ever leave
    where they are, eight of them give an interval that is too short.

    Parameters
    ----------
    cvs : array_like
        Values (F, d), or (F,) for one variable.
    axes : sequence of Axis, optional
        The space; torsions by default.
    walker : array_like, optional
        The walker of each frame (F,), any labels; one by default.
    accessible : AccessibleCells, optional
        Which cells can be reached at all.
    grid : Grid, optional
        Levels, resamples, confidence, seed.

    Raises
    ------
    DataError
        If there are no frames, a value is not finite, or shapes do not fit together.
    """
    grid = grid or Grid()
    values = checked_values(cvs)
    if len(values) == 0:
        raise DataError("there is no frame to measure the coverage of; give at least one")
    space = resolve_axes(values.shape[1], axes)
    check_grid(len(space), grid.levels, grid.base)
    labels = np.zeros(len(values), np.int64) if walker is None else np.asarray(walker)
    if labels.shape != (len(values),):
        raise DataError(f"{len(values)} frames have walkers of shape {labels.shape}")
    number = pieces_of(labels).number()
    cells = cell_numbers(values, space, grid.base**grid.levels)
    shares, alone = _levels(cells, number, len(space), grid)
    return CoverageMeasure(
        _interval(float(shares.mean()), alone.mean(axis=0), grid),
        shares,
        None if accessible is None else _accessible(values, number, accessible, grid),
        float(expected_coverage(len(values), len(space), grid.levels, base=grid.base)),
        len(values),
        int((cells < 0).sum()),
        alone.shape[1],
    )


class _Visits(NamedTuple):
    """Which cells each walker visited: pairs of a walker and a cell, each once (P,)."""

    walker: IntArray
    cells: IntArray
    walkers: int


def _visits(cells: IntArray, number: IntArray, most: int) -> _Visits:
    walkers = int(number.max()) + 1
    inside = cells >= 0
    pairs = distinct(number[inside] * most + cells[inside], walkers * most)
    return _Visits(*np.divmod(pairs, most), walkers)


def _alone(visits: _Visits) -> IntArray:
    """Return how many cells each walker has to itself (W,)."""
    _, member, count = np.unique(visits.cells, return_inverse=True, return_counts=True)
    only = visits.walker[count[member] == 1]
    return np.bincount(only, minlength=visits.walkers)


def _levels(
    cells: IntArray, number: IntArray, dimensions: int, grid: Grid
) -> tuple[FloatArray, FloatArray]:
    """Return the share of cells visited at each level (K,), and of each walker alone (K, W)."""
    shares, alone = np.zeros(grid.levels), []
    visits = _visits(cells, number, grid.base ** (grid.levels * dimensions))
    for level in range(grid.levels, 0, -1):
        total = grid.base ** (dimensions * level)
        shares[level - 1] = len(np.unique(visits.cells)) / total
        alone.append(_alone(visits) / total)
        wider = coarser(visits.cells, grid.base**level, grid.base, dimensions)
        pairs = np.unique(visits.walker * total + wider)
        visits = _Visits(*np.divmod(pairs, total), visits.walkers)
    return shares, np.array(alone[::-1])


def _accessible(values: FloatArray, number: IntArray, wanted: AccessibleCells, grid: Grid) -> Share:
    if len(wanted.axes) != values.shape[1]:
        raise DataError(
            f"the run has {values.shape[1]} variables and the accessible cells "
            f"{len(wanted.axes)}; give values of the same ones"
        )
    cells = cell_numbers(values, wanted.axes, wanted.bins)
    cells[~np.isin(cells, wanted.cells)] = -1
    visits = _visits(cells, number, wanted.bins ** len(wanted.axes))
    total = len(wanted.cells)
    return _interval(len(np.unique(visits.cells)) / total, _alone(visits) / total, grid)


def _interval(value: float, alone: FloatArray, grid: Grid) -> Share:
    """Return a share with its interval, by what each walker alone adds to it (W,)."""
    walkers = len(alone)
    if walkers < FEWEST_WALKERS:
        return Share(value, np.nan, np.nan)
    drawn = np.random.default_rng(grid.seed).choice(alone, size=(grid.resamples, walkers))
    deviations = (drawn.sum(axis=1) - alone.sum()) * np.sqrt(walkers / (walkers - 1))
    tail = (1.0 - grid.confidence) / 2
    low, high = value + np.quantile(deviations, [tail, 1.0 - tail])
    return Share(value, float(max(0.0, low)), float(min(1.0, high)))
