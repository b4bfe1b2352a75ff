"""`uncv plugin`: the PLUMED action UNCERTAINTY for other programs, built and found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uncv.cli.output import answer, step_progress

app = typer.Typer(
    no_args_is_help=True,
    help="The PLUMED action UNCERTAINTY for GROMACS, LAMMPS, ASE and others with PLUMED.",
)

Headers = Annotated[
    Path | None,
    typer.Option(
        help="Headers of the PLUMED to build for, as `plumed info --include-dir` prints; "
        "by default of the PLUMED that uncv uses."
    ),
]
Static = Annotated[bool, typer.Option("--static", help="For programs that hold PLUMED statically.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]


@app.command()
def build(
    headers: Headers = None,
    static: Static = False,
    force: Annotated[bool, typer.Option("--force", help="Build it even if it is there.")] = False,
    as_json: Json = False,
) -> None:
    """Build the plugin against this Python's torch, unless it is there, and print its path."""
    from uncv.plugin import build as run

    with step_progress("compiling") as tell:
        library = run(headers=headers, static=static, force=force, progress=tell)
    _show(library, as_json=as_json)


@app.command()
def path(headers: Headers = None, static: Static = False, as_json: Json = False) -> None:
    """Print the path of the plugin, for PLUMED's LOAD FILE=...; nothing is built."""
    from uncv.plugin import path as run

    _show(run(headers=headers, static=static), as_json=as_json)


def _show(library: Path, *, as_json: bool) -> None:
    if as_json:
        answer({"library": library}, as_json=True)
    else:
        typer.echo(library)
