"""Progress of `uncv learn`: bars and a table on a terminal, lines in a pipe, JSON apart."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import threading
from io import StringIO
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from uncv.cli import app
from uncv.cli.progress import campaign_progress
from uncv.journal import Journal
from uncv.learning import CampaignProgress, learn

SMALL = {
    "potential": {"members": 2, "hidden": [8], "epochs": 2, "epochs_warm": 1},
    "sampling": {"steps_per_round": 4, "stride": 2, "walkers": 2, "timestep_fs": 0.1},
    "selection": {"batch_size": 2},
    "budget": {"labels": 8, "initial_labels": 6},
    "bias": {"kind": "none"},
    "stop": {"max_force_ev_per_angstrom": None},
}
STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "


def finished_run(path: Path) -> Path:
    """A run directory of a small campaign that has ended."""
    learn(SMALL, path)
    return path


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("progress") / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return path


@pytest.fixture
def terminal(monkeypatch):
    """A pseudo-terminal as a console, and a function that returns what it was shown."""
    monkeypatch.setenv("TERM", "xterm")
    master, slave = pty.openpty()
    shown: list[bytes] = []

    def listen() -> None:
        with contextlib.suppress(OSError):  # the other end is closed
            while part := os.read(master, 65536):
                shown.append(part)

    listener = threading.Thread(target=listen)
    listener.start()
    screen = os.fdopen(slave, "w")

    def text() -> str:
        screen.close()
        listener.join(10)
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", b"".join(shown).decode())

    yield Console(file=screen, width=100, height=40), text
    if not screen.closed:
        screen.close()
    os.close(master)


def test_a_terminal_shows_bars_and_a_table_of_the_rounds(terminal, tmp_path):
    console, text = terminal
    assert console.is_terminal
    with campaign_progress(tmp_path / "run", console) as tell:
        learn(SMALL, tmp_path / "run", tell)
    shown = text()
    assert re.search(r"campaign +[━╸╺]+ +\d+% 8/8 labels", shown)
    assert re.search(r"round 1 train +[━╸╺]+ +\d+% [\d.]+ s", shown)
    assert re.search(r"round 2 done +━+ 100%", shown)
    last = shown[shown.rindex("round  labels  E train") :]
    rows = [line.split() for line in last.splitlines()[2:5]]
    assert [row[:2] for row in rows] == [["0", "6"], ["1", "8"], ["2", "8"]]
    trained = Journal(tmp_path / "run" / "journal.jsonl").events("trained")[0]["errors"]["train"]
    assert float(rows[1][2]) == pytest.approx(trained["energy_rmse_mev_per_atom"], rel=6e-3)
    assert float(rows[1][4]) == pytest.approx(trained["force_rmse_ev_per_angstrom"], rel=6e-3)


def test_a_pipe_gets_a_line_for_each_event_with_its_time(config, tmp_path):
    command = ["learn", str(config), "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, [*command, "--json"])
    assert json.loads(done.stdout)["labels"] == 8
    assert "\x1b" not in done.stderr
    lines = done.stderr.splitlines()
    assert all(re.match(STAMP, line) for line in lines)
    said = [re.sub(STAMP, "", line) for line in lines]
    assert said[0] == "begun, seed 0"
    assert said[1].startswith("round 0 label: 6 labels, 0 failed")
    errors = r"RMSE on train [\d.]+ meV/atom and [\d.]+ eV/Å"
    assert re.match(rf"round 1 train: 6 frames, {errors}", said[2])
    sampled = r"4 frames of 8 steps, mean u [\d.]+.*, coverage [\d.]+, 0 stops"
    assert re.match(rf"round 1 sample: {sampled}", said[3])
    assert said[-1] == "finished with 8 labels: the budget of 8 labels is spent"
    again = CliRunner().invoke(app, command)
    assert "labels: 8" in again.stdout
    assert re.fullmatch(f"{STAMP}continued with 8 labels\n", again.stderr)


def state(stage: str, number: int = 1) -> CampaignProgress:
    return CampaignProgress(number, stage, 6, 8, None, 0.5)


def test_lines_come_as_soon_as_events_do(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append("begun", seed=3)
    shown = StringIO()
    with campaign_progress(tmp_path, Console(file=shown, width=200)) as tell:
        journal.append("labelled", round=0, frames=6, errors=["no convergence"])
        assert shown.getvalue() == ""
        tell(state("train"))
        assert shown.getvalue().endswith("round 0 label: 6 labels, 1 failed\n")
        tell(state("train"))
        assert shown.getvalue().count("\n") == 1
        journal.append("interrupted", labels=6, reason="Ctrl-C")
    assert shown.getvalue().endswith("interrupted with 6 labels: Ctrl-C\n")
    assert "begun" not in shown.getvalue()  # by an earlier process


def test_an_event_with_markup_is_shown_as_it_is(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    shown = StringIO()
    with campaign_progress(tmp_path, Console(file=shown, width=40)) as tell:
        journal.append("task_failed", round=1, group=0, reason="bad [bold]token[/bold] " + 60 * "x")
        tell(state("sample"))
    assert "round 1 task failed: bad [bold]token[/bold] " + 60 * "x" in shown.getvalue()
