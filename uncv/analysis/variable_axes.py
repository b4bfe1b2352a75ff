"""Axes of variables, by the limits given or by those of the values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncv.analysis.space import Axis
from uncv.analysis.variables import Variable

FloatArray = NDArray[np.float64]


class FoundAxes(NamedTuple):
    """Axes, and which of them nobody gave limits of."""

    axes: tuple[Axis, ...]
    open_axes: tuple[int, ...]


def axes_of(variables: Sequence[Variable], values: FloatArray) -> FoundAxes:
    """Return the axes of variables; where no limits are given, those of the values."""
    axes, open_axes = [], []
    for number, (variable, column) in enumerate(zip(variables, values.T, strict=True)):
        limits = variable.limits
        if limits is None:
            open_axes.append(number)
            limits = _span(column)
        axes.append(variable.axis(limits))
    return FoundAxes(tuple(axes), tuple(open_axes))


def _span(column: FloatArray) -> tuple[float, float]:
    if len(column) == 0:
        return 0.0, 1.0
    low, high = float(column.min()), float(column.max())
    least = 1e-6 * max(1.0, abs(low), abs(high))  # rounding is no span
    return (low, high) if high - low > least else (low - least, high + least)
