"""The space of collective variables: its axes, and the cells of a grid on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.errors import DataError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Axis:
    """One variable: its name, its range, and whether its ends are the same point.

    Parameters
    ----------
    name : str
        As it is reported.
    low, high : float
        The range, in the unit. A periodic variable is wrapped into it; of others, values outside
        lie in no cell.
    periodic : bool
        Whether ``low`` and ``high`` are one point, as −π and π of a torsion.
    unit : str
        'rad', 'Å', 'Å^3', or whatever a column has; '' for none.
    """

    name: str = "angle"
    low: float = -np.pi
    high: float = np.pi
    periodic: bool = True
    unit: str = "rad"

    def __post_init__(self) -> None:
        if not (np.isfinite([self.low, self.high]).all() and self.low < self.high):
            raise DataError(
                f"the limits of {self.name} are {self.low:g} and {self.high:g}; expected two "
                "finite numbers, the smaller one first"
            )

    def share(self, values: FloatArray) -> FloatArray:
        """Return where values lie in the range: 0 at ``low``, 1 at ``high``; wrapped below 1."""
        scaled = (values - self.low) / (self.high - self.low)
        if self.periodic:
            scaled -= np.floor(scaled)
            scaled[scaled >= 1.0] = 0.0  # −1e-17 has become 1
        return scaled

    def edges(self, bins: int) -> FloatArray:
        """Return the edges of equal cells (bins + 1,)."""
        return np.linspace(self.low, self.high, bins + 1)

    def cells(self, values: FloatArray, bins: int) -> IntArray:
        """Return the cell of each value (F,), −1 outside; the upper end is in the last cell."""
        share = self.share(values)
        inside = (share >= 0.0) & (share <= 1.0)
        if inside.all():
            return np.minimum((share * bins).astype(np.int64), bins - 1)
        place = np.full(share.shape, -1, dtype=np.int64)
        place[inside] = np.minimum((share[inside] * bins).astype(np.int64), bins - 1)
        return place


PHI_PSI = (Axis("φ"), Axis("ψ"))
"""Two torsions."""


def resolve_axes(
    dimensions: int,
    axes: Sequence[Axis] | None = None,
    bounds: tuple[float, float] | None = None,
) -> tuple[Axis, ...]:
    """Return the axes of a space: those given, or the same bounds for all, or torsions.

    Raises
    ------
    DataError
        If there are not as many axes as variables, or both axes and bounds are given.
    """
    if axes is not None:
        if bounds is not None:
            raise DataError("both axes and bounds are given; give one of them")
        if len(axes) != dimensions:
            raise DataError(
                f"{len(axes)} axes are given for {dimensions} variables; expected one for each"
            )
        return tuple(axes)
    if bounds is not None:
        return tuple(Axis(f"x{i}", *bounds, periodic=False, unit="") for i in range(dimensions))
    return tuple(Axis(f"angle {i + 1}") for i in range(dimensions))


def checked_values(cvs: ArrayLike) -> FloatArray:
    """Return variables as (F, d), of (F,) or (F, d).

    Raises
    ------
    DataError
        If a value is NaN or infinite, or the shape is another.
    """
    values = np.asarray(cvs, dtype=np.float64)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or values.shape[1] == 0:
        raise DataError(f"variables have shape {values.shape}; expected (frames, variables)")
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).any(axis=1).sum())
        raise DataError(
            f"a variable is NaN or infinite in {bad} of {len(values)} frames; remove these frames"
        )
    return values


def cell_numbers(values: FloatArray, axes: Sequence[Axis], bins: int) -> IntArray:
    """Return the cell of each point (F,) on a grid of ``bins`` per axis, −1 for points outside.

    Cells are numbered row by row, the first variable being the slowest.
    """
    number = np.zeros(len(values), dtype=np.int64)
    outside = np.zeros(len(values), dtype=bool)
    for column, axis in enumerate(axes):
        place = axis.cells(values[:, column], bins)
        outside |= place < 0
        number = number * bins + place
    if outside.any():
        number[outside] = -1
    return number
