"""Journal, whole-file replacement, and the lock of a run directory."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from uncv.errors import CampaignError, FileFormatError
from uncv.journal import Journal, replace_file, run_lock


@pytest.fixture
def journal(tmp_path) -> Journal:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append("begun", version=1)
    journal.append("labelled", round=0, frames=[1, 2])
    return journal


def test_events_come_back_in_order(journal):
    assert [e["event"] for e in journal.events()] == ["begun", "labelled"]
    assert journal.events("labelled")[0]["frames"] == [1, 2]
    assert journal.events("nothing") == []


def test_a_journal_that_was_never_written_is_empty(tmp_path):
    assert Journal(tmp_path / "none").events() == []


@pytest.mark.parametrize("torn", [b'{"event": "lab', b"{", b'{"event": "labelled", "time": 1}'])
def test_a_torn_last_line_is_forgotten(journal, torn):
    with open(journal.path, "ab") as file:
        file.write(torn)
    assert len(journal.events()) == 2
    journal.append("trained", round=1)
    assert [e["event"] for e in journal.events()] == ["begun", "labelled", "trained"]


def test_every_cut_of_the_file_leaves_whole_events(journal):
    whole = journal.path.read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(len(whole) + 1):
        journal.path.write_bytes(whole[:length])
        assert len(journal.events()) == (length >= first) + (length >= len(whole))


@pytest.mark.parametrize("damage", [b"{oops\n", b"[1]\n", b"{}\n"])
def test_damage_in_the_middle_is_an_error(journal, damage):
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(lines[0] + damage + lines[1])
    with pytest.raises(FileFormatError, match=r"line 2 of .*journal.jsonl is damaged"):
        journal.events()


def test_a_failed_replacement_keeps_the_old_file(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("old")

    def fail(part):
        part.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(CampaignError, match=r"No space left.*last complete state is kept"):
        replace_file(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_replacement_hands_over_a_path_of_the_same_suffix(tmp_path):
    seen = []
    replace_file(tmp_path / "a.npz", lambda part: (seen.append(part), part.write_text("new")))
    assert (tmp_path / "a.npz").read_text() == "new"
    assert seen[0].suffix == ".npz"
    assert seen[0].parent == tmp_path


def test_a_second_process_is_refused_and_a_dead_one_is_not_in_the_way(tmp_path):
    code = "import sys; from uncv.journal import run_lock\nwith run_lock(sys.argv[1]): pass"
    command = [sys.executable, "-c", code, str(tmp_path)]
    with run_lock(tmp_path):
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert f"is in use by process {os.getpid()}" in second.stderr
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
