"""Events of a journal in words, one line each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uncv.status.journal import Event

UNITS = {"energy": " eV", "force": " eV/Å"}
"""Of an uncertainty, by its kind."""


def describe(event: Event) -> str:
    """Return an event in words; one that is not known, by its name and plain values.

    Examples
    --------
    >>> describe({"event": "labelled", "time": 0.0, "round": 2, "frames": 15, "errors": ["x"]})
    'round 2 label: 15 labels, 1 failed'
    """
    words = _WORDS.get(event["event"])
    return _plainly(event) if words is None else words(event)


def duration(seconds: float) -> str:
    """Return a time as people say it.

    Examples
    --------
    >>> duration(7.24), duration(400), duration(9000)
    ('7.2 s', '6 min 40 s', '2 h 30 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def _begun(event: Event) -> str:
    return f"begun, seed {event.get('seed', 0)}"


def _continued(event: Event) -> str:
    return f"continued with {event.get('labels', 0)} labels"


def _labelled(event: Event) -> str:
    failed = len(event.get("errors") or ())
    parts = [f"{event.get('frames', 0)} labels", f"{failed} failed", _took(event)]
    return _line(event, "label", parts)


def _trained(event: Event) -> str:
    frames = event.get("frames") or {}
    parts = [f"{sum(frames.values())} frames"]
    for part, errors in (event.get("errors") or {}).items():
        energy, force = (
            errors.get(n) for n in ("energy_rmse_mev_per_atom", "force_rmse_ev_per_angstrom")
        )
        if energy is not None and force is not None:
            parts.append(f"RMSE on {part} {energy:.3g} meV/atom and {force:.3g} eV/Å")
    calibration = str(event.get("calibration") or "").partition(",")[0]
    parts += [f"calibrated: {calibration}" if calibration else "", _took(event)]
    return _line(event, "train", parts)


def _sampled(event: Event) -> str:
    mean, coverage = event.get("mean_uncertainty"), event.get("coverage")
    unit = UNITS.get(event.get("kind", ""), "")
    stops = ", ".join(f"{n} {rule}" for rule, n in (event.get("stop_reasons") or {}).items())
    parts = [
        f"{event.get('frames', 0)} frames of {event.get('walker_steps', 0)} steps",
        "" if mean is None else f"mean u {mean:.3g}{unit}",
        "" if coverage is None else f"coverage {coverage:.3f}",
        f"{event.get('stops', 0)} stops" + (f" ({stops})" if stops else ""),
        _took(event),
    ]
    return _line(event, "sample", parts)


def _checked(event: Event) -> str:
    return _line(event, "calibration", [str(event.get("message", ""))])


def _selected(event: Event) -> str:
    return _line(event, "select", [f"{len(event.get('step') or ())} frames tried"])


def _task_failed(event: Event) -> str:
    return _line(event, "task failed", [str(event.get("reason", ""))])


def _interrupted(event: Event) -> str:
    reason = event.get("reason")
    return f"interrupted with {event.get('labels', 0)} labels" + (f": {reason}" if reason else "")


def _finished(event: Event) -> str:
    reason = event.get("reason")
    return f"finished with {event.get('labels', 0)} labels" + (f": {reason}" if reason else "")


def _line(event: Event, what: str, parts: list[str]) -> str:
    return f"round {event.get('round', '?')} {what}: {', '.join(p for p in parts if p)}"


def _took(event: Event) -> str:
    seconds = event.get("seconds")
    return "" if seconds is None else duration(seconds)


def _plainly(event: Event) -> str:
    values = {k: v for k, v in event.items() if k not in ("event", "time", "round")}
    plain = [f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items()
             if isinstance(v, (int, float, str))]  # fmt: skip
    where = f"round {event['round']} " if "round" in event else ""
    return f"{where}{event['event']}" + (f": {', '.join(plain)}" if plain else "")


_WORDS: dict[str, Callable[[dict[str, Any]], str]] = {
    "begun": _begun,
    "continued": _continued,
    "labelled": _labelled,
    "trained": _trained,
    "sampled": _sampled,
    "selected": _selected,
    "calibration_checked": _checked,
    "task_failed": _task_failed,
    "interrupted": _interrupted,
    "finished": _finished,
}
