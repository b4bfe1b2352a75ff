"""`uncv config`: configurations to begin with, and the schema by which editors complete them."""

# The imports stand inside the functions, so that `uncv --help` is quick.
from __future__ import annotations

import json
from typing import Annotated

import typer

from uncv.cli.output import answer

app = typer.Typer(
    no_args_is_help=True,
    help="Configurations to begin with, and the schema by which editors complete them.",
)


@app.command()
def schema() -> None:
    """Print the JSON schema of a configuration: every key with its description and default."""
    from uncv.config.schema import config_schema

    typer.echo(json.dumps(config_schema(), indent=2, ensure_ascii=False))


@app.command()
def template(
    kind: Annotated[
        str | None, typer.Argument(help="Which; without, the kinds are listed.", show_default=False)
    ] = None,
) -> None:
    """Print a configuration with comments, to be changed: uncv config template xtb > my.yaml."""
    from uncv.config.template import template as make
    from uncv.config.template import template_kinds

    if kind is None:
        answer(template_kinds(), as_json=False)
    else:
        typer.echo(make(kind), nl=False)
