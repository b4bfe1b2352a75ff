"""How far a campaign is, seen from another process: from the files of its run directory alone.

Nothing is locked, written or executed, and neither torch nor an engine is imported.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from uncv.errors import CampaignError
from uncv.status.estimate import Plan, seconds_left
from uncv.status.holder import holder_of
from uncv.status.journal import Event, RoundStatus, read_events, rounds_of

State = Literal["running", "stopped", "finished", "unknown"]
_NEXT_STAGE = {
    "begun": "label",
    "labelled": "train",
    "trained": "sample",
    "sampled": "label",
    "selected": "label",
    "calibration_checked": "label",
    "no_candidate": "train",
    "finished": "done",
}


@dataclass(frozen=True)
class CampaignStatus:
    """How far a campaign is.

    Attributes
    ----------
    directory : pathlib.Path
        Its run directory.
    state : {'running', 'stopped', 'finished', 'unknown'}
        Stopped: it can be continued. Unknown: the process may be one of another machine.
    process : int or None
        Which process holds the run directory, or did last.
    machine : str
        Where that one runs, '' where it is not known.
    round : int
        The round at work, 0 for the first labels.
    stage : str
        'label', 'train', 'sample', 'overlapping' (asynchronous) or 'done'.
    labels, label_budget : int
        Labelled frames so far, and at the end; the latter 0 where it is not known yet.
    coverage : float or None
        By all frames so far.
    quarantined : int
        Frames that the oracle could not label.
    rounds : tuple of RoundStatus
        Each with its labels, errors, uncertainty and times.
    train_s, sample_s, label_s : float
        Seconds that all stages of a kind took.
    seconds_left : float or None
        An estimate; None before a round is complete, or where nothing runs.
    last_event : str
        Name of the newest event of the journal.
    last_event_age_s : float or None
        Seconds since then.
    reason : str
        Why it ended or was interrupted; '' otherwise.
    notes : tuple of str
        What is odd about the run directory.
    """

    directory: Path
    state: State
    process: int | None
    machine: str
    round: int
    stage: str
    labels: int
    label_budget: int
    coverage: float | None
    quarantined: int
    rounds: tuple[RoundStatus, ...]
    train_s: float
    sample_s: float
    label_s: float
    seconds_left: float | None
    last_event: str
    last_event_age_s: float | None
    reason: str
    notes: tuple[str, ...] = ()


def run_directory(config: str | Path, out: str | Path | None = None) -> Path:
    """Return where the campaign of a configuration runs, or that of a run directory.

    Examples
    --------
    >>> run_directory("water.yaml").name
    'water_run'
    """
    given = Path(config)
    if out is not None:
        return Path(out)
    return given if given.is_dir() else given.with_name(f"{given.stem}_run")


def status(directory: str | Path) -> CampaignStatus:
    """Return how far the campaign in a run directory is; it may be running.

    Raises
    ------
    CampaignError
        If it is no run directory.
    """
    path = Path(directory)
    if not path.is_dir() or not any((path / n).exists() for n in ("journal.jsonl", "lock")):
        raise CampaignError(
            f"{path} is no run directory: expected a folder with journal.jsonl; give the folder "
            "that uncv learn made, NAME_run beside NAME.yaml"
        )
    events, damaged = read_events(path / "journal.jsonl")
    holder = holder_of(path)
    config = _config(path)
    rounds = rounds_of(events)
    stage = _stage(events, config, rounds[-1].labels)
    state = _state(stage, holder.held)
    age = time.time() - events[-1]["time"] if events else None
    left = None
    if state == "running" and stage in ("train", "sample", "label"):
        left = seconds_left(rounds, _plan(config), stage, age or 0.0)
    number = rounds[-1].number + (1 if stage == "train" else 0)
    return CampaignStatus(
        path,
        state,
        holder.process,
        holder.machine,
        number,
        stage,
        rounds[-1].labels,
        _plan(config).labels,
        next((r.coverage for r in reversed(rounds) if r.coverage is not None), None),
        sum(r.failed for r in rounds),
        tuple(rounds),
        sum(r.train_s or 0.0 for r in rounds),
        sum(r.sample_s or 0.0 for r in rounds),
        sum(r.label_s or 0.0 for r in rounds),
        left,
        events[-1]["event"] if events else "",
        age,
        _reason(events, stage),
        _notes(damaged, config),
    )


def _stage(events: Sequence[Event], config: dict[str, Any], labels: int) -> str:
    """Return what the campaign is at after its last event that decides it."""
    known = [e for e in events if e["event"] in _NEXT_STAGE]
    stage = _NEXT_STAGE[known[-1]["event"]] if known else "label"
    if stage == "done" and not _grown(events, labels, _plan(config).labels):
        return "done"
    if _at(config, "execution", "mode") == "asynchronous":
        return "overlapping"
    return "train" if stage == "done" else stage


def _grown(events: Sequence[Event], labels: int, budget: int) -> bool:
    """Whether a campaign that had spent its budget was given a larger one."""
    last = [e for e in events if e["event"] in ("finished", "continued")][-1]
    if last["event"] == "finished" or labels >= budget:
        return False
    ended = [e for e in events if e["event"] == "finished"][-1]
    return str(ended.get("reason", "")).startswith("the budget of")


def _state(stage: str, held: bool | None) -> State:
    if held:
        return "running"
    if stage == "done":
        return "finished"
    return "unknown" if held is None else "stopped"


def _reason(events: Sequence[Event], stage: str) -> str:
    """Return why it ended, or was interrupted at last."""
    ends = [e for e in events if e["event"] == "finished"] if stage == "done" else events[-1:]
    told = ends and ends[-1]["event"] in ("finished", "interrupted")
    return str(ends[-1].get("reason", "")) if told else ""


def _config(path: Path) -> dict[str, Any]:
    """Return the stored configuration as it stands, empty where it cannot be read."""
    try:
        values = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return {}
    return values if isinstance(values, dict) else {}


def _at(config: dict[str, Any], section: str, key: str) -> Any:
    values = config.get(section)
    return values.get(key) if isinstance(values, dict) else None


def _plan(config: dict[str, Any]) -> Plan:
    numbers = (_at(config, "budget", "labels"), _at(config, "selection", "batch_size"))
    labels, batch = (n if isinstance(n, int) else 0 for n in numbers)
    return Plan(labels, max(1, batch))


def _notes(damaged: int, config: dict[str, Any]) -> tuple[str, ...]:
    notes = []
    if damaged:
        notes.append(f"{damaged} lines of journal.jsonl cannot be read")
    if not config:
        notes.append("config.yaml cannot be read, so the budget is not known")
    return tuple(notes)
