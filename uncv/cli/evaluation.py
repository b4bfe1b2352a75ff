"""What `uncv evaluate` shows: each metric with its interval, its unit, and which way is good."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from uncv.evaluation import EvaluationSummary

_WIDTH = 118  # characters, where no terminal tells its own


class Row(NamedTuple):
    """One line of the table; ``found`` is (value, low, high) or None."""

    name: str
    found: tuple[float, float, float] | None
    unit: str
    meaning: str


def between_0_and_1(value: float) -> float:
    """Check an option that is a share."""
    if not 0.0 < value < 1.0:
        raise typer.BadParameter(f"{value:g} is not between 0 and 1")
    return value


def show_evaluation(summary: EvaluationSummary, figures: Sequence[Path] = ()) -> None:
    """Print an evaluation on standard output."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=_WIDTH)
    console.print(_heading(summary), soft_wrap=True)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("metric", "value", "95 % interval", "unit", "meaning"):
        right = column == "value"
        table.add_column(column, justify="right" if right else "left", no_wrap=column != "meaning")
    for row in rows(summary):
        table.add_row(row.name, *_numbers(row.found), row.unit, row.meaning)
    console.print(table)
    for note in summary.notes:
        console.print(f"note: {note}", soft_wrap=True)
    for file in figures:
        console.print(f"figure: {file}", soft_wrap=True)


def rows(summary: EvaluationSummary) -> Iterator[Row]:
    """Yield the lines of the table."""
    found, unit = summary.metrics, summary.unit
    random = _short(summary.ause_of_random_order)
    yield Row("Spearman", found.spearman, "", "order of errors by u: 1 best, 0 none")
    yield Row("AUROC", found.auroc, "", "largest 20 % of errors found by u: 1 best, 0.5 chance")
    yield Row("AUSE", found.ause, "", f"error left on leaving out by u: 0 best, {random} random")
    yield Row(
        "miscalibration area", found.miscalibration_area, "", "of all intervals: 0 best, 0.5 worst"
    )
    yield Row("ENCE", found.ence, "", "relative error of u, small to large u: 0 best")
    yield Row("NLL", found.nll, "nat", "of a normal error: lower is better")
    yield Row("NLL, rescaled", found.calibrated_nll, "nat", "after the best factor on u: lower")
    yield Row("CRPS", found.crps, unit, "error and width together: lower is better")
    yield Row("sharpness", found.sharpness, unit, "RMS of u: lower is better if calibrated")
    if summary.promised is not None:
        promised = f"{_short(summary.promised)} expected"
        yield Row("coverage", summary.coverage, "", f"share of errors below u: {promised}")
    if summary.conformal_factor is None:
        meaning = f"too few frames for α = {summary.alpha:g}: give more or a larger --alpha"
    else:
        factor = _short(summary.conformal_factor)
        meaning = (
            f"share below {factor} u, fitted on the other half: {1 - summary.alpha:g} promised"
        )
    yield Row("conformal coverage", summary.exchangeable, "", meaning)


def _heading(summary: EvaluationSummary) -> str:
    energy, force = summary.errors
    points = "" if summary.points == summary.frames else f", {summary.points} atoms"
    errors = [
        f"{name} RMSE {_short(value)} {unit}"
        for name, value, unit in (("energy", energy, "meV/atom"), ("force", force, "eV/Å"))
        if value == value  # NaN without the labels
    ]
    return f"{summary.frames} frames{points}; {', '.join(errors)}; u against {summary.kind} errors"


def _numbers(found: tuple[float, float, float] | None) -> tuple[str, str]:
    value, low, high = found or (float("nan"),) * 3
    interval = f"{_short(low)} to {_short(high)}" if low == low else "–"
    return _short(value), interval


def _short(value: float) -> str:
    """Return three significant digits; – for NaN."""
    return f"{value:#.3g}".rstrip(".") if value == value else "–"
