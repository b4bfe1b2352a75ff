"""Kill a small campaign at random moments, start it again, and compare what it comes to.

    python benchmarks/kills.py --kills 200 --report docs/benchmarks

Each life of a campaign is a run directory in which `uncv learn` is started, killed by SIGKILL
at a random moment, started again, and so on until it comes to its end; then a new one begins. A
moment is drawn evenly from the length of a stage, the stage evenly from those that are to come, so
that short stages are hit as often as long ones, however slow the machine is.
In the end the labels (every number, and where each comes from), the journal (every decision) and
the fingerprint of the final model must be those of a campaign that was never killed.

The starts are forks of one process that has imported everything, which saves most of the time of
each; this process has a single thread, so a fork is a sound copy. Linux only.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import hashlib
import importlib
import json
import platform
import random
import select
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

CAMPAIGN = """\
seed: 4
potential: {members: 2, hidden: [8], epochs: 3, epochs_warm: 2}
sampling: {walkers: 2, steps_per_round: 12, stride: 4, timestep_fs: 0.25}
bias: {kind: linear, strength: 0.1}
stop: {max_force_ev_per_angstrom: null}
selection: {batch_size: 3}
budget: {initial_labels: 6, labels: 12}
"""
KILLS_OF_A_LIFE = 4  # at most
LOOKED_AT = 0.005
"""Seconds between two looks at a journal."""
STAGES = {
    "": "before anything is written",
    "begun": "first labels",
    "labelled": "training",
    "trained": "sampling",
    "sampled": "selection and labels",
    "selected": "selection and labels",
    "calibration_checked": "selection and labels",
    "finished": "last files",
}
"""What is done after an event of the journal."""


@dataclass(frozen=True)
class Outcome:
    """What a campaign came to, each as a hash or a name.

    Parameters
    ----------
    labels : str
        Of all labelled frames with their columns.
    model : str
        Fingerprint of the final model.
    decisions : str
        Of the journal without times.
    """

    labels: str
    model: str
    decisions: str


@dataclass
class Found:
    """Counts over all lives."""

    kills: int = 0
    lives: int = 0
    wrong: list[str] = field(default_factory=list)
    stages: Counter[str] = field(default_factory=Counter)
    kills_of_a_life: list[int] = field(default_factory=list)


def learn(config: Path, run: Path) -> int:
    """Do what the command `uncv learn` does, and return its exit code."""
    from uncv.cli import app

    try:
        app(["learn", str(config), "--out", str(run), "--json"])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def outcome(run: Path) -> Outcome:
    """Read what a campaign came to from its run directory."""
    import uncv
    from uncv.journal import Journal

    labelled = uncv.read(run / "labelled.extxyz")
    labels = hashlib.sha256()
    for name in ("numbers", "positions", "energy", "forces"):
        labels.update(np.ascontiguousarray(getattr(labelled, name)).tobytes())
    for name, column in sorted(labelled.info.items()):
        labels.update(f"{name}: {column.tolist()}".encode())
    events = [e for e in Journal(run / "journal.jsonl").events() if e["event"] != "continued"]
    timeless = [{k: v for k, v in e.items() if k not in ("time", "seconds")} for e in events]
    decisions = hashlib.sha256(json.dumps(timeless, sort_keys=True).encode())
    model = uncv.UncertaintyCV.load(run / "final.uncv").fingerprint
    return Outcome(labels.hexdigest()[:16], model, decisions.hexdigest()[:16])


def start(config: Path, run: Path, answer: Path) -> int:
    """Start a campaign in a copy of this process and return its number."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        with open(run.with_suffix(".log"), "ab", buffering=0) as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            code = learn(config, run)
            if code == 0:
                modules = sorted(sys.modules)
                answer.write_text(json.dumps({**asdict(outcome(run)), "modules": modules}))
    except BaseException:  # noqa: BLE001 - this process ends here, whatever it was
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def ended(process: int, seconds: float | None = None) -> int | None:
    """Wait for a process and return its exit code, or None if it runs on after that time."""
    handle = os.pidfd_open(process)
    try:
        if not select.select([handle], [], [], seconds)[0]:
            return None
    finally:
        os.close(handle)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def done(run: Path) -> list[dict[str, Any]]:
    """Return the events of a campaign that are complete, without those that say it went on."""
    journal = run / "journal.jsonl"
    lines = journal.read_bytes().split(b"\n")[:-1] if journal.exists() else []
    events = [json.loads(line) for line in lines]
    return [event for event in events if event["event"] != "continued"]


def stage(run: Path) -> str:
    """Return what a campaign was at, by the last event that is complete."""
    events = done(run)
    return STAGES.get(events[-1]["event"] if events else "", "other")


def killed_in(process: int, run: Path, events: int, seconds: float) -> int:
    """Kill a process so long after it has written so many events; return its exit code."""
    code = None
    while code is None and len(done(run)) < events:
        code = ended(process, LOOKED_AT)
    code = ended(process, seconds) if code is None else code
    if code is not None:
        return code
    os.kill(process, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def uninterrupted(config: Path, folder: Path) -> tuple[Outcome, list[float]]:
    """Return what the campaign comes to, and the seconds before, between and after its events.

    Everything that the campaign imports is imported here before the time is taken.
    """
    found: list[Outcome] = []
    seconds: list[float] = []
    for attempt in range(2):
        run, answer = folder / f"reference_{attempt}", folder / f"reference_{attempt}.json"
        times = [time.time()]
        if ended(start(config, run, answer)) != 0:
            raise SystemExit(f"the campaign fails: {run.with_suffix('.log').read_text()}")
        times += [*(event["time"] for event in done(run)), time.time()]
        seconds = [max(0.0, end - begin) for begin, end in pairwise(times)]
        read = json.loads(answer.read_text())
        for name in read.pop("modules"):
            if name.split(".")[0] not in ("__main__", "__mp_main__"):
                import_quietly(name)
        found.append(Outcome(**read))
    if found[0] != found[1]:
        raise SystemExit(f"two campaigns that nobody killed differ: {found}")
    return found[0], seconds


def import_quietly(name: str) -> None:
    """Import a module that the campaign uses; some that libraries make up cannot be."""
    try:
        importlib.import_module(name)
    except Exception:  # noqa: BLE001 - the campaign will import it itself
        return


def one_life(
    config: Path,
    run: Path,
    expected: Outcome,
    chance: random.Random,
    seconds: list[float],
    most: int,
) -> tuple[Counter[str], str]:
    """Kill a campaign at most so many times; return the stages, and what is wrong in the end."""
    stages: Counter[str] = Counter()
    answer = run.with_suffix(".json")
    while True:
        process = start(config, run, answer)
        if stages.total() < most:
            events = chance.randrange(len(done(run)), len(seconds))
            code = killed_in(process, run, events, chance.uniform(0.0, seconds[events]))
        else:
            code = ended(process)
        if code == -signal.SIGKILL:
            stages[stage(run)] += 1
            continue
        if code != 0:
            last = run.with_suffix(".log").read_text().strip().splitlines()[-1:]
            return stages, f"exit code {code}: {' '.join(last)}"
        values = json.loads(answer.read_text())
        differ = [k for k, v in asdict(expected).items() if values[k] != v]
        return stages, f"other {', '.join(differ)}" if differ else ""


def measure(kills: int, seed: int, keep: Path | None = None) -> dict[str, Any]:
    """Return all figures; run directories that end differently are kept, with one that is right."""
    chance, found = random.Random(seed), Found()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = folder / "campaign.yaml"
        config.write_text(CAMPAIGN)
        expected, seconds = uninterrupted(config, folder)
        threads = len(os.listdir("/proc/self/task"))
        if keep is not None:
            shutil.copytree(folder / "reference_0", keep / "reference", dirs_exist_ok=True)
        while found.kills < kills:
            run = folder / f"life_{found.lives}"
            most = min(kills - found.kills, chance.randint(1, KILLS_OF_A_LIFE))
            stages, wrong = one_life(config, run, expected, chance, seconds, most)
            found.kills += stages.total()
            found.lives += 1
            found.stages += stages
            found.kills_of_a_life.append(stages.total())
            if wrong and keep is not None:
                shutil.copytree(run, keep / run.name, dirs_exist_ok=True)
            found.wrong += [f"life {found.lives}: {wrong}"] if wrong else []
            print(
                f"{found.kills} kills, {found.lives} lives, wrong: {found.wrong}", file=sys.stderr
            )
    return {
        **vars(found),
        "seed": seed,
        "campaign_seconds": round(sum(seconds), 2),
        "threads_of_the_parent": threads,
        "expected": asdict(expected),
    }


PAGE = """\
# Campaigns that are killed come to the same end

Written by `python benchmarks/kills.py --kills {kills} --seed {seed} --report docs/benchmarks`.

A campaign of {seconds:.1f} s (alanine dipeptide, labels by AMBER, an ensemble of two trained and
run in rounds) was started {starts} times by `uncv learn` in {lives} run directories and killed by
SIGKILL {kills} times: each time in a stage drawn evenly from those still to come, at a moment drawn
evenly from its length. In each directory it was started again until it came to its end, there
after up to {most} kills. Compared with a campaign that was never killed were all labels (every
number, their round, walker, step, split and model), the journal without its times, and the
fingerprint of the final model.

**{right} of {lives} are the same.** {verdict}

| killed during | kills |
|---|---|
{rows}

{machine}, Python {python}; each start is a fork of a process that has imported everything.
"""


def page(found: dict[str, Any]) -> str:
    """Return the report."""
    wrong, lives = found["wrong"], found["lives"]
    rows = sorted(found["stages"].items(), key=lambda item: -item[1])
    return PAGE.format(
        kills=found["kills"],
        seed=found["seed"],
        seconds=found["campaign_seconds"],
        starts=found["kills"] + lives,
        lives=lives,
        most=max(found["kills_of_a_life"]),
        right=lives - len(wrong),
        verdict="Not the same: " + "; ".join(wrong) if wrong else "None differs.",
        rows="\n".join(f"| {name} | {count} |" for name, count in rows),
        machine=f"{os.cpu_count()} cores ({platform.machine()})",
        python=platform.python_version(),
    )


def main() -> None:
    """Print the figures or JSON, or write the report; exit code 1 if an end is another one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="how often in all")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--report", type=Path, help="folder for kills.md and kills.json")
    parser.add_argument("--keep", type=Path, help="folder for run directories that differ")
    options = parser.parse_args()
    found = measure(options.kills, options.seed, options.keep)
    if options.report is not None:
        (options.report / "kills.json").write_text(json.dumps(found, indent=1) + "\n")
        (options.report / "kills.md").write_text(page(found))
    print(json.dumps(found) if options.json else page(found))
    raise SystemExit(1 if found["wrong"] else 0)


if __name__ == "__main__":
    main()
