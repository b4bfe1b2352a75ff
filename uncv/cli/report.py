"""`uncv report`: the page of a campaign, running or not."""

# The imports of the library stand inside the functions, so that `uncv --help` is quick.
from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uncv.cli.output import answer, errors_console, step_progress


def report(
    run: Annotated[Path, typer.Argument(help="Run directory of a campaign, running or not.")],
    out: Annotated[
        Path | None,
        typer.Option(help="HTML file to write; report.html in the run directory by default."),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder for every figure (.png, .svg).", file_okay=False)
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder for every table (.csv), and report.json.", file_okay=False),
    ] = None,
    frames: Annotated[
        int,
        typer.Option(
            help="Most frames of the test data that each model is judged by; 0 evaluates no model.",
            min=0,
        ),
    ] = 300,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON object.")
    ] = False,
) -> None:
    """Write one HTML page of a campaign: errors, coverage, uncertainty, calibration, time.

    It reads files only; the campaign is not disturbed.
    """
    from uncv.report import ReportSettings, report_campaign

    settings = ReportSettings(images, data, frames)
    with step_progress("judging models") as tell:
        found = report_campaign(run, out, settings, tell)
    if as_json:
        answer(found._asdict(), as_json=True)
        return
    for sentence in found.warnings:
        errors_console.print(f"note: {sentence}", markup=False, highlight=False, soft_wrap=True)
    shown = {"report": found.report, "state": found.state, "labels": found.labels}
    if found.images:
        shown["images"] = f"{len(found.images)} files in {images}"
    if found.data:
        shown["data"] = f"{len(found.data)} files in {data}"
    answer(shown, as_json=False)
