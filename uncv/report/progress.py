"""What a campaign spent and gained, round by round: labels, evaluations, errors, time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from uncv.metrics import Estimate
from uncv.plots_chart import Axis, Bars, Chart, Line, Panel, Table
from uncv.report.judged import NEW, TEST, Verdict, Verdicts
from uncv.report.page import Missing, Part, Section
from uncv.report.run import RunFiles
from uncv.status.journal import RoundStatus

_ERRORS = (
    ("energy", "energy RMSE (meV/atom)", "energy_rmse_mev_per_atom"),
    ("force", "force RMSE (eV/Å)", "force_rmse_ev_per_angstrom"),
    ("stress", "stress RMSE (GPa)", "stress_rmse_gpa"),
)


@dataclass
class Walked:
    """What the walkers of a round did: steps, stops by rule, and why it cannot be reweighted."""

    steps: int = 0
    stops: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


def walked(run: RunFiles) -> dict[int, Walked]:
    """Return what the walkers did, by round as `uncv.status.journal.rounds_of` counts them."""
    found: dict[int, Walked] = {}
    number = 0
    for event in run.events:
        if event["event"] == "trained":
            number = int(event.get("round", number + 1))
        elif event["event"] == "sampled":
            if "group" not in event:
                number = max(number, int(event.get("round", number)))
            row = found.setdefault(number, Walked())
            row.steps += int(event.get("walker_steps") or 0)
            row.stops.update(event.get("stop_reasons") or {})
            if event.get("reweightable") is False:
                row.reasons[str(event.get("reason") or "no reason is given")] += 1
    return found


def labels_section(run: RunFiles) -> Section:
    """Return labels and evaluations of the potential in each round."""
    rows = run.status.rounds
    if not run.of("labelled"):
        text = "No frame has been labelled yet; the first labels come with round 0."
        return Section("Labels and evaluations", parts=[Missing(text)])
    steps = walked(run)
    numbers = [r.number for r in rows]
    gained = np.diff([0, *(r.labels for r in rows)])
    spent = [steps.get(n, Walked()).steps for n in numbers]
    made = [Bars("labelled", numbers, gained, 0)]
    failed = [r.failed for r in rows]
    if any(failed):
        made.append(Bars("failed", numbers, failed, 1))
    table = Table(
        ["round", "labels of the round", "failed", "labels so far", "steps", "steps so far"],
        list(zip(numbers, gained.tolist(), failed, [r.labels for r in rows], spent,
                 np.cumsum(spent).tolist(), strict=True)),
        "labels",
    )  # fmt: skip
    round_axis = Axis("round", whole=True)
    panels = [
        Panel(round_axis, Axis("frames", whole=True), made, "labels"),
        Panel(round_axis, Axis("steps"), [Bars("steps", numbers, spent, 2)],
              "evaluations of the potential"),
    ]  # fmt: skip
    caption = (
        "Frames labelled in each round, and steps of all walkers together; each step of a walker "
        "is one evaluation of the potential."
    )
    return Section(
        "Labels and evaluations", parts=[Chart("labels", "Spent", caption, panels, table)]
    )


def errors_section(run: RunFiles, verdicts: Verdicts) -> Section:
    """Return the errors of the model of each round, with intervals where frames were evaluated."""
    curves = _curves(run, verdicts)
    parts: list[Part] = []
    panels = []
    for name, label, key in _ERRORS:
        lines = [
            Line(set_name, x, y, low, high, colour=colour, dash=set_name == "training set")
            for colour, (set_name, points) in enumerate(curves.items())
            for x, y, low, high in [_column(points, key)]
            if len(x)
        ]
        if lines:
            panels.append(
                Panel(Axis("labelled frames", whole=True), Axis(label, log=True), lines, name)
            )
    if panels:
        caption = (
            "Root mean square errors of the model of each round against the labels it was made "
            "from. Bars are 95 % intervals from resampling frames."
        )
        parts.append(Chart("errors", "Errors of the models", caption, panels, _error_table(curves)))
    else:
        parts.append(Missing("No model has been trained yet; errors come with the first one."))
    if not verdicts.test:
        said = f"There are no intervals of errors on a test set. {verdicts.test_said}"
        parts.append(Missing(said))
    text = (
        f"“{NEW}” are the frames chosen and labelled with the model of a round, judged before any "
        "training on them: honest errors, of the frames that the model found hardest."
    )
    if verdicts.test:
        text += f" The test set: {verdicts.test_said}."
    return Section("Errors", text, parts)


def time_section(run: RunFiles) -> Section:
    """Return how long the stages took."""
    rows = [r for r in run.status.rounds if any((r.train_s, r.sample_s, r.label_s))]
    if not rows:
        text = "No stage is complete yet; times come with the first one."
        return Section("Time", parts=[Missing(text)])
    numbers = [r.number for r in rows]
    stages = {"train": [r.train_s for r in rows], "sample": [r.sample_s for r in rows],
              "choose and label": [r.label_s for r in rows]}  # fmt: skip
    seconds = {name: [v or 0.0 for v in values] for name, values in stages.items()}
    bars = [Bars(name, numbers, v, colour) for colour, (name, v) in enumerate(seconds.items())]
    table = Table(
        ["round", *(f"{name} (s)" for name in stages), "together (s)"],
        [[n, *row, sum(row)] for n, *row in zip(numbers, *seconds.values(), strict=True)],
        "time",
    )
    panel = Panel(Axis("round", whole=True), Axis("time (s)"), bars)
    whole = sum(map(sum, seconds.values()))
    shares = ", ".join(f"{name} {100 * sum(v) / whole:.0f} %" for name, v in seconds.items())
    caption = f"Wall time of each stage; of all of it: {shares}."
    return Section("Time", parts=[Chart("time", "Time per stage", caption, [panel], table)])


Point = tuple[int, int, dict[str, Estimate]]
"""A round, the labels of its model, and errors by the names of the journal."""


def _curves(run: RunFiles, verdicts: Verdicts) -> dict[str, list[Point]]:
    """Return errors by the set they were found on, those with intervals first."""
    curves: dict[str, list[Point]] = {
        TEST: [_point(v) for v in verdicts.test],
        NEW: [_point(v) for v in verdicts.new],
    }
    sizes = {int(e["round"]): sum((e.get("frames") or {}).values()) for e in run.of("trained")}
    parts = {"validation set": "valid", "training set": "train"}
    if not verdicts.test:
        parts[TEST] = "test"
    for name, part in parts.items():
        told = [(r, getattr(r, part)) for r in run.status.rounds if r.number in sizes]
        curves[name] = [_told(r, sizes[r.number], errors._asdict()) for r, errors in told]
    return {name: points for name, points in curves.items() if any(p[2] for p in points)}


def _point(verdict: Verdict) -> Point:
    names = (key for _, _, key in _ERRORS)
    found = zip(names, verdict.rmse, strict=True)
    return verdict.round, verdict.labels, {k: v for k, v in found if v is not None}


def _told(row: RoundStatus, labels: int, errors: dict[str, float | None]) -> Point:
    known = {k: Estimate(v, np.nan, np.nan) for k, v in errors.items() if v is not None}
    return row.number, labels, known


def _column(points: list[Point], key: str) -> tuple[list, list, list | None, list | None]:
    known = [(labels, errors[key]) for _, labels, errors in points if key in errors]
    x = [labels for labels, _ in known]
    y, low, high = ([getattr(e, n) for _, e in known] for n in ("value", "low", "high"))
    if not np.isfinite(low).any():
        return x, y, None, None
    return x, y, low, high


def _error_table(curves: dict[str, list[Point]]) -> Table:
    header = ["set", "round", "labels"]
    for name, label, _ in _ERRORS:
        header += [label, f"{name} low", f"{name} high"]
    rows = [
        [name, number, labels, *(v for _, _, key in _ERRORS for v in _ends(errors.get(key)))]
        for name, points in curves.items()
        for number, labels, errors in points
    ]
    return Table(header, rows, "errors")


def _ends(found: Estimate | None) -> tuple[float | None, ...]:
    return (None, None, None) if found is None else tuple(found)
