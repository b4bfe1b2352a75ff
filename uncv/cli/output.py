"""What the commands show: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from typer.core import TyperGroup

from uncv.errors import ConfigError, UncvError

if TYPE_CHECKING:
    from uncv.demo import DemoProgress
    from uncv.doctor import Check
    from uncv.learning import CampaignProgress

errors_console = Console(stderr=True)


class Commands(TyperGroup):
    """Turns exceptions a user can do something about into one line and an exit code.

    0: done; 1: it failed; 2: the command line or the configuration is wrong.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (ConfigError, FileNotFoundError) as error:
            _complain(error)
            raise typer.Exit(2) from error
        except (UncvError, OSError, ValueError) as error:
            _complain(error)
            raise typer.Exit(1) from error


def answer(values: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a result: one JSON object, or a line for each value."""
    if as_json:
        typer.echo(json.dumps(_plain(values)))
        return
    for name, value in values.items():
        typer.echo(f"{name.replace('_', ' ')}: {_readable(value)}")


@contextmanager
def demo_progress() -> Iterator[Callable[[DemoProgress], None]]:
    """Show a bar for the whole demonstration and one for each campaign."""
    with _bars() as show:

        def tell(state: DemoProgress) -> None:
            show("demo", state.fraction, state.stage)
            for name, campaign in state.campaigns.items():
                show(name, campaign.fraction, _campaign(campaign))

        yield tell


@contextmanager
def step_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar that is told (done, total)."""
    with _bars() as show:
        yield lambda done, total: show(what, done / total, "")


@contextmanager
def _bars() -> Iterator[Callable[[str, float, str], None]]:
    """Show a bar for each name; where no terminal listens, a line whenever its text changes."""
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=errors_console,
        refresh_per_second=4,
        disable=not errors_console.is_terminal,
    )
    tasks: dict[str, Any] = {}
    texts: dict[str, str] = {}

    def show(name: str, fraction: float, text: str) -> None:
        if name not in tasks:
            tasks[name] = bars.add_task(name, total=1.0)
        line = f"{name}: {text}" if text else name
        bars.update(tasks[name], completed=fraction, description=line)
        if bars.disable and texts.get(name) != line:
            texts[name] = line
            errors_console.print(f"{line} ({fraction:.0%})", highlight=False, soft_wrap=True)

    with bars:
        yield show


def check_line(check: Check) -> str:
    """Return a finding of `uncv doctor` in words."""
    use = "" if check.required else " (optional)"
    remedy = f"; remedy: {check.remedy}" if check.remedy and check.status != "ok" else ""
    return f"{check.status}{use}, {check.found}{remedy}"


def _campaign(state: CampaignProgress) -> str:
    coverage = "" if state.coverage is None else f", coverage {state.coverage:.2f}"
    labels = f"{state.labels}/{state.label_budget} labels"
    return f"round {state.round} ({state.stage}), {labels}{coverage}"


def _complain(error: BaseException) -> None:
    text = "; ".join([str(error), *getattr(error, "__notes__", ())])
    errors_console.print(
        f"error: {text}", style="red", markup=False, highlight=False, soft_wrap=True
    )


def _plain(value: Any) -> Any:
    """Return what JSON can hold: numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (int, float, bool, str, type(None))) else str(value)


def _readable(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping) or hasattr(value, "_asdict"):
        inner = value if isinstance(value, Mapping) else value._asdict()
        return ", ".join(f"{k.replace('_', ' ')} {_readable(v)}" for k, v in inner.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_readable(inner) for inner in value)
    return "–" if value is None else str(value)
