"""What the walkers saw: coverage, uncertainty and stops, and where they went."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncv.analysis import coverage_series, expected_coverage
from uncv.learning.observed import kind_of_stop
from uncv.plots_chart import SYMBOLS, Axis, Band, Chart, Dots, Line, Mark, Panel, Table
from uncv.report.page import Folded, Missing, Part, Section
from uncv.report.run import RunFiles, Stored
from uncv.units import unit_name

FloatArray = NDArray[np.float64]
_LEVELS = 5
_POINTS = 60  # of the coverage curve


def coverage_section(run: RunFiles) -> Section:
    """Return the coverage against the number of frames, beside that of uniform points."""
    title = "Coverage"
    if not run.stored:
        return Section(title, parts=[Missing("No walker has stored a frame yet.")])
    if not run.observable.torsions and run.observable.volume_range is None:
        text = (
            "No variable is followed, so there is no coverage: name torsions (system.torsions) or "
            "a range of volumes (system.volume_range_angstrom3) in the configuration."
        )
        return Section(title, parts=[Missing(text)])
    values, ends = _followed(run)
    if not len(values):
        return Section(title, parts=[Missing("No frame was stored at the stride yet.")])
    counts = np.unique(np.r_[np.geomspace(1, len(values), _POINTS).round().astype(int), ends])
    bounds = run.observable.volume_range
    curve = coverage_series(values, counts, _LEVELS, bounds=bounds)
    uniform = expected_coverage(counts, values.shape[1], _LEVELS)
    at = np.searchsorted(counts, ends)
    marks: list[Mark] = [
        Line("uniform points", counts, uniform, colour=5, dash=True, markers=False),
        Line("this campaign", counts, curve, colour=0, markers=False),
        Dots("ends of rounds", np.array(ends), curve[at], 1,
             text=[f"round {s}: {n} frames, coverage {c:.3f}" for s, n, c in
                   zip(_numbers(run), ends, curve[at], strict=True)]),
    ]  # fmt: skip
    panel = Panel(Axis("frames", log=True), Axis("coverage", limits=(0.0, 1.02)), marks)
    table = Table(
        ["round", "frames", "coverage", "of uniform points", "ratio"],
        [[s, int(n), float(c), float(e), float(c / e)] for s, n, c, e in
         zip(_numbers(run), ends, curve[at], uniform[at], strict=True)],
        "coverage",
    )  # fmt: skip
    what = "the cell volume" if bounds else f"{values.shape[1]} torsions"
    text = (
        f"Share of the space of {what} that was visited, averaged over {_LEVELS} grids of rising "
        "fineness. It grows with the number of frames even for uniform random points (dashed): "
        "compare runs at equal numbers. Frames at which a walker was stopped do not count."
    )
    caption = (
        f"Coverage by the first n frames; at the end {curve[-1]:.3f} by {len(values)} frames, "
        f"against {uniform[-1]:.3f} of uniform points."
    )
    return Section(
        title, text, [Chart("coverage", "Coverage against frames", caption, [panel], table)]
    )


def _followed(run: RunFiles) -> tuple[FloatArray, list[int]]:
    """Return the variables of the frames that count, and how many there are after each part."""
    parts = []
    for part in run.stored:
        known = np.zeros((0, 1)) if part.values is None else part.values[part.regular]
        parts.append(known[np.isfinite(known).all(axis=1)])
    ends = np.cumsum([len(p) for p in parts]).tolist()
    return np.concatenate(parts), ends


def _numbers(run: RunFiles) -> list[int]:
    return [int(part.round[0]) for part in run.stored]


def uncertainty_section(run: RunFiles) -> Section:
    """Return u of the stored frames by round, and of the walkers of each round."""
    title = "Uncertainty and walkers"
    if not run.stored:
        return Section(title, parts=[Missing("No walker has stored a frame yet.")])
    rounds = by_round(run.stored)
    parts: list[Part] = [_by_round(run, rounds), _by_walker(run, rounds), _walker_table(rounds)]
    if not any(len(set(s.reason.tolist()) - {""}) for s in rounds.values()):
        parts.append(Missing("No walker was stopped."))
    text = (
        "The uncertainty u is that of the model of the round, as the walkers met it"
        + ("" if _unit(run) else "; it has no unit")
        + ". A walker that a rule stopped was put back to a sound structure."
    )
    return Section(title, text, parts)


def by_round(parts: list[Stored]) -> dict[int, Stored]:
    """Return stored frames by the round of the model they ran on."""
    numbers = sorted({int(n) for part in parts for n in np.unique(part.round)})
    found = {}
    for number in numbers:
        own = [(p, p.round == number) for p in parts]
        columns: dict[str, Any] = {name: np.concatenate([getattr(p, name)[m] for p, m in own])
                                   for name in Stored._fields[:-1]}  # fmt: skip
        values = [p.values[m] for p, m in own if p.values is not None]
        found[number] = Stored(**columns, values=np.concatenate(values) if values else None)
    return found


def _by_round(run: RunFiles, rounds: dict[int, Stored]) -> Chart:
    numbers = list(rounds)
    spread = {n: _quantiles(s.uncertainty) for n, s in rounds.items()}
    low, half, high, most = np.array([spread[n] for n in numbers]).T
    marks: list[Mark] = [
        Band("5 to 95 % of frames", numbers, low, high, 0),
        Line("median", numbers, half, colour=0),
        Line("largest", numbers, most, colour=1, dash=True),
    ]
    chosen = _selected(run, numbers)
    if chosen is not None:
        marks.append(chosen)
    log = bool((low > 0).all())
    panel = Panel(Axis("round", whole=True), Axis(_label(run), log=log), marks)
    table = Table(
        ["round", "frames", "5 %", "median", "95 %", "largest", "stops", "by rule"],
        [[n, len(rounds[n].step), *map(float, spread[n]), *_stops(rounds[n])] for n in numbers],
        "uncertainty",
    )
    caption = "Uncertainty of the frames that the walkers stored, and of those chosen for labels."
    return Chart("uncertainty", "Uncertainty by round", caption, [panel], table)


def _selected(run: RunFiles, numbers: list[int]) -> Dots | None:
    if run.labelled is None:
        return None
    rounds, u = run.round_of_labels(), np.asarray(run.labelled.info["uncertainty"], dtype=float)
    own = np.isin(rounds, numbers) & np.isfinite(u) & (u > 0)
    if not own.any():
        return None
    shift = 0.1 + 0.03 * (np.arange(int(own.sum())) % 6)  # side by side, right of their round
    return Dots("chosen for labels", rounds[own] + shift, u[own], 2, "diamond", small=True)


def _by_walker(run: RunFiles, rounds: dict[int, Stored]) -> Chart:
    finite = np.concatenate([s.uncertainty for s in rounds.values()])
    finite = finite[np.isfinite(finite)]
    log = bool(len(finite)) and bool((finite > 0).all())
    limits = (float(finite.min()) * 0.9, float(finite.max()) * 1.1) if log else None
    last = max(int(s.step.max()) for s in rounds.values())
    x, y = Axis("step", limits=(0.0, 1.02 * last)), Axis(_label(run), log=log, limits=limits)
    panels = [Panel(x, y, _traces(stored)) for stored in rounds.values()]
    caption = (
        "Uncertainty along each walker of a round, and where a rule stopped it. The slider "
        "chooses the round."
    )
    names = [f"round {n}" for n in rounds]
    return Chart("walkers", "Walkers of a round", caption, panels, slider=names)


def _traces(stored: Stored) -> list[Mark]:
    marks: list[Mark] = []
    for walker in np.unique(stored.walker):
        own = np.flatnonzero((stored.walker == walker) & stored.regular)
        step, u = stored.step[own].astype(float), stored.uncertainty[own]
        begun = np.flatnonzero(np.diff(step) <= 0) + 1  # segments of rounds that overlap
        step, u = (np.insert(v, begun, np.nan) for v in (step, u))
        style = {"colour": int(walker) % 6, "dash": (int(walker) // 6) % 2 == 1}
        marks.append(
            Line(f"walker {walker}", step, u, markers=False, **style)  # type: ignore[arg-type]
        )
    stopped = np.flatnonzero(~stored.regular)
    kinds = [kind_of_stop(str(stored.reason[i])) for i in stopped]
    for number, kind in enumerate(sorted(set(kinds))):
        at = stopped[[k == kind for k in kinds]]
        text = [f"walker {stored.walker[i]}, step {stored.step[i]}: {stored.reason[i]}" for i in at]
        marks.append(
            Dots(f"stopped: {kind}", stored.step[at], stored.uncertainty[at], 1,
                 SYMBOLS[5 - number % 6], text)
        )  # fmt: skip
    return marks


def _walker_table(rounds: dict[int, Stored]) -> Folded:
    rows: list[list[object]] = []
    for number, stored in rounds.items():
        for walker in np.unique(stored.walker):
            own = stored.walker == walker
            u = stored.uncertainty[own]
            u = u[np.isfinite(u)]
            reasons = [str(r) for r in stored.reason[own] if r]
            found = [float(u.mean()), float(u.max())] if len(u) else [None, None]
            rows.append([number, int(walker), int(own.sum()), *found, len(reasons),
                         "; ".join(reasons) or "–"])  # fmt: skip
    header = ["round", "walker", "frames", "mean u", "largest u", "stops", "reasons"]
    table = Table(header, rows, "walkers", "Walkers of all rounds, and why each was stopped")
    return Folded(table, words=True)


def _quantiles(u: FloatArray) -> FloatArray:
    known = u[np.isfinite(u)]
    if not len(known):
        return np.full(4, np.nan)
    return np.r_[np.quantile(known, [0.05, 0.5, 0.95]), known.max()]


def _stops(stored: Stored) -> tuple[int, str]:
    counts = Counter(kind_of_stop(str(r)) for r in stored.reason if r)
    words = ", ".join(f"{n} {kind}" for kind, n in counts.most_common())
    return sum(counts.values()), words or "–"


def _unit(run: RunFiles) -> str:
    return unit_name(run.kind)  # type: ignore[arg-type]


def _label(run: RunFiles) -> str:
    unit = _unit(run)
    return f"uncertainty u ({unit})" if unit else "uncertainty u"
