"""Figures of a campaign: every function returns a matplotlib Figure and leaves no global state.

Colours are those of Okabe and Ito, told apart by colour-blind readers; lines differ by marker too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from uncv.errors import DataError
from uncv.units import EV_IN_KJ_PER_MOL, Kind, unit_name

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_GREY = "#666666"
_PANEL = 3.4  # inches


class RamachandranPanel(NamedTuple):
    """One map of :func:`ramachandran_maps`.

    Attributes
    ----------
    title : str
        Name of the run.
    edges : numpy.ndarray
        Edges of the cells (B + 1,) in radians.
    free_energy : numpy.ndarray
        Free energy (B, B), φ first, in eV; infinite where never visited.
    coverage : float, optional
        Coverage between 0 and 1, shown in the title.
    """

    title: str
    edges: NDArray[np.float64]
    free_energy: NDArray[np.float64]
    coverage: float | None = None


class LearningCurve(NamedTuple):
    """Errors on a test set after each training.

    Attributes
    ----------
    labels : array_like
        Labelled frames (R,).
    energy_rmse : array_like
        Energy errors (R,) in meV/atom.
    force_rmse : array_like
        Force errors (R,) in eV/Å, per component.
    """

    labels: ArrayLike
    energy_rmse: ArrayLike
    force_rmse: ArrayLike


class ParityPanel(NamedTuple):
    """One panel of :func:`parity`: reference and prediction of any shape, in the unit named."""

    quantity: str
    unit: str
    reference: ArrayLike
    predicted: ArrayLike


class Colvar(NamedTuple):
    """Series of a biased run (T,): time in ps, the uncertainty, and the bias in kJ/mol."""

    time: ArrayLike
    uncertainty: ArrayLike
    bias: ArrayLike


def ramachandran_maps(panels: Sequence[RamachandranPanel], highest: float = 40.0) -> Figure:
    """Return maps of the free energy over φ and ψ, side by side on one colour scale.

    Parameters
    ----------
    panels : sequence of RamachandranPanel
        The runs, from left to right.
    highest : float
        End of the colour scale in kJ/mol.
    """
    if not panels:
        raise DataError("there is no run to draw; give at least one panel")
    figure = Figure(figsize=(_PANEL * len(panels) + 0.9, _PANEL + 0.5), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        energy = np.ma.masked_invalid(np.asarray(panel.free_energy).T * EV_IN_KJ_PER_MOL)
        edges = np.degrees(panel.edges)
        mesh = axis.pcolormesh(edges, edges, energy, cmap="viridis", vmin=0.0, vmax=highest)
        axis.set_facecolor("#eeeeee")
        share = "" if panel.coverage is None else f"\ncoverage {panel.coverage:.2f}"
        axis.set_title(panel.title + share)
        axis.set(xlabel="φ (degrees)", xlim=(-180, 180), ylim=(-180, 180), aspect="equal")
        axis.set_xticks(range(-180, 181, 90))
        axis.set_yticks(range(-180, 181, 90))
    axes[0].set_ylabel("ψ (degrees)")
    figure.colorbar(mesh, ax=axes.tolist(), label="free energy (kJ/mol)", extend="max")
    return figure


def coverage_curve(runs: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> Figure:
    """Return the coverage against the number of labels.

    Parameters
    ----------
    runs : mapping of str to (array_like, array_like)
        For each run its labels (R,) and its coverage (R,), between 0 and 1.
    """
    figure = Figure(figsize=(5.0, 3.6), layout="constrained")
    axis = figure.subplots()
    for style, (name, (labels, values)) in zip(_styles(len(runs)), runs.items(), strict=True):
        axis.plot(np.asarray(labels), np.asarray(values), label=name, **style)
    axis.set(xlabel="labelled frames", ylabel="coverage of φ, ψ", ylim=(0.0, 1.0))
    _finish(axis, legend=len(runs) > 0)
    return figure


def learning_curve(runs: Mapping[str, LearningCurve]) -> Figure:
    """Return energy and force errors, on logarithmic axes, against the number of labels."""
    figure = Figure(figsize=(8.6, 3.6), layout="constrained")
    energy, force = figure.subplots(1, 2)
    for style, (name, curve) in zip(_styles(len(runs)), runs.items(), strict=True):
        labels = np.asarray(curve.labels)
        energy.plot(labels, np.asarray(curve.energy_rmse), label=name, **style)
        force.plot(labels, np.asarray(curve.force_rmse), label=name, **style)
    energy.set(xlabel="labelled frames", ylabel="energy RMSE (meV/atom)", yscale="log")
    force.set(xlabel="labelled frames", ylabel="force RMSE (eV/Å)", yscale="log")
    for axis in (energy, force):
        _finish(axis, legend=len(runs) > 0)
    return figure


def parity(panels: Sequence[ParityPanel]) -> Figure:
    """Return predictions against references, with the root mean square error in the title.

    Raises
    ------
    DataError
        If there is nothing to draw or the two of a panel differ in shape.
    """
    if not panels:
        raise DataError("there is nothing to compare; give at least one panel")
    figure = Figure(figsize=((_PANEL + 0.6) * len(panels), _PANEL + 0.6), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, panel, colour in zip(axes, panels, COLOURS, strict=False):
        reference, predicted = _pair(panel.quantity, panel.reference, panel.predicted)
        rmse = np.sqrt(np.mean((predicted - reference) ** 2))
        axis.plot(reference, predicted, ".", color=colour, markersize=3, rasterized=True)
        ends = [min(reference.min(), predicted.min()), max(reference.max(), predicted.max())]
        axis.plot(ends, ends, color=_GREY, linewidth=1, zorder=0)
        axis.set_title(f"RMSE {rmse:.3g} {panel.unit}")
        axis.set_xlabel(f"reference {panel.quantity} ({panel.unit})")
        axis.set_ylabel(f"predicted {panel.quantity} ({panel.unit})")
        _finish(axis)
    return figure


def uncertainty_against_error(
    uncertainty: ArrayLike,
    error: ArrayLike,
    *,
    kind: Kind = "energy",
    coverage: float | None = None,
) -> Figure:
    """Return |error| against the calibrated uncertainty on logarithmic axes.

    The line is error = uncertainty, below which a conformal factor promises a share 1 − α of
    exchangeable points.

    Parameters
    ----------
    uncertainty : array_like
        Calibrated uncertainties (P,), positive.
    error : array_like
        Errors (P,) of either sign, in the unit of the uncertainty.
    kind : {'energy', 'force', 'dimensionless'}
        What is measured.
    coverage : float, optional
        Share of points below the line; counted if not given.
    """
    sigma, residual = _pair("uncertainty", uncertainty, np.abs(np.asarray(error)))
    share = float(np.mean(residual <= sigma)) if coverage is None else coverage
    unit = f" ({unit_name(kind)})" if unit_name(kind) else ""
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axis = figure.subplots()
    floor = max(float(residual.max()) * 1e-4, np.finfo(float).tiny)
    shown = np.maximum(residual, floor)  # a zero has no place on a logarithmic axis
    inside = residual <= sigma
    groups = ((inside, 0, "o", "inside"), (~inside, 1, "^", "outside"))
    for chosen, colour, marker, name in groups:
        axis.plot(
            sigma[chosen], shown[chosen], marker, color=COLOURS[colour], label=name,
            markersize=3, linestyle="none", rasterized=True,
        )  # fmt: skip
    ends = np.array([sigma.min(), sigma.max()])
    axis.plot(ends, ends, color="black", linewidth=1.2, label="conformal line |error| = u")
    axis.set(xscale="log", yscale="log", xlabel=f"calibrated uncertainty{unit}")
    axis.set_ylabel(f"|error|{unit}")
    axis.set_title(f"{100 * share:.1f} % of {len(sigma)} points inside")
    _finish(axis, legend=True)
    return figure


def colvar_series(series: Colvar, *, unit: str = "kJ/mol", title: str = "") -> Figure:
    """Return the uncertainty and the bias on it against time, one above the other.

    Parameters
    ----------
    series : Colvar
        As PLUMED wrote it.
    unit : str
        Unit of the uncertainty in that file.
    title : str
        What was run.
    """
    time = np.asarray(series.time)
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    above.plot(time, np.asarray(series.uncertainty), color=COLOURS[0], linewidth=0.9)
    above.set_ylabel(f"uncertainty ({unit})" if unit else "uncertainty")
    below.plot(time, np.asarray(series.bias), color=COLOURS[1], linewidth=0.9)
    below.set(xlabel="time (ps)", ylabel="bias (kJ/mol)")
    above.set_title(title)
    for axis in (above, below):
        _finish(axis)
    return figure


def png(figure: Figure, dpi: int = 130) -> bytes:
    """Return a figure as PNG on white, readable whatever stands around it."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def _styles(number: int) -> list[dict[str, Any]]:
    return [
        {"color": COLOURS[i % len(COLOURS)], "marker": _MARKERS[i % len(_MARKERS)], "markersize": 4}
        for i in range(number)
    ]


def _pair(
    name: str, first: ArrayLike, second: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    one, two = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if one.shape != two.shape or one.size == 0:
        raise DataError(
            f"{name}: the values to compare have shapes {one.shape} and {two.shape}; "
            "expected two equal shapes with at least one value"
        )
    return one.ravel(), two.ravel()


def _finish(axis: Any, *, legend: bool = False) -> None:
    axis.grid(visible=True, color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    if legend:
        axis.legend(frameon=False, fontsize="small")
