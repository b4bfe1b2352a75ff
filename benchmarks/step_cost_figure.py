"""The figure of `step_cost.py`: a bar for each case, divided into the parts of its step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from step_cost_profile import EXPORTED
from step_cost_spans import ENGINE, REST

CALLS = {
    "descriptor": ("descriptor", "descriptor, backward"),
    "networks": ("networks", "networks, backward"),
    "backward": ("other backward",),
    "uncertainty": ("uncertainty",),
    "lists": ("neighbours",),
    "other Python and torch": (REST,),
    "PLUMED": ("PLUMED",),
    "engine": (ENGINE,),
    "TorchForce": (EXPORTED,),
}
"""Columns of table and figure, and the parts in each."""
COLOURS = (
    "#1f77b4", "#ff7f0e", "#9467bd", "#2ca02c", "#8c564b", "#c7c7c7", "#d62728", "#7f7f7f",
    "#bcbd22",
)  # fmt: skip


def label(row: dict[str, Any]) -> str:
    """Return what sets a row apart from the base case."""
    words = [f"{row['atoms']:,} atoms"]
    if row["walkers"] > 1:
        words.append(f"{row['walkers']} walkers")
    if row["estimator"] != "energy":
        among = "" if row["members"] == 1 else "spread of "
        words.append(among + row["estimator"].replace("_", " "))
    elif row["members"] == 1:
        words.append("1 member, no u")
    elif row["members"] != 8:
        words.append(f"{row['members']} members")
    if row["plumed"]:
        words.append("PLUMED")
    if row["backend"] != "python":
        words.append("TorchForce")
    return ", ".join(words)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the figure."""
    figure = Figure(figsize=(9, 0.27 * len(rows) + 1.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for place, row in enumerate(rows):
        left = 0.0
        for colour, parts in zip(COLOURS, CALLS.values(), strict=True):
            width = 100 * sum(row["shares"][part] for part in parts)
            axes.barh(place, width, left=left, color=colour, height=0.8)
            left += width
        axes.text(101, place, f"{row['ms']:.2f} ms", va="center", fontsize=8)
    names = [label(r) + (f" ({r['threads']} threads)" if r["threads"] > 1 else "") for r in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set(xlim=(0, 114), xlabel="share of a step, %", xticks=range(0, 101, 20))
    axes.margins(y=0.01)
    axes.spines[["top", "right"]].set_visible(False)
    handles = [axes.barh(0, 0, color=colour) for colour in COLOURS]
    figure.legend(handles, CALLS, loc="outside upper center", ncols=5, fontsize=8, frameon=False)
    figure.savefig(path, dpi=120)
