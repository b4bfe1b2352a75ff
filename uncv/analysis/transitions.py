"""Transitions between core sets: how often a run really went from one basin to another."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

from uncv.analysis.pieces import Pieces, pieces_of
from uncv.errors import DataError
from uncv.units import FS_IN_PS

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
FS_IN_NS = FS_IN_PS * 1e-3


class Transitions(NamedTuple):
    """What happened between B basins.

    Attributes
    ----------
    counts : numpy.ndarray
        Transitions from a basin (row) to another (column), (B, B), zero on the diagonal.
    frames : numpy.ndarray
        Frames whose last core was that of each basin (B,).
    unassigned : int
        Frames before their walker was in any core.
    rates, low, high : numpy.ndarray
        Transitions per ns spent in the basin of the row (B, B), and the interval of that rate for
        rare events at random times; NaN where the time between frames is not known, and on the
        diagonal.
    """

    counts: IntArray
    frames: IntArray
    unassigned: int
    rates: FloatArray
    low: FloatArray
    high: FloatArray

    @property
    def total(self) -> int:
        """All transitions."""
        return int(self.counts.sum())


def count_transitions(
    core: ArrayLike,
    basins: int,
    walker: ArrayLike | None = None,
    *,
    interval_fs: float | None = None,
    confidence: float = 0.95,
) -> Transitions:
    """Count transitions between core sets, within each walker.

    A frame outside all cores belongs to the basin whose core its walker left last. So one that
    crosses a border to and fro, without reaching the core of the other side, makes no transition.
    Rates are counts by the time spent; their interval is that of a Poisson count (Garwood's), right
    where transitions do not come in bursts.

    Parameters
    ----------
    core : array_like
        The core in which each frame lies (F,), from 0; −1 in none. In the order of time within each
        walker.
    basins : int
        Their number B.
    walker : array_like, optional
        The walker, or the piece without a gap, of each frame (F,), any labels; one by default.
    interval_fs : float, optional
        Time between frames in fs, for rates.
    confidence : float
        Of the interval.

    Raises
    ------
    DataError
        If shapes differ, there is no such core, or the interval is not positive.

    References
    ----------
    N.-V. Buchete, G. Hummer, J. Phys. Chem. B 112, 6057 (2008), transition-based assignment.
    F. Garwood, Biometrika 28, 437 (1936).
    """
    cores, pieces = _checked(core, basins, walker, interval_fs)
    ordered = cores[pieces.order]
    state = _last_core(ordered, np.repeat(pieces.bounds[:-1], pieces.lengths))
    inside = np.ones(max(0, len(state) - 1), dtype=bool)
    inside[pieces.bounds[1:-1] - 1] = False  # between two walkers
    before, after = state[:-1], state[1:]
    moved = inside & (before >= 0) & (before != after)
    flat = np.bincount(before[moved] * basins + after[moved], minlength=basins**2)
    counts = flat.reshape(basins, basins)
    frames = np.bincount(state[state >= 0], minlength=basins)
    unit = np.nan if interval_fs is None else interval_fs * FS_IN_NS
    nanoseconds = frames[:, None].astype(np.float64) * unit
    return Transitions(
        counts, frames, int((state < 0).sum()), *_rates(counts, nanoseconds, confidence)
    )


def states_of(core: ArrayLike, walker: ArrayLike | None = None) -> IntArray:
    """Return the basin of each frame (F,) by the core its walker was in last; −1 before the first.

    Parameters
    ----------
    core, walker : array_like
        As in `count_transitions`.
    """
    cores = np.asarray(core, dtype=np.int64)
    labels = np.zeros(len(cores), np.int64) if walker is None else np.asarray(walker)
    pieces = pieces_of(labels)
    states = np.empty(len(cores), dtype=np.int64)
    begins = np.repeat(pieces.bounds[:-1], pieces.lengths)
    states[pieces.order] = _last_core(cores[pieces.order], begins)
    return states


def _last_core(cores: IntArray, begins: IntArray) -> IntArray:
    """Return the last core of each frame (F,), of frames piece by piece that begin at these."""
    last = np.maximum.accumulate(np.where(cores >= 0, np.arange(len(cores)), -1))
    return np.where(last >= begins, cores[last], -1)


def _rates(
    counts: IntArray, nanoseconds: FloatArray, confidence: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    tail = (1.0 - confidence) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        low = np.where(counts > 0, chi2.ppf(tail, 2 * np.maximum(counts, 1)) / 2, 0.0)
        parts = [counts, low, chi2.ppf(1.0 - tail, 2 * counts + 2) / 2]
        rates = [np.asarray(part / nanoseconds, dtype=np.float64) for part in parts]
    for rate in rates:
        rate[~np.isfinite(rate)] = np.nan
        np.fill_diagonal(rate, np.nan)
    return rates[0], rates[1], rates[2]


def _checked(
    core: ArrayLike, basins: int, walker: ArrayLike | None, interval_fs: float | None
) -> tuple[IntArray, Pieces]:
    cores = np.asarray(core)
    labels = np.zeros(cores.shape, np.int64) if walker is None else np.asarray(walker)
    if cores.ndim != 1 or labels.shape != cores.shape or cores.dtype.kind not in "iu":
        raise DataError(
            f"cores and walkers have shapes {cores.shape} and {labels.shape}; expected integers "
            "(frames,) and as many walkers"
        )
    if len(cores) and not -1 <= cores.min() <= cores.max() < basins:
        raise DataError(
            f"cores lie between {cores.min()} and {cores.max()}; expected −1 for none, to "
            f"{basins - 1}"
        )
    if interval_fs is not None and not interval_fs > 0.0:
        raise DataError(f"the time between frames is {interval_fs:g} fs; expected more than 0")
    return cores.astype(np.int64), pieces_of(labels)
