"""The marks of a chart drawn on axes of matplotlib."""

from __future__ import annotations

from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import ArrayLike

from uncv.plots_chart import Axis, Band, Bars, FloatArray, Heat, Line, Mark, Panel

PALETTE = ("#0072b2", "#d55e00", "#008762", "#b5598f", "#946300", "#595959")
"""Of Okabe and Ito, darkened where they were too light on white: contrast 3.9 or more."""
_MARKERS = {"circle": "o", "square": "s", "triangle-up": "^", "diamond": "D", "cross": "P",
            "x": "X"}  # fmt: skip
_MANY = 400  # points that a vector file draws one by one
_HEAT = ListedColormap(mpl.colormaps["viridis_r"](np.linspace(0.04, 1.0, 256)))


def draw_panel(axis: Any, panel: Panel) -> None:
    """Draw the marks of a panel, and its scales and labels."""
    for mark in panel.marks:
        _mark(axis, mark)
    axis.set_title(panel.title)
    _scale(axis, "x", panel.x)
    _scale(axis, "y", panel.y)
    axis.set(xlabel=panel.x.label, ylabel=panel.y.label)
    if panel.x.limits:
        axis.set_xlim(*panel.x.limits)
    if panel.y.limits:
        axis.set_ylim(*panel.y.limits)
    if panel.square:
        axis.set_box_aspect(1)


def _mark(axis: Any, mark: Mark) -> None:
    if isinstance(mark, Heat):
        _heat(axis, mark)
        return
    colour = PALETTE[mark.colour]
    x = np.asarray(mark.x, dtype=float)
    if isinstance(mark, Line):
        style = {
            "linestyle": "--" if mark.dash else "-", "linewidth": 1.4, "label": mark.name,
            "marker": "o" if mark.markers else "", "markersize": 4, "color": colour,
        }  # fmt: skip
        y = np.asarray(mark.y, dtype=float)
        axis.errorbar(x, y, yerr=_bars_of(y, mark), capsize=2.5, elinewidth=1.0, **style)
    elif isinstance(mark, Band):
        low, high = (np.asarray(v, dtype=float) for v in (mark.low, mark.high))
        axis.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0, label=mark.name)
    elif isinstance(mark, Bars):
        _columns(axis, mark, x, colour)
    else:
        axis.plot(
            x, np.asarray(mark.y, dtype=float), _MARKERS[mark.symbol], color=colour,
            label=mark.name, markersize=2.5 if mark.small else 5, alpha=0.6 if mark.small else 1.0,
            markeredgewidth=0 if mark.small else 0.6, rasterized=len(x) > _MANY,
            markeredgecolor="none" if mark.small else "white",
        )  # fmt: skip


def _columns(axis: Any, mark: Bars, x: FloatArray, colour: str) -> None:
    below = getattr(axis, "uncv_stack", {})
    axis.uncv_stack = below
    y = np.asarray(mark.y, dtype=float)
    bottom = np.array([below.get(float(place), 0.0) for place in x])
    width = 0.8 if mark.width is None else mark.width
    axis.bar(x, y, width, bottom, color=colour, label=mark.name, linewidth=0)
    tops = zip(x, bottom + np.nan_to_num(y), strict=True)
    below.update({float(place): float(top) for place, top in tops})


def _heat(axis: Any, mark: Heat) -> None:
    x, y = (np.asarray(e, dtype=float) for e in (mark.x_edges, mark.y_edges))
    axis.imshow(
        np.ma.masked_invalid(np.asarray(mark.values, dtype=float).T), origin="lower", cmap=_HEAT,
        extent=(x[0], x[-1], y[0], y[-1]), interpolation="nearest", aspect="auto", vmin=0.0,
        vmax=mark.highest, label=mark.name, zorder=1.5,
    )  # fmt: skip


def _bars_of(y: FloatArray, mark: Line) -> FloatArray | None:
    if mark.low is None or mark.high is None:
        return None
    ends: tuple[ArrayLike, ArrayLike] = (mark.low, mark.high)
    low, high = (np.asarray(e, dtype=float) for e in ends)
    return np.nan_to_num(np.abs(np.stack([y - low, high - y])))


def _scale(axis: Any, which: Literal["x", "y"], given: Axis) -> None:
    one = axis.xaxis if which == "x" else axis.yaxis
    if given.log:
        axis.set(**{f"{which}scale": "log"})
        _plain_ticks(one)
    elif given.ticks is not None:
        one.set_ticks(list(given.ticks))
    elif given.whole:
        one.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _plain_ticks(axis: Any) -> None:
    low, high = axis.get_view_interval()
    few = high < 6.0 * low
    subs = (1.0, 2.0, 5.0) if high < 200.0 * low else (1.0,)
    axis.set_major_locator(MaxNLocator(5) if few else LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    axis.set_minor_locator(NullLocator())
