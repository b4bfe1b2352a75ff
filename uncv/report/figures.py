"""Panels that several reports have: parity, errors against uncertainties, reliability, maps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uncv.evaluation import Judged
from uncv.metrics import CalibrationCurve
from uncv.plots_chart import Axis, Dots, Heat, Line, Mark, Panel, thinned
from uncv.units import unit_name

FloatArray = NDArray[np.float64]
SHOWN = 1500
"""Points that a panel shows at most."""
POINTS = {"energy": "frames", "force": "atoms", "dimensionless": "points"}
ANGLES = (-180.0, -90.0, 0.0, 90.0, 180.0)
"""Ticks of an axis of angles, in degrees."""


def parity_panel(quantity: str, unit: str, pair: FloatArray, colour: int = 0) -> Panel:
    """Return predictions against references, given as columns (n, 2): reference, prediction."""
    ends = [float(pair.min()), float(pair.max())]
    shown = pair[thinned(len(pair), SHOWN)]
    marks: list[Mark] = [
        Line("equal", ends, ends, colour=5, markers=False),
        Dots(quantity, shown[:, 0], shown[:, 1], colour, small=True),
    ]
    x, y = Axis(f"reference ({unit})"), Axis(f"predicted ({unit})")
    title = f"{quantity}: RMSE {error_sizes(pair)[0]:.3g} {unit}"
    return Panel(x, y, marks, title, square=True)


def error_sizes(pair: FloatArray) -> tuple[float, float, float]:
    """Return root mean square, mean and largest of the errors of pairs (n, 2)."""
    wrong = np.abs(pair[:, 1] - pair[:, 0])
    return float(np.sqrt(np.mean(wrong**2))), float(wrong.mean()), float(wrong.max())


def error_panel(judged: Judged) -> Panel:
    """Return errors against their uncertainties; the smallest 0.1 % stand at the lower edge."""
    u, r = judged.scores.uncertainty, judged.scores.residual
    unit, of_u = unit_name(judged.kind), unit_name(judged.uncertainty_kind)
    floor = max(float(np.quantile(r, 0.001)), 1e-4 * float(r.max()), 1e-12)
    shown = thinned(len(u), SHOWN)
    drawn = np.maximum(r, floor)[shown]
    marks: list[Mark] = [Dots(POINTS[judged.kind], u[shown], drawn, small=True)]
    if judged.uncertainty_kind == judged.kind:
        ends = [float(u.min()), float(u.max())]
        marks.append(Line("|error| = u", ends, ends, colour=5, dash=True, markers=False))
    x = Axis(f"u ({of_u})" if of_u else "u", log=True)
    y = Axis(f"|error| ({unit})", log=True)
    return Panel(x, y, marks, "errors against u", square=True)


def reliability_panel(curve: CalibrationCurve) -> Panel:
    """Return the share of errors inside each confidence interval."""
    marks: list[Mark] = [
        Line("ideal", [0, 1], [0, 1], colour=5, dash=True, markers=False),
        Line("observed", curve.expected, curve.observed, markers=False),
    ]
    x = Axis("confidence level", limits=(0.0, 1.0))
    y = Axis("share of errors inside", limits=(0.0, 1.0))
    return Panel(x, y, marks, "reliability", square=True)


def angle_panel(
    heat: Heat, names: tuple[str, str] = ("φ", "ψ"), marks: tuple[Mark, ...] = (), title: str = ""
) -> Panel:
    """Return a map over two angles in degrees, other marks on it."""
    x, y = (Axis(f"{n} (degrees)", limits=(-180.0, 180.0), ticks=ANGLES) for n in names)
    return Panel(x, y, (heat, *marks), title, square=True)
