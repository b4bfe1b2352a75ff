"""The command-line reference, written from the commands themselves when the site is built."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click

from uncv.cli import app

PAGE = "commands.md"
INTRODUCTION = """
This page is made from the commands when the site is built, so it says what `uncv COMMAND --help`
says. Standard output carries the result alone, one JSON object with `--json`; progress and errors
go to standard error. Exit codes: 0 done, 1 failed, 2 wrong arguments or configuration.
"""


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Add the page."""
    files.append(File.generated(config, PAGE, content=commands_page()))
    return files


def commands_page() -> str:
    """Return the page in Markdown."""
    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="uncv")
    title, rest = text.split("\n", 1)
    shown = re.sub(r"^\* `--help`: .*\n", "", rest, flags=re.MULTILINE)
    shown = re.sub(r"\*\*Options\*\*:\n\n(?!\*)", "", shown)
    for owner, group in _groups("uncv", command):
        for name, below in group.commands.items():
            said = (below.help or "").split("\n\n")[0].replace("\n", " ")
            anchor = f"{owner} {name}".replace(" ", "-")
            listed = re.compile(rf"^\* `{name}`: .*$", re.MULTILINE)
            shown = listed.sub(lambda _, a=anchor, n=name, s=said: f"* [`{n}`](#{a}): {s}", shown)
    return f"{title.replace('`uncv`', 'Commands')}\n{INTRODUCTION}{shown}"


def _groups(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Yield a group of commands and those within it, with their full names."""
    if hasattr(command, "commands"):
        yield name, command
        for word, below in command.commands.items():
            yield from _groups(f"{name} {word}", below)
