"""The figure of `alanine_dipeptide.py`: coverage and errors of all campaigns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from uncv.plots import COLOURS

PANELS = (
    ("coverage", "coverage", 0),
    ("energy_rmse_mev_per_atom", "energy RMSE, meV/atom", 1),
    ("force_rmse_ev_per_angstrom", "force RMSE, eV/Å", 2),
)
DASHED = "unbiased"


def draw(path: Path, rows: list[dict[str, Any]], published: dict[int, tuple]) -> None:
    """Draw coverage by frames and by labels, and errors by labels, beside published ones."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2).ravel()
    campaigns: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        campaigns.setdefault((row["method"], row["seed"]), []).append(row)
    for index, ((method, seed), own) in enumerate(campaigns.items()):
        name = method + (f", seed {seed}" if seed else "")
        style = {
            "color": COLOURS[index % len(COLOURS)],
            "linestyle": "--" if method.startswith(DASHED) else "-",
            "marker": "o",
            "markersize": 4,
        }
        at = {int(n): value for n, value in own[-1]["coverage_at"].items()}
        axes[0].plot(list(at), list(at.values()), label=name, **style)
        covered = own[-1]["coverage_by_labels"]
        axes[1].plot(list(covered), list(covered.values()), **style)
        labels = [row["labels"] for row in own]
        for axis, (key, _, _) in zip(axes[2:], PANELS[1:], strict=True):
            axis.plot(labels, [row[key] for row in own], **style)
    axes[0].set(xlabel="frames", ylabel="coverage of (φ, ψ)", xscale="log", ylim=(0, 1))
    last = max((row["labels"] for row in rows), default=0)
    for axis, (_, title, place) in zip(axes[1:], PANELS, strict=True):
        known = [n for n in published if n <= last]
        for which, marker in enumerate("xP"):
            values = [published[n][place][which] for n in known]
            says = ("published, unbiased", "published, biased")[which]
            axis.plot(known, values, marker, color="0.5", markersize=6, label=says)
        axis.set(xlabel="labels", ylabel=title)
        axis.set_ylim(0, 1 if place == 0 else None)
    axes[0].legend(fontsize=8, frameon=False, loc="lower right")
    axes[1].legend(fontsize=8, frameon=False, loc="lower right")
    figure.savefig(path, dpi=130)
