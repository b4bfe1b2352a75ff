"""`uncv learn`: a campaign run, continued, or gone through on trial."""

# The imports of the library stand inside the functions, so that `uncv --help` is quick.
from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uncv.cli.output import answer, errors_console
from uncv.cli.progress import campaign_progress

if TYPE_CHECKING:
    from uncv.dry_run import DryRun, PlannedStage


def learn(
    config: Annotated[Path, typer.Argument(help="YAML file, or a run directory to continue.")],
    out: Annotated[Path | None, typer.Option(help="Run directory.")] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Show what would run, what it would cost and the first problem."
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON object.")
    ] = False,
) -> None:
    """Run an active-learning campaign, or continue one; Ctrl-C ends it after the current step."""
    if dry_run:
        rehearse(config, out, as_json=as_json)
        return
    from uncv.learning import learn as run
    from uncv.status import run_directory

    with campaign_progress(run_directory(config, out), errors_console) as progress:
        result = run(config, out, progress)
    answer(result._asdict(), as_json=as_json)
    if not result.finished:
        typer.echo(f"interrupted; to continue: uncv learn {result.directory}", err=True)
        raise typer.Exit(1)


def rehearse(config: Path, out: Path | None, *, as_json: bool) -> None:
    """Show what a campaign would do; the exit code says whether it would run."""
    from uncv.dry_run import dry_run

    found = dry_run(config, out)
    if as_json:
        answer(asdict(found), as_json=True)
    else:
        show_dry_run(found)
    if found.exit_code:
        raise typer.Exit(found.exit_code)


def show_dry_run(found: DryRun) -> None:
    """Print what would run, what it costs, and the first problem."""
    for line in _lines(found):
        typer.echo(line)


def _lines(found: DryRun) -> list[str]:
    from uncv.status.words import duration

    lines = [f"run directory: {found.directory}" + (f" ({found.state})" if found.state else "")]
    if found.label_budget:
        lines += [
            f"structure: {found.atoms} atoms, moved by {found.engine}" if found.atoms else "",
            f"labels by: {found.level_of_theory}" if found.level_of_theory else "",
            f"labels: {found.labels} to begin with, {found.label_budget} in the end",
            f"rounds: {found.rounds}, each with {found.walkers} walkers of "
            f"{found.steps_per_round} steps",
            *(f"{stage.name}: {_cost(stage)}" for stage in found.stages),
        ]
    if found.seconds is not None:
        lines.append(
            f"in all: about {duration(found.seconds)}, an estimate from a few labels, steps of "
            "training and steps of dynamics; rules of convergence and of training may end it sooner"
        )
    lines += [f"note: {note}" for note in found.notes]
    lines.append(f"first problem: {found.problem or 'none'}")
    return [line for line in lines if line]


def _cost(stage: PlannedStage) -> str:
    from uncv.status.words import duration

    if stage.seconds is None or stage.seconds_each is None:
        return f"{stage.count} {stage.unit}"
    each = stage.seconds_each
    one = f"{1000 * each:.3g} ms" if each < 1 else duration(each)
    return f"{stage.count} {stage.unit}, {one} each, about {duration(stage.seconds)}"
