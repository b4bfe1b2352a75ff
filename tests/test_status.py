"""How far a campaign is, seen from outside: real ones, and journals of every kind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import uncv.status.holder
from uncv.cli import app
from uncv.errors import CampaignError
from uncv.journal import Journal, run_lock
from uncv.status import run_directory, status
from uncv.status.estimate import Plan, seconds_left
from uncv.status.holder import holder_of
from uncv.status.journal import Errors, RoundStatus, read_events, rounds_of
from uncv.status.words import describe, duration

CONFIG = {"budget": {"labels": 40}, "selection": {"batch_size": 10}}
ERRORS = {"energy_rmse_mev_per_atom": 2.0, "force_rmse_ev_per_angstrom": 0.1}


def event(name: str, time: float, **fields) -> dict:
    return {"event": name, "time": time, **fields}


EVENTS = [
    event("begun", 0.0, format=1, seed=0),
    event("labelled", 4.0, round=0, frames=10, errors=[]),
    event("trained", 14.0, round=1, seconds=10.0, fingerprint="a", errors={"train": ERRORS}),
    event("sampled", 34.0, round=1, seconds=20.0, frames=30, mean_uncertainty=0.5, coverage=0.2,
          stops=2),
    event("selected", 35.0, round=1, walker=[0], step=[1]),
    event("labelled", 44.0, round=1, frames=10, errors=["x"]),
    event("trained", 52.0, round=2, seconds=8.0,
          errors={"test": {**ERRORS, "stress_rmse_gpa": 1.5}}),
]  # fmt: skip


def run_with(folder: Path, events=EVENTS, config=CONFIG) -> Path:
    """A run directory with these files alone."""
    folder.mkdir(exist_ok=True)
    (folder / "journal.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    if config is not None:
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.mark.slow
def test_a_campaign_of_another_process_is_watched_until_it_ends(tmp_path):
    """A real one: status reads it many times while it runs, and never disturbs it."""
    values = {
        "potential": {"members": 2, "hidden": [8], "epochs": 40, "epochs_warm": 40},
        "sampling": {"steps_per_round": 40, "stride": 4, "walkers": 2, "timestep_fs": 0.1},
        "selection": {"batch_size": 2},
        "budget": {"labels": 10, "initial_labels": 6},
        "bias": {"kind": "none"},
        "stop": {"max_force_ev_per_angstrom": None},
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(values))
    code = "import sys; from uncv.learning import learn; learn(sys.argv[1])"
    run = tmp_path / "c_run"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "c.yaml")]) as process:
        seen = []
        while process.poll() is None:
            if (run / "lock").exists():
                seen.append(status(run))
            time.sleep(0.05)
    assert process.returncode == 0
    running = [s for s in seen if s.state == "running"]
    assert {s.process for s in running} == {process.pid}
    assert {"train", "sample"} <= {s.stage for s in running}
    assert [s.labels for s in seen] == sorted(s.labels for s in seen)
    assert any(s.seconds_left is not None for s in running)
    last = status(run)
    assert (last.state, last.stage, last.labels, last.round) == ("finished", "done", 10, 3)
    assert last.reason == "the budget of 10 labels is spent"
    assert [r.labels for r in last.rounds] == [6, 8, 10, 10]
    trained = Journal(run / "journal.jsonl").events("trained")
    assert [r.train.energy_rmse_mev_per_atom for r in last.rounds[1:]] == [
        e["errors"]["train"]["energy_rmse_mev_per_atom"] for e in trained
    ]
    assert last.train_s == pytest.approx(sum(e["seconds"] for e in trained))


def test_neither_torch_nor_an_engine_is_imported(tmp_path):
    run_with(tmp_path / "run")
    code = (
        "import sys; sys.argv = ['uncv', 'status', sys.argv[1], '--json']\n"
        "from uncv.cli import app\n"
        "try: app()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert not {'torch', 'openmm', 'ase', 'numpy'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["labels"] == 20


def test_rounds_are_read_from_the_events(tmp_path):
    found = status(run_with(tmp_path / "run"))
    assert found.rounds == (
        RoundStatus(0, labels=10, label_s=4.0),
        RoundStatus(1, labels=20, failed=1, train=Errors(2.0, 0.1), mean_uncertainty=0.5,
                    coverage=0.2, stops=2, train_s=10.0, sample_s=20.0, label_s=10.0),
        RoundStatus(2, labels=20, test=Errors(2.0, 0.1, 1.5), train_s=8.0),
    )  # fmt: skip
    assert (found.round, found.stage, found.labels, found.label_budget) == (2, "sample", 20, 40)
    assert (found.quarantined, found.coverage) == (1, 0.2)
    assert (found.train_s, found.sample_s, found.label_s) == (18.0, 20.0, 14.0)
    assert (found.last_event, found.state, found.seconds_left) == ("trained", "stopped", None)


@pytest.mark.parametrize(
    ("count", "stage", "number"),
    [(0, "label", 0), (1, "label", 0), (2, "train", 1), (3, "sample", 1), (4, "label", 1),
     (5, "label", 1), (6, "train", 2), (7, "sample", 2)],
)  # fmt: skip
def test_the_stage_follows_from_the_last_event(tmp_path, count, stage, number):
    found = status(run_with(tmp_path / "run", EVENTS[:count]))
    assert (found.stage, found.round) == (stage, number)


def test_every_cut_of_the_journal_is_understood(tmp_path):
    """A process that is writing, or was killed, may leave it so."""
    run = run_with(tmp_path / "run")
    whole = (run / "journal.jsonl").read_bytes()
    for length in range(0, len(whole) + 1, 7):
        (run / "journal.jsonl").write_bytes(whole[:length])
        found = status(run)
        assert found.notes == ()
        assert len(read_events(run / "journal.jsonl").events) == whole[:length].count(b"\n")


def test_what_is_odd_is_a_note_and_no_error(tmp_path):
    run = run_with(tmp_path / "run", config=None)
    with (run / "journal.jsonl").open("ab") as file:
        file.write(b'not json\n[1]\n{"event": "trained"}\n')
    found = status(run)
    assert found.notes == (
        "3 lines of journal.jsonl cannot be read",
        "config.yaml cannot be read, so the budget is not known",
    )
    assert (found.labels, found.label_budget) == (20, 0)
    (run / "config.yaml").write_text("a: b: c")
    (run / "journal.jsonl").unlink()
    (run / "lock").touch()
    assert status(run).labels == 0


def test_an_event_of_a_later_version_is_passed_over(tmp_path):
    late = [*EVENTS, event("pondered", 60.0, depth=3, why="so")]
    found = status(run_with(tmp_path / "run", late))
    assert (found.stage, found.last_event) == ("sample", "pondered")
    assert describe(late[-1]) == "pondered: depth 3, why so"


@pytest.mark.parametrize(
    ("reason", "budget", "after", "expected"),
    [
        ("the budget of 20 labels is spent", 20, [], ("finished", "done")),
        ("the budget of 20 labels is spent", 20, ["continued"], ("finished", "done")),
        ("the budget of 20 labels is spent", 40, ["continued"], ("stopped", "train")),
        ("coverage changed by 0.001 in 3 rounds", 40, ["continued"], ("finished", "done")),
        ("coverage changed by 0.001 in 3 rounds", 40, ["continued", "trained"],
         ("stopped", "sample")),
    ],
)  # fmt: skip
def test_a_finished_campaign_may_be_given_a_larger_budget(
    tmp_path, reason, budget, after, expected
):
    ends = event("finished", 60.0, labels=20, reason=reason)
    later = [event(name, 70.0, round=3, seconds=1.0) for name in after]
    config = {**CONFIG, "budget": {"labels": budget}}
    found = status(run_with(tmp_path / "run", [*EVENTS, ends, *later], config))
    assert (found.state, found.stage) == expected
    assert found.reason == (reason if expected[1] == "done" else "")


def test_a_folder_that_is_no_run_directory(tmp_path):
    with pytest.raises(CampaignError, match=r"is no run directory: .* give the folder that uncv"):
        status(tmp_path)


def test_overlapping_rounds_have_no_stage_of_their_own(tmp_path):
    config = {**CONFIG, "execution": {"mode": "asynchronous"}}
    more = [
        *EVENTS[:4],
        event("sampled", 40.0, round=2, group=0, mean_uncertainty=0.4, coverage=0.3, stops=1),
        event("labelled", 41.0, round=2, frames=5, errors=[]),
    ]
    found = status(run_with(tmp_path / "run", more, config))
    assert found.stage == "overlapping"
    assert (found.rounds[1].stops, found.rounds[1].coverage) == (3, 0.3)
    assert found.labels == 15


def test_a_round_without_a_candidate_is_followed_by_one_without_a_training(tmp_path):
    more = [
        *EVENTS[:4],
        event("no_candidate", 36.0, round=1),
        event("sampled", 56.0, round=2, seconds=20.0, mean_uncertainty=0.4, coverage=0.3, stops=1),
    ]
    found = status(run_with(tmp_path / "run", more[:5]))
    assert (found.stage, found.round) == ("train", 2)
    found = status(run_with(tmp_path / "run", more))
    assert [(r.number, r.labels, r.coverage, r.stops) for r in found.rounds] == [
        (0, 10, None, None), (1, 10, 0.2, 2), (2, 10, 0.3, 1),
    ]  # fmt: skip
    assert (found.stage, found.round) == ("label", 2)


def test_who_holds_it_is_told_without_taking_the_lock(tmp_path):
    run = run_with(tmp_path / "run")
    assert (holder_of(run).held, holder_of(run).process) == (False, None)
    with run_lock(run):
        assert (holder_of(run).held, holder_of(run).process) == (True, os.getpid())
        assert status(run).state == "running"
        assert status(run).process == os.getpid()
    assert (holder_of(run).held, holder_of(run).process) == (False, os.getpid())
    assert status(run).state == "stopped"


def test_where_the_system_does_not_tell(tmp_path, monkeypatch):
    run = run_with(tmp_path / "run")
    with run_lock(run):
        monkeypatch.setattr(uncv.status.holder, "LOCKS", tmp_path / "none")
        assert status(run).state == "unknown"  # this process lives
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    (run / "lock").write_text(str(done.pid))
    assert status(run).state == "stopped"
    monkeypatch.undo()
    (run / "lock").write_text("1 another-machine")
    found = status(run)
    assert (found.state, found.process, found.machine) == ("unknown", 1, "another-machine")


def test_the_time_left_is_that_of_the_last_rounds():
    """By hand: 20 labels of 40, batches of 10; one round took 10 s, 20 s and 10 s."""
    rounds = rounds_of(EVENTS[:6])
    plan = Plan(40, 10)
    # Labels at the start took 4 s for 10, later 10 s for 10: 0.7 s each, 7 s a batch.
    # Training 10 s on 20 labels: 0.5 s each; trainings on 20, 30 and 40 labels, two rounds.
    whole = 0.5 * (20 + 30 + 40) + 2 * (20 + 7)
    assert seconds_left(rounds, plan, "train", 0.0) == pytest.approx(whole)
    assert seconds_left(rounds, plan, "train", 3.0) == pytest.approx(whole - 3)
    assert seconds_left(rounds, plan, "train", 99.0) == pytest.approx(whole - 10)
    assert seconds_left(rounds, plan, "sample", 0.0) == pytest.approx(whole - 10)
    assert seconds_left(rounds, plan, "label", 0.0) == pytest.approx(whole - 30)
    assert seconds_left(rounds[:1], plan, "train", 0.0) is None


def test_a_running_campaign_says_how_long_it_takes(tmp_path):
    now = time.time()
    shifted = [{**e, "time": e["time"] - 52.0 + now} for e in EVENTS]
    run = run_with(tmp_path / "run", shifted)
    with run_lock(run):
        left = status(run).seconds_left
    # Trained on 20: 8/20 s each, on 30 and 40 to come; two rounds of 20 s and 7 s.
    assert left == pytest.approx(0.4 * (30 + 40) + 2 * (20 + 7), abs=2.0)


def test_where_a_campaign_runs(tmp_path):
    assert run_directory("a/b.yaml") == Path("a/b_run")
    assert run_directory("a/b.yaml", "c") == Path("c")
    assert run_directory(tmp_path) == tmp_path


def test_the_command_shows_the_rounds(tmp_path):
    run = run_with(tmp_path / "run")
    result = CliRunner().invoke(app, ["status", str(run)])
    assert result.exit_code == 0
    assert f"stopped; to continue: uncv learn {run}" in result.stdout.replace("\n", "")
    assert "round: 2, sample" in result.stdout
    assert "labels: 20 of 40, 1 in quarantine" in result.stdout
    rows = [line.split() for line in result.stdout.splitlines() if line.strip()[:1] in "012"]
    assert [row[0] for row in rows if row] == ["0", "1", "2"]
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert CliRunner().invoke(app, ["status", str(tmp_path / "no")]).exit_code == 1


def test_watching_prints_a_line_of_json_each_time_and_ends(tmp_path, monkeypatch):
    run = run_with(tmp_path / "run", EVENTS[:6])
    waits = []
    monkeypatch.setattr("uncv.status.holder.LOCKS", tmp_path / "locks")
    table = tmp_path / "locks"
    (run / "lock").write_text("42")
    place = (run / "lock").stat()
    device = f"{os.major(place.st_dev):02x}:{os.minor(place.st_dev):02x}:{place.st_ino}"
    table.write_text(f"1: FLOCK  ADVISORY  WRITE 42 {device} 0 EOF\n")

    def sleep(seconds):
        waits.append(seconds)
        run_with(run, EVENTS)
        if len(waits) == 2:
            table.write_text("")

    monkeypatch.setattr(time, "sleep", sleep)
    result = CliRunner().invoke(app, ["status", str(run), "--watch", "5", "--json"])
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [f["state"] for f in found] == ["running", "running", "stopped"]
    assert [f["stage"] for f in found] == ["train", "sample", "sample"]
    assert waits == [5.0, 5.0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (EVENTS[0], "begun, seed 0"),
        (EVENTS[5], "round 1 label: 10 labels, 1 failed"),
        (EVENTS[4], "round 1 select: 1 frames tried"),
        (EVENTS[3], "round 1 sample: 30 frames of 0 steps, mean u 0.5, coverage 0.200, 2 stops"),
        (event("continued", 0, labels=3), "continued with 3 labels"),
        (event("no_candidate", 0, round=2, steps=80), "round 2 no_candidate: steps 80"),
        (event("sampled", 0, round=1, stop_reasons={"force": 2}, stops=2, mean_uncertainty=0.1,
               kind="force", frames=1, walker_steps=9),
         "round 1 sample: 1 frames of 9 steps, mean u 0.1 eV/Å, 2 stops (2 force)"),
    ],
)  # fmt: skip
def test_events_in_words(given, words):
    assert describe(given).startswith(words)


def test_times_in_words():
    assert [duration(s) for s in (0.04, 59.94, 60, 3599, 3600, 90061)] == [
        "0.0 s", "59.9 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "25 h 1 min",
    ]  # fmt: skip
