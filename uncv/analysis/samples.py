"""What an analysis needs of a run: variables, bias, walker and piece of each frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from uncv.analysis.pieces import pieces_of
from uncv.analysis.reweighting import bias_weights
from uncv.analysis.space import PHI_PSI, Axis, resolve_axes
from uncv.errors import DataError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Samples:
    """Frames of one or several walkers, in the order of time within each.

    Parameters
    ----------
    values : numpy.ndarray
        Variables (F, K), in the units of the axes.
    walker : numpy.ndarray
        Number of the walker of each frame (F,).
    bias : numpy.ndarray or None
        V of each frame (F,), eV; None if the frames are taken as they are.
    own_bias : bool
        Whether each walker has a bias of its own, so that its weights are normalised by themselves.
    notes : tuple of str
        What a reader of the result should know.
    axes : tuple of Axis, optional
        The variables; torsions by default.
    open_axes : tuple of int
        Axes whose limits nobody gave: they are those of the values.
    piece : numpy.ndarray or None
        Number of the piece of a walker (F,) that goes on without a jump; None where walkers are of
        one piece. Time series stay within pieces.
    interval_fs : float or None
        Time between frames in fs, where it is known.
    steps : float or None
        Steps of a walker, and so evaluations of its potential, between frames, where known.
    """

    values: FloatArray
    walker: NDArray[np.int64]
    bias: FloatArray | None = None
    own_bias: bool = False
    notes: tuple[str, ...] = ()
    axes: tuple[Axis, ...] = ()
    open_axes: tuple[int, ...] = ()
    piece: NDArray[np.int64] | None = None
    interval_fs: float | None = None
    steps: float | None = None

    def __post_init__(self) -> None:
        columns = self.values.shape[1]
        if not self.axes:
            named = PHI_PSI if columns == 2 else resolve_axes(columns)
            object.__setattr__(self, "axes", named)
        elif len(self.axes) != columns:
            raise DataError(f"{len(self.axes)} axes are given for {columns} variables")

    def __len__(self) -> int:
        return len(self.values)

    @property
    def angles(self) -> FloatArray:
        """The values: of torsions, radians."""
        return self.values

    @property
    def pieces(self) -> NDArray[np.int64]:
        """The piece of each frame (F,)."""
        return self.walker if self.piece is None else self.piece

    def take(self, frames: NDArray) -> Samples:
        """Return some of the frames, by mask or indices that ascend within each walker."""
        return replace(
            self,
            values=self.values[frames],
            walker=self.walker[frames],
            bias=None if self.bias is None else self.bias[frames],
            piece=None if self.piece is None else self.piece[frames],
        )

    def discard(self, share: float) -> Samples:
        """Return the frames without the first share of each walker, rounded down.

        Raises
        ------
        DataError
            If the share is not in [0, 1).
        """
        if not 0.0 <= share < 1.0:
            raise DataError(f"the share to discard is {share:g}; expected 0 to below 1")
        if share == 0.0:
            return self
        pieces = pieces_of(self.walker)
        place = np.arange(len(self)) - np.repeat(pieces.bounds[:-1], pieces.lengths)
        late = place >= np.repeat((share * pieces.lengths).astype(np.int64), pieces.lengths)
        kept = np.empty(len(self), dtype=bool)
        kept[pieces.order] = late
        return self.take(kept)

    def weights(self, temperature: float) -> FloatArray:
        """Return the weight of each frame (F,) at a temperature in K, of sum 1."""
        if self.bias is None:
            return np.full(len(self.walker), 1.0 / len(self.walker))
        return bias_weights(self.bias, temperature, self.walker if self.own_bias else None)

    def pick(self, columns: Sequence[int]) -> Samples:
        """Return the samples with some of the variables."""
        chosen = list(columns)
        return replace(
            self,
            values=self.values[:, chosen],
            axes=tuple(self.axes[column] for column in chosen),
            open_axes=tuple(n for n, column in enumerate(chosen) if column in self.open_axes),
        )


def joined(parts: Sequence[Samples]) -> Samples:
    """Return the samples of several inputs, whose walkers are all different ones.

    Raises
    ------
    DataError
        If some are to be reweighted and others not, or their frames are different times apart.
    """
    if len(parts) == 1:
        return parts[0]
    if len({(part.bias is None, part.own_bias) for part in parts}) > 1:
        raise DataError("some inputs are to be reweighted and others not; analyze them one by one")
    biases = [part.bias for part in parts if part.bias is not None]
    first = shared_axes(parts)[0]
    return Samples(
        np.concatenate([part.values for part in parts]),
        _apart([part.walker for part in parts]),
        np.concatenate(biases) if biases else None,
        first.own_bias,
        tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        first.axes,
        first.open_axes,
        _apart([part.pieces for part in parts]),
        _same([part.interval_fs for part in parts], "fs"),
        _same([part.steps for part in parts], "steps"),
    )


def shared_axes(parts: Sequence[Samples]) -> tuple[Samples, ...]:
    """Return the samples with axes that hold all of them, where nobody gave the limits.

    Raises
    ------
    DataError
        If they have different variables.
    """
    axes = list(parts[0].axes)
    for part in parts[1:]:
        if len(part.axes) != len(axes) or part.open_axes != parts[0].open_axes:
            raise DataError(
                f"the inputs have different variables: {_names(parts[0])}, and {_names(part)}"
            )
        for number in part.open_axes:
            mine, other = axes[number], part.axes[number]
            axes[number] = replace(
                mine, low=min(mine.low, other.low), high=max(mine.high, other.high)
            )
    return tuple(replace(part, axes=tuple(axes)) for part in parts)


def uneven(walker: NDArray[np.int64]) -> tuple[str, ...]:
    """Return a note where walkers hold different numbers of frames."""
    counts = pieces_of(walker).lengths
    if len(counts) < 2 or counts.max() <= 1.01 * counts.min():
        return ()
    return (f"walkers hold {counts.min()} to {counts.max()} frames and count accordingly",)


def _names(part: Samples) -> str:
    return ", ".join(axis.name for axis in part.axes)


def _apart(labels: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return labels that are different in each part."""
    offsets = np.cumsum([0, *(int(part.max(initial=-1)) + 1 for part in labels)])
    moved = [part + offset for part, offset in zip(labels, offsets[:-1], strict=True)]
    return np.concatenate(moved)


def _same(values: Sequence[float | None], unit: str) -> float | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    if max(known) > 1.01 * min(known):
        raise DataError(
            f"frames of the inputs are {min(known):g} to {max(known):g} {unit} apart; analyze them "
            "one by one"
        )
    return known[0]
