"""Charts as the script of a report wants them: traces and layouts of plotly.js, colours by name."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from uncv.plots_chart import Axis, Band, Bars, Chart, Dots, Heat, Line, Mark, Panel

_DIGITS = 5
_FEW = 12  # whole numbers that each get a tick


def live_json(chart: Chart) -> str:
    """Return a chart as JSON that may stand inside a script element.

    Colours are ``@c0`` to ``@c5``; the script of the page puts in those of its theme.
    """
    panels = [_panel(panel) for panel in chart.panels]
    content = {"name": chart.name, "panels": panels, "slider": list(chart.slider)}
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/")


def _panel(panel: Panel) -> dict[str, Any]:
    traces = [trace for mark in panel.marks for trace in _traces(mark)]
    layout: dict[str, Any] = {"xaxis": _axis(panel.x), "yaxis": _axis(panel.y)}
    for name, axis in (("x", panel.x), ("y", panel.y)):
        if axis.whole:
            layout[f"{name}axis"].update(_whole(traces, name))
    if panel.title:
        layout["title"] = {"text": panel.title}
    if any(isinstance(mark, Bars) for mark in panel.marks):
        layout.update(barmode="stack", bargap=0.25)
    named = sum(bool(trace.get("showlegend", True)) for trace in traces)
    layout["showlegend"] = named > 1
    if any(isinstance(mark, Heat) for mark in panel.marks):
        layout["yaxis"].update(scaleanchor="x", constrain="domain")
        layout["xaxis"]["constrain"] = "domain"
    return {"data": traces, "layout": layout, "square": panel.square}


def _axis(given: Axis) -> dict[str, Any]:
    made: dict[str, Any] = {"title": {"text": given.label}}
    if given.log:
        made.update(type="log", exponentformat="power", minexponent=5)
    if given.limits:
        ends = [math.log10(v) for v in given.limits] if given.log else list(given.limits)
        made["range"] = ends
    if given.ticks is not None:
        made.update(tickmode="array", tickvals=list(given.ticks))
    return made


def _whole(traces: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Return ticks at whole numbers only, for an axis that counts."""
    known = [v for trace in traces for v in trace.get(name, []) if v is not None]
    few = not known or max(known) - min(known) <= _FEW
    return {"tickformat": ",d", **({"tick0": 0, "dtick": 1} if few else {})}


def _traces(mark: Mark) -> list[dict[str, Any]]:
    if isinstance(mark, Heat):
        return [_heat(mark)]
    colour = f"@c{mark.colour}"
    if isinstance(mark, Band):
        return _band(mark, colour)
    made: dict[str, Any] = {"name": mark.name, "x": _plain(mark.x), "y": _plain(mark.y)}
    if isinstance(mark, Bars):
        made.update(type="bar", marker={"color": colour})
        if mark.width is not None:
            made["width"] = _plain(mark.width)
    elif isinstance(mark, Line):
        made.update(_line(mark, colour))
    else:
        made.update(_dots(mark, colour))
    return [made]


def _line(mark: Line, colour: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines+markers" if mark.markers else "lines",
        "line": {"color": colour, "width": 2, "dash": "dash" if mark.dash else "solid"},
        "marker": {"color": colour, "size": 7},
    }
    if mark.low is not None and mark.high is not None:
        y, low, high = (np.asarray(v, dtype=float) for v in (mark.y, mark.low, mark.high))
        bars = {"array": _plain(high - y), "arrayminus": _plain(y - low), "color": colour}
        made["error_y"] = {"type": "data", "symmetric": False, "thickness": 1.4, **bars}
    return made


def _dots(mark: Dots, colour: str) -> dict[str, Any]:
    size, opacity = (5, 0.65) if mark.small else (9, 1.0)
    edge = {"width": 0 if mark.small else 1, "color": "@page"}
    made: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "marker": {"color": colour, "size": size, "opacity": opacity, "symbol": mark.symbol,
                   "line": edge},
    }  # fmt: skip
    if mark.text:
        made["text"] = list(mark.text)
        made["hovertemplate"] = "%{text}<extra></extra>"
    return made


def _band(mark: Band, colour: str) -> list[dict[str, Any]]:
    x, edge = _plain(mark.x), {"width": 0, "color": colour}
    lower = {"x": x, "y": _plain(mark.low), "type": "scatter", "mode": "lines", "line": edge,
             "name": mark.name, "showlegend": False, "hoverinfo": "skip"}  # fmt: skip
    upper = {"x": x, "y": _plain(mark.high), "type": "scatter", "mode": "lines", "line": edge,
             "name": mark.name, "fill": "tonexty", "fillcolor": f"{colour}~"}  # fmt: skip
    return [lower, upper]


def _heat(mark: Heat) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": "heatmap",
        "name": mark.name,
        "x": _plain(mark.x_edges),
        "y": _plain(mark.y_edges),
        "z": _plain(np.asarray(mark.values, dtype=float).T),
        "zmin": 0,
        "colorscale": "Viridis",
        "reversescale": "@light",
        "hoverongaps": False,
        "showlegend": False,
        "colorbar": {"title": {"text": mark.name, "side": "right"}, "thickness": 14},
        "hovertemplate": "%{x:.0f}, %{y:.0f}: %{z:.4g}<extra></extra>",
    }
    if mark.highest is not None:
        made["zmax"] = mark.highest
    return made


def _plain(values: ArrayLike) -> Any:
    """Return numbers of few digits, None where they are not finite."""
    given = np.asarray(values)
    if given.ndim:
        return [_plain(v) for v in given]
    number = float(given)
    if not math.isfinite(number):
        return None
    short = float(f"{number:.{_DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 1e9 else short
