"""Figures of how good an uncertainty is, in the colours of `uncv.plots`.

Every function returns a matplotlib Figure and leaves no global state.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    PercentFormatter,
)
from numpy.typing import ArrayLike, NDArray

from uncv.errors import DataError
from uncv.metrics import CalibrationCurve, Estimate, RocCurve, SparsificationCurve
from uncv.plots import COLOURS
from uncv.units import Kind, unit_name

_BLUE, _ORANGE, _GREEN = COLOURS[:3]
_GREY = "#555555"
_FEW = 1500  # more points than these are counted in hexagons
_DPI = 150


class ErrorPoints(NamedTuple):
    """Points of `error_against_uncertainty`.

    Attributes
    ----------
    uncertainty, residual : array_like
        (n,), positive and not negative.
    kind : str
        Of the residuals: 'energy' (eV) or 'force' (eV/Å).
    uncertainty_kind : str
        Of the uncertainty; 'dimensionless' before a calibration.
    """

    uncertainty: ArrayLike
    residual: ArrayLike
    kind: Kind
    uncertainty_kind: Kind


def error_against_uncertainty(
    points: ErrorPoints, *, factor: float | None = None, alpha: float = 0.05
) -> Figure:
    """Return |error| against uncertainty on logarithmic axes, as points or counted in hexagons.

    The smallest 0.1 % of the errors, and those below 10⁻⁴ of the largest, stand at the lower edge.

    Parameters
    ----------
    points : ErrorPoints
        What is drawn.
    factor : float, optional
        Conformal factor: a share 1 − alpha of exchangeable errors lies below factor · u.
    alpha : float
        Of that factor.

    Raises
    ------
    DataError
        If there are no points, their shapes differ, or no uncertainty is positive.
    """
    u, r = _positive(points)
    figure, axis = _panel(f"uncertainty u{_unit(points.uncertainty_kind)}", _error_label(points))
    low = max(float(np.quantile(r, 0.001)), 1e-4 * float(r.max()), np.finfo(float).tiny)
    shown = np.maximum(r, low)
    axis.set(xscale="log", yscale="log")
    if len(u) > _FEW:
        cells = axis.hexbin(
            u, shown, xscale="log", yscale="log", gridsize=(36, 24), bins="log", mincnt=1,
            cmap=ListedColormap(mpl.colormaps["Blues"](np.linspace(0.2, 1.0, 256))),
            linewidths=0.2, edgecolors="face",
        )  # fmt: skip
        figure.colorbar(cells, ax=axis, label=f"{_POINTS[points.kind]} in a cell", format="%g")
    else:
        axis.plot(u, shown, "o", color=_BLUE, markersize=4, alpha=0.5, markeredgewidth=0)
    ends = np.array([u.min(), u.max()])
    if points.uncertainty_kind == points.kind:
        axis.plot(ends, ends, color="black", linestyle="--", linewidth=1.2, label="|error| = u")
    if factor is not None:
        name = f"conformal: {100 * (1 - alpha):g} % below {factor:.3g} u"
        axis.plot(ends, factor * ends, color=_ORANGE, linewidth=1.6, label=name)
    axis.set_ylim(bottom=0.8 * low)
    for one in (axis.xaxis, axis.yaxis):
        _plain_ticks(one)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(
            loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize="small", frameon=False
        )
    return figure


def calibration_curve(curve: CalibrationCurve, area: Estimate | None = None) -> Figure:
    """Return the share of errors inside each confidence interval against its level.

    Parameters
    ----------
    curve : CalibrationCurve
        From `uncv.metrics.calibration_curve`.
    area : Estimate, optional
        Miscalibration area, for the title.
    """
    figure, axis = _panel("confidence level of the interval", "share of errors inside", square=True)
    axis.plot([0, 1], [0, 1], color=_GREY, linestyle="--", linewidth=1.3, label="ideal")
    axis.plot(curve.expected, curve.observed, color=_BLUE, linewidth=2, label="observed")
    axis.fill_between(
        curve.expected, curve.expected, curve.observed, color=_BLUE, alpha=0.15, linewidth=0
    )
    place = {"transform": axis.transAxes, "color": _GREY, "fontsize": "small"}
    axis.text(0.03, 0.78, "u too large", **place)
    axis.text(0.97, 0.22, "u too small", ha="right", **place)
    axis.legend(loc="upper left", fontsize="small", frameon=False)
    _shares(axis)
    _title(axis, "miscalibration area", area)
    return figure


def sparsification(curve: SparsificationCurve, ause: Estimate | None = None) -> Figure:
    """Return the mean |error| of what is left when the most uncertain points are left out.

    Parameters
    ----------
    curve : SparsificationCurve
        From `uncv.metrics.sparsification_curve`.
    ause : Estimate, optional
        Area between the two curves, for the title.
    """
    figure, axis = _panel("share of points left out", "mean |error| of the rest / of all")
    axis.axhline(1.0, color=_GREY, linestyle="--", linewidth=1.3, label="random order")
    axis.plot(
        curve.removed, curve.by_uncertainty, color=_BLUE, linewidth=2, label="largest u first"
    )
    axis.plot(
        curve.removed, curve.by_error, color=_GREEN, linestyle="-.", linewidth=2,
        label="largest error first (oracle)",
    )  # fmt: skip
    axis.fill_between(
        curve.removed, curve.by_error, curve.by_uncertainty, color=_BLUE, alpha=0.12, linewidth=0
    )
    axis.set(xlim=(0, 1), ylim=(0, None))
    axis.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    axis.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=3, fontsize="small", frameon=False,
        columnspacing=1.2, handlelength=1.8,
    )  # fmt: skip
    _title(axis, "AUSE", ause)
    return figure


def roc(curve: RocCurve, auroc: Estimate | None = None, *, quantile: float = 0.8) -> Figure:
    """Return the share of large errors found against that of small ones taken for large.

    Parameters
    ----------
    curve : RocCurve
        From `uncv.metrics.roc_curve`.
    auroc : Estimate, optional
        Area under it, for the title.
    quantile : float
        Above which an error is large.
    """
    large = f"large errors found (the largest {100 * (1 - quantile):.0f} %)"
    figure, axis = _panel("other errors taken for large", large, square=True)
    axis.plot([0, 1], [0, 1], color=_GREY, linestyle="--", linewidth=1.3, label="chance")
    axis.plot(
        curve.false_positive, curve.true_positive, color=_BLUE, linewidth=2,
        label="u above a limit",
    )  # fmt: skip
    axis.legend(loc="lower right", fontsize="small", frameon=False)
    _shares(axis)
    _title(axis, "AUROC", auroc)
    return figure


def save(figure: Figure, path: Path) -> tuple[Path, Path]:
    """Write a figure beside each other as PNG and SVG, the suffix of the path replaced."""
    png, svg = path.with_suffix(".png"), path.with_suffix(".svg")
    figure.savefig(png, dpi=_DPI, facecolor="white", metadata={"Software": None})
    with mpl.rc_context({"svg.hashsalt": path.stem}):  # the same figure gives the same file
        figure.savefig(svg, facecolor="white", metadata={"Date": None, "Creator": None})
    return png, svg


_POINTS = {"energy": "frames", "force": "atoms", "dimensionless": "points"}
_ERRORS = {
    "energy": "|energy error|",
    "force": "force error, RMS over x, y, z",
    "dimensionless": "|error|",
}


def _error_label(points: ErrorPoints) -> str:
    return f"{_ERRORS[points.kind]}{_unit(points.kind)}"


def _unit(kind: Kind) -> str:
    return f" ({unit_name(kind)})" if unit_name(kind) else ""


def _positive(points: ErrorPoints) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    u, r = np.asarray(points.uncertainty, float), np.abs(np.asarray(points.residual, float))
    if u.ndim != 1 or u.shape != r.shape or u.size == 0:
        raise DataError(
            f"uncertainties and residuals have shapes {u.shape} and {r.shape}; expected the same "
            "(n,) with at least one point"
        )
    if (u <= 0).any():
        raise DataError(
            f"{int((u <= 0).sum())} uncertainties are not positive and have no place on a "
            "logarithmic axis; leave them out"
        )
    return u, r


def _panel(xlabel: str, ylabel: str, *, square: bool = False) -> tuple[Figure, Any]:
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)  # inches
    figure = Figure(figsize=(4.6, 4.4) if square else (5.4, 4.2), layout=layout)
    axis = figure.subplots()
    axis.set(xlabel=xlabel, ylabel=ylabel)
    axis.grid(visible=True, color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    return figure, axis


def _plain_ticks(axis: Any) -> None:
    """Label a logarithmic axis in plain numbers, however many decades it spans."""
    low, high = axis.get_view_interval()
    if high < 6.0 * low:
        axis.set_major_locator(MaxNLocator(5))
    else:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 200.0 * low else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _shares(axis: Any) -> None:
    axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    for one in (axis.xaxis, axis.yaxis):
        one.set_major_formatter(PercentFormatter(1.0, symbol=" %"))


def _title(axis: Any, name: str, found: Estimate | None) -> None:
    if found is None:
        return
    interval = f" ({found.low:.3f} to {found.high:.3f})" if np.isfinite(found.low) else ""
    axis.set_title(f"{name} {found.value:.3f}{interval}", fontsize="medium")
