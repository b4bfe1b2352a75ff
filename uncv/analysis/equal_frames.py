"""The same number of frames of each run: coverage is compared fairly at equal numbers only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from uncv.analysis.pieces import pieces_of
from uncv.analysis.samples import Samples
from uncv.errors import DataError

Take = Literal["thin", "first"]


def equal_frames(
    runs: Sequence[Samples], frames: int | None = None, take: Take = "thin"
) -> tuple[Samples, ...]:
    """Return runs with the same number of frames each.

    Parameters
    ----------
    runs : sequence of Samples
        What is to be compared.
    frames : int, optional
        How many of each; as many as the shortest run has by default.
    take : str
        - 'thin': frames equally far apart, over the whole of each walker: what a run of this length
          covers when it stores so many.
        - 'first': those that all walkers stored first: what it covered with so many stored.

        Walkers give as many as each other, to one frame, as far as they have them.

    Raises
    ------
    DataError
        If a run has fewer frames, or ``take`` is unknown.
    """
    if take not in get_args(Take):
        raise DataError(f"take is '{take}'; expected 'thin' or 'first'")
    if not runs:
        raise DataError("there is no run; give at least one")
    number = min(len(run) for run in runs) if frames is None else frames
    short = [len(run) for run in runs if len(run) < number]
    if short or number < 1:
        raise DataError(
            f"{number} frames are asked for, but runs have {', '.join(str(len(r)) for r in runs)}; "
            "expected 1 up to the number of the shortest"
        )
    return tuple(run.take(_chosen(run, number, take)) for run in runs)


def _chosen(run: Samples, number: int, take: Take) -> NDArray[np.bool_]:
    pieces = pieces_of(run.walker)
    shares = _shares(pieces.lengths, number)
    place = np.arange(len(run)) - np.repeat(pieces.bounds[:-1], pieces.lengths)
    share, length = (np.repeat(n, pieces.lengths) for n in (shares, pieces.lengths))
    if take == "first":
        kept = place < share
    else:  # place p is the first of its share-th part
        kept = (place * share) // length != ((place - 1) * share) // length
    chosen = np.empty(len(run), dtype=bool)
    chosen[pieces.order] = kept
    return chosen


def _shares(lengths: NDArray[np.int64], number: int) -> NDArray[np.int64]:
    """Return how many frames each walker gives: level, but no more than it has."""
    shares = np.zeros_like(lengths)
    for left, walker in zip(
        range(len(lengths), 0, -1), np.argsort(lengths, kind="stable"), strict=True
    ):
        shares[walker] = min(lengths[walker], (number - shares.sum()) // left)
    return shares
