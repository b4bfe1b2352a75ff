"""Journal, whole-file replacement, and the lock of a run directory."""

from __future__ import annotations

import json
import os
import shutil
import socket
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


FULL = """
import json, os, resource, signal, sys
from pathlib import Path
import numpy as np, torch
from uncv.errors import CampaignError
from uncv.journal import Journal, replace_file

def refused(write):
    try:
        write()
    except CampaignError as error:
        return str(error)

how, folder = sys.argv[1], Path(sys.argv[2])
journal, kept = Journal(folder / "journal.jsonl"), folder / "kept.txt"
replace_file(kept, lambda part: part.write_text("old"))
filler = folder / "filler"
if how == "limit":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.RLIM_INFINITY))
else:
    filler.write_bytes(bytes(20_000))
count, said = 0, None
while said is None:
    said = refused(lambda: journal.append("labelled", number=count, text="x" * 997))
    count += said is None
writers = {
    "text": lambda part: part.write_text("new" * 100_000),
    "numpy": lambda part: np.savetxt(part, np.zeros(100_000)),
    "torch": lambda part: torch.save(torch.zeros(100_000), part),
}
others = {k: refused(lambda: replace_file(kept, w)) for k, w in writers.items()}
found = {
    "count": count, "said": said, "others": others, "kept": kept.read_text(),
    "files": sorted(p.name for p in folder.iterdir()),
    "whole": [e["number"] for e in journal.events()] == list(range(count)),
    "no half event": journal.path.read_bytes().endswith(b"\\n"),
}
if how == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
filler.unlink(missing_ok=True)
journal.append("labelled", number=count)
found["after"] = [e["number"] for e in journal.events()] == list(range(count + 1))
print(json.dumps(found))
"""


@pytest.mark.parametrize("how", ["limit", "full disk"])
def test_a_full_disk_is_told_and_costs_nothing_that_was_there(tmp_path, how):
    """A limit on the size of files, and a file system of 64 kB in a namespace of its own."""
    command = [sys.executable, "-c", FULL, how, str(tmp_path)]
    if how == "full disk":
        mount = f'mount -t tmpfs -o size=64k tmpfs {tmp_path} && exec "$@"'
        enter = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
        trial = [*enter, f"mount -t tmpfs -o size=64k tmpfs {tmp_path}"]
        if not shutil.which("unshare") or subprocess.run(trial, check=False).returncode:
            pytest.skip("this system lets nobody mount a file system of their own")
        command = [*enter, mount, "sh", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert 20 < found["count"] < 60
    reason = "File too large" if how == "limit" else "No space left on device"
    for said in (found["said"], found["others"]["text"], found["others"]["numpy"]):
        assert reason in said
        assert "the last complete state is kept: make room or correct the permissions" in said
    assert "could not write all of it" in found["others"]["torch"]
    assert found["kept"] == "old"
    assert set(found["files"]) <= {"filler", "journal.jsonl", "kept.txt"}
    assert found["whole"]
    assert found["no half event"]
    assert found["after"]


def test_a_journal_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / "journal.jsonl").mkdir()
    journal = Journal(tmp_path / "journal.jsonl")
    with pytest.raises(CampaignError, match=r"journal.jsonl cannot be read \(.*directory"):
        journal.events()
    with pytest.raises(CampaignError, match=r"journal.jsonl cannot be written \(.*directory"):
        journal.append("begun")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_journal_without_permission_is_told(journal):
    journal.path.chmod(0)
    with pytest.raises(CampaignError, match=r"cannot be read.*Permission denied"):
        journal.events()
    journal.path.chmod(0o400)
    assert len(journal.events()) == 2
    with pytest.raises(CampaignError, match=r"cannot be written.*Permission denied"):
        journal.append("trained")


def test_text_that_is_no_text_is_damage(journal):
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(lines[0] + b"\xff\xfe\n" + lines[1])
    with pytest.raises(FileFormatError, match=r"line 2 of .*journal.jsonl is damaged"):
        journal.events()


def test_errors_of_what_writes_a_file_stay_as_they_are(tmp_path):
    def fail(part):
        raise RuntimeError("a mistake")

    with pytest.raises(RuntimeError, match=r"^a mistake$"):
        replace_file(tmp_path / "a.txt", fail)


def test_a_directory_that_cannot_be_locked_is_told(tmp_path):
    (tmp_path / "lock").mkdir()
    with pytest.raises(CampaignError, match="lock cannot be written"), run_lock(tmp_path):
        pass


def test_a_lock_dies_with_its_process(tmp_path):
    """Killed while it holds the directory; a second one waits outside until then."""
    code = (
        "import sys, time; from uncv.journal import run_lock\n"
        "with run_lock(sys.argv[1]):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(CampaignError, match=f"is in use by process {holder.pid}"):
            run_lock(tmp_path).__enter__()
        holder.kill()
        holder.wait()
    with run_lock(tmp_path):
        assert (tmp_path / "lock").read_text().split() == [str(os.getpid()), socket.gethostname()]
