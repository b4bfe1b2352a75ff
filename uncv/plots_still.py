"""Charts drawn by matplotlib: figures, files, and SVG that takes its colours from a page."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

from uncv.plots_chart import Chart, Heat
from uncv.plots_still_marks import PALETTE, draw_panel
from uncv.plots_uncertainty import save

INK, SOFT, GRID = "#1b1f24", "#57606b", "#d0d7df"
_NAMES = {INK: "--text", SOFT: "--soft", GRID: "--line"}
_COLUMNS = 4  # panels of a slider in a row
_STYLE: Any = {
    "font.size": 9.0, "axes.titlesize": 9.5, "legend.fontsize": 8.0, "text.color": INK,
    "axes.labelcolor": INK, "axes.edgecolor": SOFT, "xtick.color": SOFT, "ytick.color": SOFT,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK, "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": GRID,
    "grid.linewidth": 0.6, "axes.axisbelow": True, "svg.fonttype": "none",
}  # fmt: skip


class _Grid(NamedTuple):
    """Where panels stand, in inches: rows, columns, size of a panel, gaps and margins around."""

    rows: int
    columns: int
    width: float
    height: float
    gap_x: float
    gap_y: float
    left: float = 0.72
    right: float = 0.15
    top: float = 0.3
    bottom: float = 0.5

    @property
    def size(self) -> tuple[float, float]:
        """Of the whole figure."""
        return (
            self.left + self.columns * (self.width + self.gap_x) - self.gap_x + self.right,
            self.top + self.rows * (self.height + self.gap_y) - self.gap_y + self.bottom,
        )

    def place(self, number: int) -> tuple[float, float, float, float]:
        """Return left, bottom, width and height of a panel as shares of the figure."""
        row, column = divmod(number, self.columns)
        x = self.left + column * (self.width + self.gap_x)
        y = self.size[1] - self.top - row * (self.height + self.gap_y) - self.height
        (w, h), (wide, high) = (self.width, self.height), self.size
        return x / wide, y / high, w / wide, h / high


def still(chart: Chart) -> Figure:
    """Return a chart as a figure; the panels of a slider stand beside each other.

    Panels have fixed places, since measuring all texts would take most of the time.
    """
    grid = _grid_of(chart)
    several = len(chart.slider) > 1
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=grid.size)
        axes = [figure.add_axes(grid.place(n)) for n in range(len(chart.panels))]
        for number, (axis, panel) in enumerate(zip(axes, chart.panels, strict=True)):
            draw_panel(axis, panel)
            if several:
                axis.set_title(chart.slider[number])
                _only_outer(axis, grid, number, len(axes))
            else:
                _legend(axis, grid)
        if several:
            _shared_legend(figure, axes[-1], grid)
        _colour_bar(figure, axes, chart, grid)
    return figure


def _grid_of(chart: Chart) -> _Grid:
    count = len(chart.panels)
    heat = any(isinstance(mark, Heat) for panel in chart.panels for mark in panel.marks)
    named = max(sum(not isinstance(m, Heat) for m in panel.marks) for panel in chart.panels)
    right = 0.95 if heat else 0.15
    if len(chart.slider) > 1:
        columns = min(count, _COLUMNS)
        wide = 2.0 if chart.panels[0].square else 2.3
        bottom = 0.55 + 0.19 * -(-max(named, 2) // (1 + columns))
        return _Grid(-(-count // columns), columns, wide, 2.0 if chart.panels[0].square else 1.5,
                     0.3, 0.38, right=right, bottom=bottom)  # fmt: skip
    columns = min(count, 3)
    square = chart.panels[0].square
    wide = 3.0 if square else (5.6, 3.1, 2.5)[columns - 1]
    bottom = 0.52 + (0.19 * -(-named // (2 if columns > 1 else 4)) if named > 1 else 0.0)
    rows = -(-count // columns)
    return _Grid(rows, columns, wide, 3.0 if square else 2.5, 0.78, 0.5 + bottom,
                 right=right, bottom=bottom)  # fmt: skip


def _only_outer(axis: Any, grid: _Grid, number: int, count: int) -> None:
    """Leave labels to the panels at the left and at the bottom."""
    if number % grid.columns:
        axis.set_ylabel("")
        axis.tick_params(labelleft=False)
    if number + grid.columns < count:
        axis.set_xlabel("")
        axis.tick_params(labelbottom=False)


def _legend(axis: Any, grid: _Grid) -> None:
    handles, names = axis.get_legend_handles_labels()
    if len(names) > 1:
        axis.legend(
            handles, names, loc="upper center", bbox_to_anchor=(0.5, -0.42 / grid.height),
            ncols=2 if grid.columns > 1 else 4, borderaxespad=0.0, columnspacing=1.2,
            handlelength=1.6,
        )  # fmt: skip


def _shared_legend(figure: Figure, axis: Any, grid: _Grid) -> None:
    handles, names = axis.get_legend_handles_labels()
    if len(names) > 1:
        figure.legend(handles, names, loc="lower center", ncols=1 + grid.columns,
                      columnspacing=1.2, handlelength=1.6, borderaxespad=0.1)  # fmt: skip


def _colour_bar(figure: Figure, axes: list[Any], chart: Chart, grid: _Grid) -> None:
    images = [image for axis in axes for image in axis.get_images()]
    if images:
        heats = [m for panel in chart.panels for m in panel.marks if isinstance(m, Heat)]
        wide, high = grid.size
        place = (1 - (grid.right - 0.16) / wide, grid.bottom / high, 0.13 / wide,
                 min(2.6, grid.height) / high)  # fmt: skip
        figure.colorbar(images[-1], cax=figure.add_axes(place), label=heats[-1].name)


def themed_svg(chart: Chart) -> str:
    """Return a chart as an SVG element whose colours are variables of the page's style.

    Its identifiers begin with the name of the chart, so that many fit on one page.
    """
    buffer = StringIO()
    with mpl.rc_context({**_STYLE, "svg.hashsalt": chart.name}):
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        still(chart).savefig(buffer, format="svg", transparent=True, metadata=nothing, dpi=110)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{chart.name}-', text)
    text = re.sub(r'url\(#|(?<=href=")#', lambda found: f"{found[0]}{chart.name}-", text)
    text = re.sub(r"(<svg[^>]*?) (?:height|width)=\"[^\"]*\"", r"\1", text, count=1)
    text = re.sub(r"(<svg[^>]*?) (?:height|width)=\"[^\"]*\"", r"\1", text, count=1)
    for number, colour in enumerate(PALETTE):
        text = text.replace(colour, f"var(--c{number})")
    for colour, name in _NAMES.items():
        text = text.replace(colour, f"var({name})")
    return re.sub(r"\n\s*", "\n", text).strip()


def save_chart(chart: Chart, folder: Path) -> tuple[Path, Path]:
    """Write a chart as PNG and SVG into a folder, named by the chart."""
    return save(still(chart), folder / f"{chart.name}.png")
