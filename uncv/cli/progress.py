"""Progress of a campaign: bars and a table on a terminal, a line for each event elsewhere."""

# The imports of the library stand inside the functions, so that `uncv --help` is quick.
from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from uncv.cli.rounds import rounds_table
from uncv.errors import CampaignError

if TYPE_CHECKING:
    from uncv.learning import CampaignProgress
    from uncv.status.journal import Event

Tell = Callable[["CampaignProgress"], None]


@contextmanager
def campaign_progress(run: Path, console: Console) -> Iterator[Tell]:
    """Show a campaign while it runs; what is shown comes from its journal.

    On a terminal: bars of the campaign and of the stage at work, and a table of the rounds.
    Elsewhere: one line for each event of the journal, with its time.

    Parameters
    ----------
    run : pathlib.Path
        The run directory; it need not be there yet.
    console : rich.console.Console
        Where to, as a rule standard error.
    """
    journal = _Follower(run / "journal.jsonl")
    if not console.is_terminal:
        lines = _Lines(journal, console)
        try:
            yield lines.tell
        finally:
            lines.show_new()
        return
    page = _Page(run, journal)
    with Live(page.page(), console=console, refresh_per_second=4) as live:
        page.live = live
        try:
            yield page.tell
        finally:
            page.look()


class _Follower:
    """Gives the events of a journal that are new since the last time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen = len(self._events())
        self.size = self._size()

    def changed(self) -> bool:
        """Whether there is something new; quick, so that it can be asked at every step."""
        before, self.size = self.size, self._size()
        return self.size != before

    def new(self) -> list[Event]:
        events = self._events()
        fresh, self.seen = events[self.seen :], len(events)
        return fresh

    def _size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def _events(self) -> list[Event]:
        from uncv.status.journal import read_events

        return read_events(self.path).events


class _Lines:
    """A line for each event."""

    def __init__(self, journal: _Follower, console: Console) -> None:
        self.journal = journal
        self.console = console

    def tell(self, state: CampaignProgress) -> None:
        if self.journal.changed():
            self.show_new()

    def show_new(self) -> None:
        from uncv.status.words import describe

        for event in self.journal.new():
            at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["time"]))
            line = f"{at} {describe(event)}"
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)


class _Page:
    """Bars and the table of rounds."""

    def __init__(self, run: Path, journal: _Follower) -> None:
        self.run = run
        self.journal = journal
        self.live: Live | None = None
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self.whole = self.bars.add_task("campaign", total=1.0, note="")
        self.stage = self.bars.add_task("", total=None, note="")
        self.begun = ("", 0, time.monotonic())
        self.left: float | None = None

    def tell(self, state: CampaignProgress) -> None:
        if self.journal.changed():
            self.look()
        fresh = self.begun[:2] != (state.stage, state.round)
        if fresh:
            self.begun = (state.stage, state.round, time.monotonic())
        labels = f"{state.labels}/{state.label_budget} labels"
        self.bars.update(self.whole, completed=state.fraction, note=labels + self._left())
        self.bars.update(
            self.stage,
            description=f"round {state.round} {state.stage}",
            total=1.0,
            completed=1.0 if state.stage == "done" else getattr(state, "share", 0.0),
            note=self._elapsed(),
        )
        if fresh and self.live is not None:  # a stage may be over before the next redraw
            self.live.refresh()

    def look(self) -> None:
        """Read the files of the campaign again."""
        from uncv.status import status

        try:
            found = status(self.run)
        except CampaignError:  # it has not begun yet
            return
        ends = None if found.seconds_left is None else time.monotonic() + found.seconds_left
        self.left = ends
        if self.live is not None:
            self.live.update(Group(self.bars, rounds_table(found.rounds)))

    def page(self) -> Group:
        return Group(self.bars)

    def _left(self) -> str:
        from uncv.status.words import duration

        if self.left is None:
            return ""
        return f", about {duration(max(0.0, self.left - time.monotonic()))} left"

    def _elapsed(self) -> str:
        from uncv.status.words import duration

        return duration(time.monotonic() - self.begun[2])
