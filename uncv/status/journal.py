"""The journal of a campaign as a table of its rounds, read while it is being written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

Event = dict[str, Any]
ENDS_STAGE = ("begun", "continued", "labelled", "trained", "sampled")
"""Events that end a stage: what comes next has begun then."""


class Errors(NamedTuple):
    """Root-mean-square errors of a model on some frames; None where there are none."""

    energy_rmse_mev_per_atom: float | None = None
    force_rmse_ev_per_angstrom: float | None = None
    stress_rmse_gpa: float | None = None


UNKNOWN = Errors()


@dataclass(frozen=True)
class RoundStatus:
    """What is known of a round; None where it has not come so far.

    Attributes
    ----------
    number : int
        0 for the labels at the start.
    labels : int
        Labelled frames after the round.
    failed : int
        Frames of it that the oracle could not label.
    train, valid, test : Errors
        Of its model: on the frames it is trained on, on those that end the training, and on the
        test data of the configuration.
    mean_uncertainty : float or None
        Of the frames that its walkers stored, in the unit of the uncertainty.
    coverage : float or None
        By all frames so far, 0 to 1.
    stops : int or None
        How often a walker was stopped.
    train_s, sample_s, label_s : float or None
        Seconds that its stages took.
    """

    number: int
    labels: int = 0
    failed: int = 0
    train: Errors = UNKNOWN
    valid: Errors = UNKNOWN
    test: Errors = UNKNOWN
    mean_uncertainty: float | None = None
    coverage: float | None = None
    stops: int | None = None
    train_s: float | None = None
    sample_s: float | None = None
    label_s: float | None = None


class ReadJournal(NamedTuple):
    """The events of a journal, and how many of its lines cannot be read."""

    events: list[Event]
    damaged: int


def read_events(path: str | Path) -> ReadJournal:
    """Return the events of a journal that a process may be writing; none where there is no file.

    A last line that is not complete is left out, and damaged ones are counted.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        return ReadJournal([], 0)
    events, damaged = [], 0
    for line in content[: content.rfind(b"\n") + 1].splitlines():
        try:
            entry = json.loads(line)
            events.append({**entry, "event": str(entry["event"]), "time": float(entry["time"])})
        except (ValueError, TypeError, KeyError):
            damaged += 1
    return ReadJournal(events, damaged)


def rounds_of(events: Sequence[Event]) -> list[RoundStatus]:
    """Return the rounds of a campaign.

    A round begins with the training of its model, so this holds for rounds that overlap as well:
    what is sampled and labelled counts for the newest model. After a round without a candidate
    nothing is trained, and the next begins with its run.
    """
    rows = [RoundStatus(0)]
    mark = None
    for event in events:
        name = event["event"]
        if name == "trained":
            rows.append(_trained(event, rows[-1].labels))
        elif name == "sampled":
            if "group" not in event and _whole(event, "round") > rows[-1].number:
                rows.append(RoundStatus(_whole(event, "round"), rows[-1].labels))
            rows[-1] = _sampled(rows[-1], event)
        elif name == "labelled":
            rows[-1] = _labelled(rows[-1], event, mark)
        if name in ENDS_STAGE:
            mark = event["time"]
    return rows


def _trained(event: Event, labels: int) -> RoundStatus:
    errors = event.get("errors") or {}
    train, valid, test = (_errors(errors.get(part)) for part in ("train", "valid", "test"))
    seconds = _number(event, "seconds")
    return RoundStatus(_whole(event, "round"), labels, 0, train, valid, test, train_s=seconds)


def _errors(given: Any) -> Errors:
    known = given if isinstance(given, dict) else {}
    return Errors(*(_number(known, name) for name in Errors._fields))


def _sampled(row: RoundStatus, event: Event) -> RoundStatus:
    return replace(
        row,
        mean_uncertainty=_number(event, "mean_uncertainty"),
        coverage=_number(event, "coverage"),
        stops=(row.stops or 0) + _whole(event, "stops"),
        sample_s=_sum(row.sample_s, _number(event, "seconds")),
    )


def _labelled(row: RoundStatus, event: Event, mark: float | None) -> RoundStatus:
    took = _number(event, "seconds")
    if took is None and mark is not None:
        took = event["time"] - mark
    errors = event.get("errors")
    return replace(
        row,
        labels=row.labels + _whole(event, "frames"),
        failed=row.failed + (len(errors) if isinstance(errors, list) else 0),
        label_s=_sum(row.label_s, took),
    )


def _sum(one: float | None, two: float | None) -> float | None:
    return two if one is None else one + (two or 0.0)


def _number(event: Event, key: str) -> float | None:
    value = event.get(key)
    return float(value) if isinstance(value, (int, float)) else None


def _whole(event: Event, key: str) -> int:
    return int(_number(event, key) or 0)
