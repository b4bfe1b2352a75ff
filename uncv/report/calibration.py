"""Does the uncertainty fit the errors: parity, reliability, and the metrics with intervals."""

from __future__ import annotations

import numpy as np

from uncv.evaluation import EvaluationSummary, Judged, summarise
from uncv.metrics import calibration_curve
from uncv.plots_chart import Axis, Chart, Line, Mark, Panel, Table
from uncv.report.figures import (
    POINTS,
    SHOWN,
    error_panel,
    error_sizes,
    parity_panel,
    reliability_panel,
)
from uncv.report.judged import NEW, TEST, Verdict, Verdicts, pooled
from uncv.report.page import Missing, Notes, Part, Section
from uncv.report.run import RunFiles

_MEANING = {
    "spearman": "order of the errors by u: 1 best, 0 none",
    "auroc": "largest 20 % of errors found by u: 1 best, 0.5 chance",
    "ause": "error left on leaving out by u: 0 best",
    "miscalibration_area": "of all intervals: 0 best, 0.5 worst",
    "ence": "relative error of u, small to large u: 0 best",
    "nll": "of a normal error: lower is better",
    "calibrated_nll": "after the best single factor on u: lower is better",
    "crps": "error and width together: lower is better",
    "sharpness": "RMS of u: lower is better if calibrated",
}


def calibration_section(run: RunFiles, verdicts: Verdicts) -> Section:
    """Return how well the uncertainties of a campaign foretold the errors."""
    title = "Calibration"
    parts: list[Part] = []
    if verdicts.notes:
        parts.append(Notes(verdicts.notes))
    last = verdicts.test[-1:]
    both = {
        NEW: (pooled(verdicts.new), verdicts.new),
        TEST: (pooled(last), last),
    }
    known = {name: (j, own) for name, (j, own) in both.items() if j is not None}
    if not known:
        text = (
            "There are no figures of the calibration: they need a model and at least two frames "
            "labelled after it was trained, or test data (system.test_data)."
        )
        return Section(title, parts=[*parts, Missing(text), *_factors(run)])
    for name, (judged, own) in known.items():
        parts += _figures(name, judged, own)
    parts += _shares(verdicts)
    parts += _factors(run)
    if TEST not in known:
        parts.append(Missing(f"There are no figures on a test set. {verdicts.test_said}"))
    return Section(title, _text(known), parts)


def _text(known: dict[str, tuple[Judged, list[Verdict]]]) -> str:
    text = (
        f"“{NEW}”: each frame that a round labelled, judged by the model that chose it, all rounds "
        "together. They were chosen, not drawn, so a calibration promises nothing for them; they "
        "show whether u was of the right size where it was used."
    )
    if TEST in known:
        text += f"\n\n“{TEST}”: the newest model on the test data."
    return text


def _figures(name: str, judged: Judged, own: list[Verdict]) -> list[Part]:
    key = "new" if name == NEW else "test"
    summary = summarise(judged)
    parts: list[Part] = [_parity(name, key, own), _reliability(name, key, judged, summary)]
    if judged.notes:
        parts.append(Notes([f"{name}: {note}." for note in judged.notes]))
    parts.append(_metrics(name, key, summary))
    return parts


def _parity(name: str, key: str, own: list[Verdict]) -> Chart:
    panels, rows = [], []
    sets = (
        ("energy per atom", "meV/atom", [v.energy for v in own]),
        ("force component", "eV/Å", [v.force for v in own]),
    )
    for colour, (quantity, unit, pairs) in enumerate(sets):
        pair = np.concatenate(pairs)
        if len(pair):
            panels.append(parity_panel(quantity, unit, pair, colour))
            rows.append([quantity, unit, len(pair), *error_sizes(pair)])
    header = ["quantity", "unit", "points", "RMSE", "MAE", "largest error"]
    caption = (
        f"Predictions against references, {name}; energies from the mean of those of a round. At "
        f"most {SHOWN} points are drawn, evenly spaced."
    )
    table = Table(header, rows, f"parity_{key}")
    return Chart(f"parity_{key}", f"Parity: {name}", caption, panels, table)


def _reliability(name: str, key: str, judged: Judged, summary: EvaluationSummary) -> Chart:
    deviation, r = judged.standard_deviation, judged.scores.residual
    curve = calibration_curve(deviation, r, components=judged.components)
    every = slice(None, None, 10)
    table = Table(
        ["confidence level", "share of errors inside"],
        list(zip(curve.expected[every].tolist(), curve.observed[every].tolist(), strict=True)),
        f"reliability_{key}",
    )
    caption = (
        f"First: {len(r)} errors of {POINTS[judged.kind]} against their uncertainty. Second: share "
        "of errors inside each confidence interval; below the diagonal u is too small. "
        f"Miscalibration area {summary.metrics.miscalibration_area.value:.3f}."
    )
    panels = [error_panel(judged), reliability_panel(curve)]
    return Chart(f"reliability_{key}", f"Uncertainty and error: {name}", caption, panels, table)


def _metrics(name: str, key: str, summary: EvaluationSummary) -> Table:
    found = summary.metrics
    rows: list[list[object]] = [
        [metric.replace("_", " "), *getattr(found, metric), meaning]
        for metric, meaning in _MEANING.items()
    ]
    if summary.promised is not None:
        rows.append(["share inside u", *summary.coverage, f"{summary.promised:.3g} expected"])
    if summary.exchangeable is not None:
        meaning = f"calibrated on half of the frames: {1 - summary.alpha:.3g} promised"
        rows.append(["share inside, conformal", *summary.exchangeable, meaning])
    header = ["metric", "value", "low", "high", "meaning"]
    points = f"{summary.frames} frames, {summary.points} points"
    return Table(header, rows, f"metrics_{key}", f"Metrics: {name} ({points})")


def _shares(verdicts: Verdicts) -> list[Part]:
    """Return the share of errors inside u, model by model."""
    sets = {NEW: verdicts.new, TEST: verdicts.test}
    marks: list[Mark] = []
    rows: list[list[object]] = []
    for colour, (name, own) in enumerate(sets.items()):
        own = [v for v in own if v.judged.promised is not None]
        if own:
            low, high = ([getattr(v.inside, end) for v in own] for end in ("low", "high"))
            rounds, shares = [v.round for v in own], [v.inside.share for v in own]
            marks.append(Line(name, rounds, shares, low, high, colour=colour))
            rows += [[name, v.round, v.frames, *v.inside, v.judged.promised] for v in own]
    if not marks:
        return []
    expected = sorted({(int(str(r[1])), float(str(r[6]))) for r in rows})
    marks.append(
        Line("expected", [n for n, _ in expected], [p for _, p in expected], colour=5, dash=True,
             markers=False)
    )  # fmt: skip
    panel = Panel(Axis("round", whole=True), Axis("share inside u", limits=(0.0, 1.02)), marks)
    header = ["set", "round", "frames", "share inside u", "low", "high", "expected"]
    table = Table(header, rows, "inside")
    caption = (
        "Share of errors that were not larger than u, for the model of each round, with 95 % "
        "intervals; the share that u should reach is dashed."
    )
    return [Chart("inside", "Errors inside the uncertainty", caption, [panel], table)]


def _factors(run: RunFiles) -> list[Part]:
    """Return how each model was calibrated, and whether new labels agreed."""
    trained = run.of("trained")
    if not trained:
        return []
    checks = {e.get("round"): e for e in run.of("calibration_checked")}
    rows: list[list[object]] = []
    for event in trained:
        check = checks.get(event.get("round"), {})
        held = {True: "drifted", False: "held"}.get(check.get("drifted"), "not checked")  # type: ignore[arg-type]
        rows.append([event.get("round"), event.get("calibration") or "none", event.get("factor"),
                     held, check.get("ratio"), check.get("p_value")])  # fmt: skip
    header = ["round", "calibration", "factor", "on new labels", "error ÷ u, relative", "p"]
    return [Table(header, rows, "calibration", "Calibration of each model")]
