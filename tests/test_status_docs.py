"""docs/campaigns.md lists what a campaign writes: events, their fields, files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_cli_progress import finished_run

import uncv
from uncv.config.template import template_kinds
from uncv.exporting import FORMATS
from uncv.journal import Journal

ROOT = Path(uncv.__file__).parent
PAGE = (ROOT.parent / "docs" / "campaigns.md").read_text(encoding="utf-8")
CALL = re.compile(r"(?:journal\.append|directory\.record|self\.record)\(\s*\"(\w+)\"")


def rows_of(heading: str) -> list[list[str]]:
    """Cells of the table below a heading."""
    section = PAGE[PAGE.index(f"\n## {heading}\n") :].split("\n## ")[1]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def named(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("docs") / "run")


def test_every_event_that_the_code_writes_is_listed():
    sources = (ROOT / "learning").glob("*.py")
    written = {name for path in sources for name in CALL.findall(path.read_text())}
    listed = {name for row in rows_of("The journal") for name in named(row[0])}
    assert {"begun", "labelled", "trained", "sampled", "finished"} <= written
    assert written == listed


def test_every_field_of_a_real_journal_is_listed(run):
    listed = {name: named(row[2]) for row in rows_of("The journal") for name in named(row[0])}
    for event in Journal(run / "journal.jsonl").events():
        fields = set(event) - {"event", "time", "round"}
        assert fields <= listed[event["event"]], event["event"]


def test_every_file_of_a_real_run_is_listed(run):
    listed = {name for row in rows_of("The run directory") for name in named(row[0])}
    found = {re.sub(r"_round_\d\d", "_round_NN", path.name) for path in run.iterdir()}
    assert found <= {name.rstrip("/") for name in listed}


def test_the_columns_of_labels_are_listed(run):
    columns = uncv.read(run / "labelled.extxyz").info
    section = PAGE[PAGE.index("Columns of `labelled.extxyz`") :].split("\n\n")[0]
    assert set(columns) - {"energy"} <= named(section)


def test_templates_and_formats_are_listed():
    assert {kind for row in rows_of("Begin") for kind in named(row[0])} == set(template_kinds())
    formats = {name for row in rows_of("Data for other programs") for name in named(row[0])}
    assert formats == set(FORMATS)
