"""Standard errors of correlated frames, by blocks in time within each walker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.analysis.pieces import pieces_of
from uncv.errors import DataError

FEWEST_BLOCKS = 8
FEWEST_WALKERS = 4


class BlockError(NamedTuple):
    """A standard error, with the blocks that gave it.

    Attributes
    ----------
    error : float
        Of the sum of the contributions, in their unit; infinite where the run is too short to tell.
    length : int
        Frames in a block.
    blocks : int
        Their number.
    reason : str
        Why the error is infinite, or why whole walkers are the blocks; '' otherwise.
    """

    error: float
    length: int
    blocks: int
    reason: str = ""


def block_error(contributions: ArrayLike, walker: ArrayLike | None = None) -> BlockError:
    """Return the standard error of a sum over correlated frames.

    Frames are joined to blocks of 1, 2, 4, ... neighbours in time, never across walkers, and
    the error at each length is that of independent blocks. Of the lengths that leave 8 blocks the
    shortest is taken whose length L fulfils L³ > 2 F (e_L/e_1)⁴, F being the number of frames
    and e_L the error at length L: shorter blocks miss correlation, longer ones lose precision.
    If none does, correlation reaches too far to be seen within walkers. Walkers are independent of
    each other, though, so with four or more of them each becomes one block; with fewer, the error
    is infinite.

    Parameters
    ----------
    contributions : array_like
        What each frame adds to a statistic (F,), in the order of time within each walker, to first
        order and with a sum of zero: w_i (x_i − x̄) for a mean of weights w of sum 1.
    walker : array_like, optional
        The walker of each frame (F,), any labels; one by default.

    Raises
    ------
    DataError
        If shapes differ, there is no frame, or a value is NaN or infinite.

    References
    ----------
    H. Flyvbjerg, H. G. Petersen, J. Chem. Phys. 91, 461 (1989); the rule for the length:
    U. Wolff, Comput. Phys. Commun. 156, 143 (2004) and R. M. Lee et al., Phys. Rev. E 83, 066706
    (2011).
    """
    series = _series(contributions, walker)
    frames = sum(len(values) for values in series)
    first = _error(series)
    if first == 0.0:
        return BlockError(0.0, 1, frames)
    for length, sums in _blocks(series):
        blocks = len(sums)
        if blocks < FEWEST_BLOCKS:
            break
        error = _error([sums])
        if length**3 > 2 * frames * (error / first) ** 4:
            return BlockError(error, length, blocks)
    longest = max(len(values) for values in series)
    if len(series) >= FEWEST_WALKERS:
        reason = "frames are correlated over much of a walker: each walker is one block"
        return BlockError(walker_error(contributions, walker), longest, len(series), reason)
    return BlockError(
        np.inf,
        longest,
        len(series),
        f"frames are correlated over more than {FEWEST_BLOCKS} blocks can tell; run longer, or "
        f"{FEWEST_WALKERS} walkers or more",
    )


def walker_error(contributions: ArrayLike, walker: ArrayLike | None) -> float:
    """Return the standard error of a sum over frames from the scatter of whole walkers.

    Walkers are independent whatever correlates the frames of each, so that no length of a block has
    to be found; with few of them the error itself is uncertain. It is NaN with fewer than four.

    Parameters
    ----------
    contributions, walker : array_like
        As in `block_error`.
    """
    whole = [values.sum() for values in _series(contributions, walker)]
    return np.nan if len(whole) < FEWEST_WALKERS else _error([np.array(whole)])


def time_blocks(walker: NDArray[np.int64], fewest: int) -> NDArray[np.int64]:
    """Return a block number for each frame (F,): equal parts in time of each walker.

    Parameters
    ----------
    walker : numpy.ndarray
        The walker of each frame (F,), frames in the order of time within each.
    fewest : int
        Blocks in all, unless there are fewer frames.
    """
    pieces = pieces_of(walker)
    parts = -(-fewest // len(pieces.labels))
    counts = pieces.lengths
    place = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(walker)) - pieces.bounds[:-1][place]
    ordered = place * parts + within * parts // counts[place]
    numbers = np.empty(len(walker), dtype=np.int64)
    numbers[pieces.order] = ordered
    used = np.zeros(len(counts) * parts, dtype=bool)
    used[numbers] = True
    return (np.cumsum(used) - 1)[numbers]


def _blocks(series: list[NDArray[np.float64]]) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield lengths and the sums of all blocks; what does not fill a block lengthens the others."""
    length = 1
    while length <= max(len(values) for values in series):
        sums = []
        for values in series:
            parts = max(1, len(values) // length)
            begins = np.arange(parts) * len(values) // parts
            sums.append(np.add.reduceat(values, begins))
        yield length, np.concatenate(sums)
        length *= 2


def _error(parts: list[NDArray[np.float64]]) -> float:
    """Return √(n/(n−1) Σ z²) of n independent contributions."""
    values = np.concatenate(parts)
    if len(values) < 2:
        return np.inf
    return float(np.sqrt(len(values) / (len(values) - 1) * (values**2).sum()))


def _series(contributions: ArrayLike, walker: ArrayLike | None) -> list[NDArray[np.float64]]:
    values = np.asarray(contributions, dtype=np.float64)
    labels = np.zeros(values.shape, dtype=np.int64) if walker is None else np.asarray(walker)
    if values.ndim != 1 or len(values) == 0 or labels.shape != values.shape:
        raise DataError(
            f"contributions and walkers have shapes {values.shape} and {labels.shape}; expected "
            "the same (frames,) for both, and at least one frame"
        )
    if not np.isfinite(values).all():
        raise DataError("a contribution is NaN or infinite; leave such frames out")
    return pieces_of(labels).split(values)
