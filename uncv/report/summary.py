"""What is seen first: how a campaign stands, what was run, and what a reader must know."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable

from uncv.metrics import Estimate
from uncv.report.judged import Verdict, Verdicts
from uncv.report.page import Card, Facts, Missing, Notes, Part, Section
from uncv.report.progress import walked
from uncv.report.run import RunFiles
from uncv.status.words import duration
from uncv.units import unit_name

_STOPPED = re.compile(r"^\d+ walkers? w(?:as|ere) stopped")
_STATES = {
    "running": "running",
    "stopped": "stopped",
    "finished": "finished",
    "unknown": "not known",
}


def lead(run: RunFiles) -> str:
    """Return how the campaign ended, or where it is, in a sentence."""
    found = run.status
    reason = f": {found.reason}" if found.reason else ""
    where = f"round {found.round}, stage {found.stage}"
    left = found.seconds_left
    said = {
        "finished": f"Finished{reason}.",
        "running": f"Running now: {where}"
        + (f", about {duration(left)} left" if left is not None else "")
        + ".",
        "stopped": f"Stopped in {where}{reason}; uncv learn {found.directory} continues it.",
        "unknown": f"It cannot be told whether it runs: {where}.",
    }[found.state]
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime())
    return f"{said} Report of {made}."


def cards(run: RunFiles, verdicts: Verdicts) -> list[Card]:
    """Return the numbers to be seen first."""
    found = run.status
    budget = f"of {found.label_budget}" if found.label_budget else ""
    failed = f", {found.quarantined} failed" if found.quarantined else ""
    steps = sum(w.steps for w in walked(run).values())
    stops = sum(sum(w.stops.values()) for w in walked(run).values())
    made = [
        Card("state", _STATES[found.state], f"{run.labelled_rounds} rounds labelled"),
        Card("labels", str(found.labels), budget + failed),
        Card("steps of all walkers", f"{steps:,}".replace(",", "\u202f"), f"{stops} stops"),
    ]
    if found.coverage is not None:
        made.append(Card("coverage", f"{found.coverage:.3f}", "by all frames"))
    best = next(iter((verdicts.test or verdicts.new)[-1:]), None)
    made += _error_cards(run, best, "test set" if verdicts.test else "newest labels")
    whole = found.train_s + found.sample_s + found.label_s
    return [*made, Card("time of all stages", duration(whole))]


def _error_cards(run: RunFiles, verdict: Verdict | None, of: str) -> list[Card]:
    if verdict is None:
        return []
    names = (("energy RMSE", "meV/atom"), ("force RMSE", "eV/Å"))
    return [
        Card(f"{name} ({unit})", f"{found.value:.3g}", f"{of}{_interval(found)}")
        for (name, unit), found in zip(names, verdict.rmse, strict=False)
        if found is not None
    ]


def _interval(found: Estimate) -> str:
    return f", {found.low:.3g} to {found.high:.3g}" if found.low == found.low else ""


def facts_section(run: RunFiles) -> Section:
    """Return what was run."""
    if not run.config:
        return Section("What was run", parts=[Missing("config.yaml cannot be read.")])
    return Section("What was run", parts=[Facts(_facts(run))])


def _facts(run: RunFiles) -> list[tuple[str, str]]:
    at = run.at
    trained = run.of("trained")
    versions = (run.of("begun") or [{}])[0].get("versions") or {}
    walkers = (
        f"{at('sampling', 'walkers')} walkers of {at('sampling', 'steps_per_round')} steps a round,"
        f" {at('sampling', 'timestep_fs')} fs, {at('sampling', 'temperature_k')} K"
    )
    if at("sampling", "pressure_gpa") is not None:
        walkers += f", {at('sampling', 'pressure_gpa')} GPa"
    if at("sampling", "plumed"):
        walkers += f"; PLUMED: {at('sampling', 'plumed')}"
    unit = unit_name(run.kind) or "no unit"  # type: ignore[arg-type]
    calibration = str(trained[-1].get("calibration") or "none") if trained else "no model yet"
    return [
        ("run directory", str(run.status.directory)),
        ("system", _system(run)),
        ("labels by", _oracle(run)),
        ("potential", _potential(run)),
        ("uncertainty", f"{_words(run, 'uncertainty')} ({unit})"),
        ("calibration", f"{at('calibration', 'method', 'not known')}; newest model: {calibration}"),
        ("bias", _bias(run)),
        ("dynamics", walkers),
        ("stopped by", _words(run, "stop")),
        ("choice of frames", _words(run, "selection")),
        ("seed", str(run.config.get("seed", "not known"))),
        ("versions", ", ".join(f"{k} {v}" for k, v in versions.items()) or "not recorded"),
    ]


def _system(run: RunFiles) -> str:
    kind = "crystal" if run.at("system", "periodic") else "molecule in vacuum"
    atoms = ""
    if run.labelled is not None:
        atoms = f", {int(run.labelled.frame_atoms[0])} atoms"
    return f"{run.at('system', 'structure', 'not known')} ({kind}{atoms})"


def _oracle(run: RunFiles) -> str:
    if run.labelled is not None and "level_of_theory" in run.labelled.info:
        levels = Counter(str(level) for level in run.labelled.info["level_of_theory"])
        software = Counter(str(s) for s in run.labelled.info.get("software", ()))
        said = ", ".join(levels) or "not known"
        return f"{said} ({', '.join(software)})" if software else said
    return _words(run, "oracle")


def _potential(run: RunFiles) -> str:
    hidden = run.at("potential", "hidden")
    size = f", hidden layers {' × '.join(map(str, hidden))}" if hidden else ""
    start = run.at("potential", "start", "not known")
    return f"{run.at('potential', 'members')} members, from {start}{size}"


def _bias(run: RunFiles) -> str:
    told = [str(e.get("bias")) for e in run.of("sampled") if e.get("bias")]
    if told and told[-1] != "None":
        return told[-1]
    return "none" if run.at("bias", "kind") == "none" else _words(run, "bias")


def _words(run: RunFiles, section: str) -> str:
    """Return a section of the configuration in words, without what is not set."""
    values = run.config.get(section)
    if not isinstance(values, dict):
        return "not known"
    first = [str(values[k]).replace("_", " ") for k in ("kind", "method") if values.get(k)]
    rest = [
        f"{key.replace('_', ' ')} {value}"
        for key, value in values.items()
        if key not in ("kind", "method") and isinstance(value, (int, float, str, list)) and value
    ]
    return ", ".join([*first, *rest]) or "nothing"


def warnings_section(run: RunFiles, verdicts: Verdicts) -> Section:
    """Return what a reader must know before using the results."""
    said = [*_odd(run), *_reweighting(run), *_calibrations(run), *_labels(run)]
    if not verdicts.test:
        said.append(
            "There are no intervals of errors on a test set; those on new labels are of frames "
            f"that the campaign chose. {verdicts.test_said}"
        )
    part: Part = Notes(said) if said else Missing("There is nothing to warn of.")
    return Section("Warnings", parts=[part])


def _odd(run: RunFiles) -> list[str]:
    said = [f"{note}." for note in run.notes]
    if run.status.state != "finished":
        said.append("The campaign is not finished: these numbers will change.")
    failed = run.of("task_failed")
    if failed:
        said.append(f"{len(failed)} tasks failed, the last one: {failed[-1].get('reason')}")
    idle = [e.get("round") for e in run.of("no_candidate")]
    if idle:
        said.append(f"No frame was worth a label in {_rounds(idle)}.")
    return said


def _reweighting(run: RunFiles) -> list[str]:
    """Say which rounds are not an ensemble, once for each reason."""
    rounds: dict[str, list[int]] = {}
    for number, did in walked(run).items():
        for part in {p for reason in did.reasons for p in reason.split("; ")}:
            rounds.setdefault(_STOPPED.sub("walkers were stopped", part), []).append(number)
    return [
        f"The frames of {_rounds(numbers)} cannot be reweighted to an equilibrium ensemble: "
        f"{reason}."
        for reason, numbers in rounds.items()
    ]


def _rounds(numbers: Iterable[object]) -> str:
    """Return rounds in words, those in a row as a range.

    >>> _rounds([1, 2, 3, 5])
    'rounds 1 to 3, 5'
    """
    known = sorted({int(str(n)) for n in numbers if n is not None})
    runs: list[list[int]] = []
    for n in known:
        if runs and n == runs[-1][-1] + 1:
            runs[-1].append(n)
        else:
            runs.append([n])
    said = [f"{r[0]} to {r[-1]}" if len(r) > 2 else ", ".join(map(str, r)) for r in runs]
    return f"round{'s' if len(known) > 1 else ''} {', '.join(said)}"


def _calibrations(run: RunFiles) -> list[str]:
    said = []
    few = [e.get("round") for e in run.of("trained") if "too few" in str(e.get("calibration"))]
    if few:
        said.append(
            f"The calibration of {_rounds(few)} rests on too few frames for a conformal bound; a "
            "Gaussian scale stands in, which promises no share."
        )
    uncalibrated = [e.get("round") for e in run.of("sampled") if e.get("calibrated") is False]
    if uncalibrated:
        said.append(f"The uncertainty of {_rounds(uncalibrated)} was not calibrated.")
    drifted = [e for e in run.of("calibration_checked") if e.get("drifted")]
    return [*said, *(f"Round {e.get('round')}: {e.get('message')}." for e in drifted)]


def _labels(run: RunFiles) -> list[str]:
    failed, good = run.status.quarantined, run.status.labels
    if not failed:
        return []
    return [f"{failed} of {good + failed} labels failed; see “Labels that failed”."]
