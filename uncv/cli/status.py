"""`uncv status`: how far a campaign is, from another shell."""

# The imports stand inside the functions, so that `uncv --help` is quick.
from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from uncv.cli.output import answer
from uncv.cli.rounds import rounds_table

if TYPE_CHECKING:
    from uncv.status import CampaignStatus


def status(
    run: Annotated[Path, typer.Argument(help="Run directory of a campaign, running or not.")],
    watch: Annotated[
        float | None,
        typer.Option(help="Show it again every so many seconds until nothing runs.", min=0.1),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON object, a line each time.")
    ] = False,
) -> None:
    """Show how far a campaign is: round, stage, labels, errors, u, coverage and time left.

    It reads files only; the campaign is not disturbed.
    """
    from uncv.status import status as look

    console = Console(soft_wrap=False)
    if watch is None:
        _show(look(run), console, as_json=as_json)
    elif as_json or not console.is_terminal:
        _repeat(run, watch, lambda found: _show(found, console, as_json=as_json))
    else:
        with Live(console=console, auto_refresh=False) as live:
            _repeat(run, watch, lambda found: live.update(_page(found), refresh=True))


def _repeat(run: Path, seconds: float, show: Any) -> None:
    from uncv.status import status as look

    while True:
        found = look(run)
        show(found)
        if found.state in ("finished", "stopped"):
            return
        time.sleep(seconds)


def _show(found: CampaignStatus, console: Console, *, as_json: bool) -> None:
    if as_json:
        answer(asdict(found), as_json=True)
    else:
        console.print(_page(found))


def _page(found: CampaignStatus) -> RenderableType:
    lines = [f"{name}: {value}" for name, value in _lines(found).items() if value]
    return Group(Text("\n".join(lines)), rounds_table(found.rounds))


def _lines(found: CampaignStatus) -> dict[str, str]:
    from uncv.status.words import duration

    age = found.last_event_age_s
    left = "" if found.seconds_left is None else f"about {duration(found.seconds_left)}"
    times = {"train": found.train_s, "sample": found.sample_s, "label": found.label_s}
    return {
        str(found.directory): _state(found),
        "round": f"{found.round}, {found.stage}",
        "labels": f"{found.labels} of {found.label_budget or '?'}"
        + (f", {found.quarantined} in quarantine" if found.quarantined else ""),
        "coverage": "" if found.coverage is None else f"{found.coverage:.3f}",
        "time": ", ".join(f"{name} {duration(seconds)}" for name, seconds in times.items()),
        "left": left,
        "last event": "" if age is None else f"{found.last_event}, {duration(age)} ago",
        "reason": found.reason,
        "note": "; ".join(found.notes),
    }


def _state(found: CampaignStatus) -> str:
    where = f" on {found.machine}" if found.machine else ""
    if found.state == "running":
        return f"running, process {found.process}{where}"
    if found.state == "unknown":
        return f"not known: process {found.process}{where} may be at work, this system cannot tell"
    if found.state == "stopped":
        return f"stopped; to continue: uncv learn {found.directory}"
    return "finished"
