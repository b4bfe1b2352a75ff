"""Where the walkers went: a Ramachandran map or a histogram, with a slider over the rounds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uncv.plots_chart import Axis, Bars, Chart, Dots, Heat, Mark, Panel, Table
from uncv.report.figures import angle_panel
from uncv.report.page import Missing, Part, Section
from uncv.report.run import RunFiles, Stored
from uncv.report.sampling import by_round

FloatArray = NDArray[np.float64]
_CELLS, _BINS = 36, 40


def map_section(run: RunFiles) -> Section:
    """Return the followed variables of each round."""
    title = "Where the walkers went"
    rounds = by_round(run.stored) if run.stored else {}
    if not rounds:
        return Section(title, parts=[Missing("No walker has stored a frame yet.")])
    values = {n: s.values[_usable(s)] for n, s in rounds.items() if s.values is not None}
    if not values:
        text = (
            "No variable is followed: name torsions (system.torsions) in the configuration to see "
            "a map of them."
        )
        return Section(title, parts=[Missing(text)])
    everything = np.concatenate(list(values.values()))
    if not len(everything):
        return Section(title, parts=[Missing("No frame was stored at the stride yet.")])
    if run.observable.torsions and everything.shape[1] >= 2:
        parts: list[Part] = [_map(run, values)]
        extra = everything.shape[1] - 2
        text = "All frames up to the round, and those chosen in it for labels." + (
            f" The first two torsions of {extra + 2} are shown." if extra else ""
        )
        return Section(title, text, parts)
    if not run.observable.torsions and float(np.ptp(everything)) < 1e-6 * everything.max():
        text = (
            f"The cell does not change (volume {everything.max():.1f} Å³): to see other volumes "
            "give a pressure (sampling.pressure_gpa), or name torsions (system.torsions)."
        )
        return Section(title, parts=[Missing(text)])
    text = "Frames of the round on those of the rounds before, and the chosen ones below."
    return Section(title, text, [_histogram(run, values)])


def _usable(stored: Stored) -> NDArray[np.bool_]:
    if stored.values is None:
        return stored.regular
    return stored.regular & np.isfinite(stored.values).all(axis=1)


def _chosen(run: RunFiles, number: int) -> FloatArray:
    """Return the variables of the frames chosen with the model of a round."""
    if run.labelled is None:
        return np.zeros((0, 1))
    own = np.flatnonzero(run.round_of_labels() == number)
    frames = run.labelled[own]
    values = run.observable.values(frames)
    if values is None:
        values = np.abs(np.linalg.det(frames.cell))[:, None]
    return values


def _map(run: RunFiles, values: dict[int, FloatArray]) -> Chart:
    edges = np.linspace(-180.0, 180.0, _CELLS + 1)
    counts = np.zeros((_CELLS, _CELLS))
    grids, panels, rows = [], [], []
    for angles in values.values():
        x, y = np.degrees(angles[:, :2]).T
        counts = counts + np.histogram2d(x, y, (edges, edges))[0]
        grids.append(counts)
    highest = float(np.log10(counts.max()))
    names = ("φ", "ψ") if len(run.observable.torsions) == 2 else ("torsion 1", "torsion 2")
    for number, grid in zip(values, grids, strict=True):
        with np.errstate(divide="ignore"):
            shown = np.where(grid > 0, np.log10(grid), np.nan)
        heat = Heat("log₁₀ frames in a cell", edges, edges, shown, highest)
        marks: list[Mark] = []
        chosen = np.degrees(_chosen(run, number)[:, :2])
        if len(chosen):
            marks.append(Dots(f"chosen in round {number}", chosen[:, 0], chosen[:, 1], 1, "x"))
        panels.append(angle_panel(heat, names, tuple(marks)))
        rows.append([number, int(grid.sum()), int((grid > 0).sum()), len(chosen)])
    table = Table(["round", "frames so far", f"cells of {_CELLS} × {_CELLS} visited", "chosen"],
                  rows, "map")  # fmt: skip
    caption = (
        f"Frames in cells of 10° × 10° up to the round, on a logarithmic scale; of "
        f"{_CELLS**2} cells {rows[-1][2]} were visited in the end. Crosses: chosen for labels."
    )
    slider = [f"round {n}" for n in values]
    return Chart("map", f"Map of {names[0]} and {names[1]}", caption, panels, table, slider)


def _histogram(run: RunFiles, values: dict[int, FloatArray]) -> Chart:
    angle = bool(run.observable.torsions)
    scaled = {n: np.degrees(v[:, 0]) if angle else v[:, 0] for n, v in values.items()}
    together = np.concatenate(list(scaled.values()))
    low, high = (-180.0, 180.0) if angle else (float(together.min()), float(together.max()))
    edges = np.linspace(low, high, _BINS + 1)
    middle, width = 0.5 * (edges[1:] + edges[:-1]), float(edges[1] - edges[0])
    top = 1.05 * float(np.histogram(together, edges)[0].max())
    before = np.zeros(_BINS)
    panels, rows = [], []
    label = "torsion (degrees)" if angle else "cell volume (Å³)"
    for number, own in scaled.items():
        now = np.histogram(own, edges)[0].astype(float)
        chosen = _chosen(run, number)[:, 0]
        chosen = np.degrees(chosen) if angle else chosen
        marks: list[Mark] = [
            Bars("rounds before", middle, before, 5, width),
            Bars("this round", middle, now, 0, width),
            Dots("chosen for labels", chosen, np.full(len(chosen), -0.03 * top), 1, "x"),
        ]
        x, y = Axis(label, limits=(low, high)), Axis("frames", limits=(-0.07 * top, top))
        panels.append(Panel(x, y, marks))
        rows.append([number, len(own), *_spread(own), len(chosen)])
        before = before + now
    table = Table(["round", "frames", "smallest", "median", "largest", "chosen"], rows, "histogram")
    caption = (
        f"Histogram of {label}, from {together.min():.1f} to {together.max():.1f} in all; crosses "
        "below: frames chosen for labels in the round."
    )
    title = "Torsion by round" if angle else "Cell volume by round"
    return Chart("histogram", title, caption, panels, table, slider=[f"round {n}" for n in values])


def _spread(values: FloatArray) -> list[float | None]:
    if not len(values):
        return [None, None, None]
    return [float(v) for v in np.quantile(values, [0.0, 0.5, 1.0])]
