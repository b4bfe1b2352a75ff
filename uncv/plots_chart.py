"""What a figure of a report shows, whoever draws it: marks on panels, in words and numbers.

`uncv.plots_still` draws a chart by matplotlib, for paper and files; `uncv.report.live` describes it
to the script of a report, for the screen. Colours are numbers of a palette, 0 to 5, so that a page
can choose them by its background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
Symbol = Literal["circle", "square", "triangle-up", "diamond", "cross", "x"]
SYMBOLS: tuple[Symbol, ...] = ("circle", "square", "triangle-up", "diamond", "cross", "x")


class Table(NamedTuple):
    """Names of columns, and rows of as many cells; ``name`` is that of its CSV file."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    name: str = ""
    title: str = "Numbers"


class Axis(NamedTuple):
    """An axis: its label with the unit, and whether it is logarithmic or counts whole things."""

    label: str
    log: bool = False
    limits: tuple[float, float] | None = None
    whole: bool = False
    ticks: Sequence[float] | None = None


class Line(NamedTuple):
    """Points joined by a line (n,); ``low`` and ``high`` are the ends of error bars."""

    name: str
    x: ArrayLike
    y: ArrayLike
    low: ArrayLike | None = None
    high: ArrayLike | None = None
    colour: int = 0
    dash: bool = False
    markers: bool = True


class Band(NamedTuple):
    """The area between two curves (n,)."""

    name: str
    x: ArrayLike
    low: ArrayLike
    high: ArrayLike
    colour: int = 0


class Dots(NamedTuple):
    """Single points (n,), each with its own text if there is any."""

    name: str
    x: ArrayLike
    y: ArrayLike
    colour: int = 0
    symbol: Symbol = "circle"
    text: Sequence[str] = ()
    small: bool = False


class Bars(NamedTuple):
    """Columns (n,) at x, stacked on the bars before them; of a histogram if ``width`` is given."""

    name: str
    x: ArrayLike
    y: ArrayLike
    colour: int = 0
    width: float | None = None


class Heat(NamedTuple):
    """Values on the cells of a grid, (X, Y); NaN is drawn as nothing."""

    name: str
    x_edges: ArrayLike
    y_edges: ArrayLike
    values: ArrayLike
    highest: float | None = None


Mark = Line | Band | Dots | Bars | Heat


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Parameters
    ----------
    x, y : Axis
        The axes.
    marks : sequence
        What is drawn, the first at the back.
    title : str
        Above the panel.
    square : bool
        Whether both axes are equally long.
    """

    x: Axis
    y: Axis
    marks: Sequence[Mark]
    title: str = ""
    square: bool = False


@dataclass(frozen=True)
class Chart:
    """A figure of one or more panels, with its words and its numbers.

    Parameters
    ----------
    name : str
        Of its files, without a suffix.
    title : str
        Heading.
    caption : str
        What there is to see, also for those who cannot see it.
    panels : sequence of Panel
        Side by side; or one for each entry of ``slider``.
    table : Table, optional
        The numbers behind it.
    slider : sequence of str
        Names of the panels where one is shown at a time.

    Raises
    ------
    ValueError
        If there is no panel, or a slider with another number of entries.
    """

    name: str
    title: str
    caption: str
    panels: Sequence[Panel]
    table: Table | None = None
    slider: Sequence[str] = field(default=())

    def __post_init__(self) -> None:
        if not self.panels:
            raise ValueError(f"the chart {self.name!r} has no panel; give at least one")
        if self.slider and len(self.slider) != len(self.panels):
            raise ValueError(
                f"the slider of {self.name!r} has {len(self.slider)} entries for "
                f"{len(self.panels)} panels; expected one for each"
            )


def thinned(count: int, most: int) -> NDArray[np.int64]:
    """Return which of so many points are shown, spread evenly over all.

    >>> thinned(5, 3).tolist()
    [0, 2, 4]
    """
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, most)).round().astype(np.int64))
