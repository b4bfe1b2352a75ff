"""The figure of an analysis: free energies side by side, and the coverage as frames come in."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from uncv.errors import DataError
from uncv.plots import COLOURS
from uncv.units import EV_IN_KJ_PER_MOL

FloatArray = NDArray[np.float64]
_PANEL = 3.5  # inches
_GREY = "#555555"


class AxisLabel(NamedTuple):
    """How a variable is drawn.

    Attributes
    ----------
    text : str
        Name and unit.
    factor : float
        From its values to what is drawn: degrees of radians.
    ticks : tuple of float or None
        Where the marks stand; None to leave it to the figure.
    """

    text: str
    factor: float = 1.0
    ticks: tuple[float, ...] | None = None


class SurfacePanel(NamedTuple):
    """A free energy over one or two variables.

    Attributes
    ----------
    title : str
        Name of the run.
    edges : tuple of numpy.ndarray
        Of the cells along each variable (B + 1,), in its unit.
    free_energy : numpy.ndarray
        (B,) or (B, B), eV; infinite where never visited.
    error : numpy.ndarray or None
        Of a line (B,), eV.
    labels : tuple of AxisLabel
        Of each variable.
    marks : numpy.ndarray or None
        Minima of basins (n, d), numbered in the picture.
    """

    title: str
    edges: tuple[FloatArray, ...]
    free_energy: FloatArray
    error: FloatArray | None
    labels: tuple[AxisLabel, ...]
    marks: FloatArray | None = None


class CoverageLine(NamedTuple):
    """Coverage of the first n frames: of the run, and of as many uniform points, (n,) each."""

    frames: NDArray[np.int64]
    coverage: FloatArray
    expected: FloatArray
    name: str = "run"


def analysis_figure(
    surfaces: Sequence[SurfacePanel], lines: Sequence[CoverageLine], highest: float = 40.0
) -> Figure:
    """Return free energies side by side on one scale, and the coverage by frames beside them.

    Parameters
    ----------
    surfaces : sequence of SurfacePanel
        From left to right.
    lines : sequence of CoverageLine
        Of the runs; none leaves that panel out.
    highest : float
        End of the scale in kJ/mol.

    Raises
    ------
    DataError
        If there is nothing to draw.
    """
    panels = len(surfaces) + bool(lines)
    if panels == 0:
        raise DataError("there is nothing to draw; give a surface or a coverage")
    figure = Figure(figsize=(_PANEL * panels + 0.9, _PANEL + 0.5), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    mesh = None
    for axis, panel in zip(axes, surfaces, strict=False):
        axis.set_title(panel.title)
        if panel.free_energy.ndim == 1:
            _line(axis, panel, highest)
        else:
            mesh = _map(axis, panel, highest)
    if mesh is not None:
        drawn = axes[: len(surfaces)].tolist()
        figure.colorbar(mesh, ax=drawn, label="free energy (kJ/mol)", extend="max")
    if lines:
        _coverage(axes[-1], lines)
    return figure


def picture(figure: Figure, suffix: str) -> bytes:
    """Return a figure as '.png' or '.svg', on white; the same figure gives the same bytes.

    Raises
    ------
    DataError
        If the suffix is another.
    """
    buffer = BytesIO()
    if suffix == ".png":
        figure.savefig(
            buffer, format="png", dpi=130, facecolor="white", metadata={"Software": None}
        )
    elif suffix == ".svg":
        with mpl.rc_context({"svg.hashsalt": "uncv"}):
            figure.savefig(buffer, format="svg", facecolor="white", metadata={"Date": None})
    else:
        raise DataError(f"a picture is asked for as '{suffix}'; expected .png or .svg")
    return buffer.getvalue()


def _map(axis: Any, panel: SurfacePanel, highest: float) -> Any:
    energy = np.ma.masked_invalid(panel.free_energy.T * EV_IN_KJ_PER_MOL)
    x, y = (e * label.factor for e, label in zip(panel.edges, panel.labels, strict=True))
    mesh = axis.pcolormesh(x, y, energy, cmap="viridis", vmin=0.0, vmax=highest)
    mesh.set_rasterized(True)
    axis.set_facecolor("#eeeeee")
    axis.set(xlabel=panel.labels[0].text, ylabel=panel.labels[1].text)
    axis.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), box_aspect=1)
    for set_ticks, label in zip((axis.set_xticks, axis.set_yticks), panel.labels, strict=True):
        if label.ticks is not None:
            set_ticks(label.ticks)
    if panel.marks is not None:
        for number, point in enumerate(panel.marks, start=1):
            where = [v * label.factor for v, label in zip(point, panel.labels, strict=True)]
            axis.annotate(
                str(number),
                where,
                ha="center",
                va="center",
                fontsize=8,
                bbox={"boxstyle": "circle,pad=0.2", "facecolor": "white", "edgecolor": "black"},
            )
    return mesh


def _line(axis: Any, panel: SurfacePanel, highest: float) -> None:
    label = panel.labels[0]
    edges = panel.edges[0] * label.factor
    middle = (edges[1:] + edges[:-1]) / 2
    energy = np.ma.masked_invalid(panel.free_energy * EV_IN_KJ_PER_MOL)
    axis.plot(middle, energy, color=COLOURS[0])
    if panel.error is not None:
        error = np.ma.masked_invalid(panel.error * EV_IN_KJ_PER_MOL)
        axis.fill_between(middle, energy - error, energy + error, color=COLOURS[0], alpha=0.25)
    top = float(energy.max()) if energy.count() else 1.0
    axis.set(xlabel=label.text, ylabel="free energy (kJ/mol)", xlim=(edges[0], edges[-1]))
    axis.set_ylim(-0.05 * min(top, highest), 1.1 * max(min(top, highest), 1e-9))
    if label.ticks is not None:
        axis.set_xticks(label.ticks)
    axis.spines[["top", "right"]].set_visible(False)


def _coverage(axis: Any, lines: Sequence[CoverageLine]) -> None:
    for colour, line in zip(COLOURS, lines, strict=False):
        axis.plot(line.frames, line.coverage, color=colour, label=line.name)
    longest = max(lines, key=lambda line: int(line.frames[-1]))
    axis.plot(longest.frames, longest.expected, color=_GREY, linestyle=":", label="uniform points")
    axis.set(xlabel="frames, walkers in turn", ylabel="coverage", ylim=(0.0, 1.02), xscale="log")
    axis.set_title("coverage")
    axis.set_box_aspect(1)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
