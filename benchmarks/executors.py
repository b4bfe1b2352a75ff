"""What workers bring and what they cost: density-functional labels, and tasks that do nothing.

    UNCV_DATA=... python benchmarks/executors.py --report docs/benchmarks

The same labels are computed by one worker process and by four, in turns, each with one thread. The
machine should do nothing else meanwhile. Labels of all executors are compared number by number.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import platform
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from uncv.config.execution import ExecutionConfig
from uncv.data import Dataset
from uncv.executors import TaskRunner, open_runner
from uncv.io import read
from uncv.labelling import label_frames
from uncv.oracles import FrameOracle, PySCFOracle, ScfSettings

DATA = Path(os.environ.get("UNCV_DATA", Path(__file__).parents[2] / "shared" / "data"))
SPEED_UP, TASK_MS = 1.7, 50.0


def ethanol(count: int) -> Dataset:
    """Return frames of rMD17."""
    name = DATA / "rmd17" / "rmd17_ethanol_test_01.xyz"
    return read(name, slice(0, count)).without_labels()


def begin(runner: TaskRunner, oracle: FrameOracle, frame: Dataset) -> None:
    """Let every worker label a frame, so that it is there and has loaded what it needs."""
    runner.run([partial(oracle.label, frame)] * runner.settings.workers)


def seconds_of(runner: TaskRunner, oracle: FrameOracle, frames: Dataset) -> tuple[float, Dataset]:
    """Return how long labels take, one a task, and what they are."""
    begun = time.perf_counter()
    labelled = label_frames(oracle, frames, runner)
    return time.perf_counter() - begun, labelled


def speed_up(frames: Dataset, workers: int, turns: int) -> dict[str, Any]:
    """Return seconds by one worker and by several, in turns, and whether the labels agree."""
    oracle = PySCFOracle("pbe", "sto-3g", settings=ScfSettings(grid_level=1))
    one, several = (ExecutionConfig(kind="process_pool", workers=n) for n in (1, workers))
    times: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder, open_runner(one, folder) as single:
        begin(single, oracle, frames[0])
        with open_runner(several, folder) as many:
            begun = time.perf_counter()
            begin(many, oracle, frames[0])
            start = time.perf_counter() - begun
            for turn in range(turns):
                alone, expected = seconds_of(single, oracle, frames)
                together, found = seconds_of(many, oracle, frames)
                times.append((alone, together))
                print(f"turn {turn}: {alone:.1f} s, {together:.1f} s", file=sys.stderr)
    ratios = [alone / together for alone, together in times]
    return {
        "level_of_theory": oracle.level_of_theory,
        "frames": len(frames),
        "workers": workers,
        "seconds": times,
        "speed_up": float(np.median(ratios)),
        "first_label_of_each_seconds": start,
        "same_labels": same(found, expected),
    }


def same(one: Dataset, other: Dataset) -> bool:
    """Whether all numbers of two sets of labels are equal."""
    return bool(
        np.array_equal(one.energy, other.energy) and np.array_equal(one.forces, other.forces)
    )


def overhead(kind: str, tasks: int, workers: int, frames: Dataset) -> dict[str, Any]:
    """Return what a task costs that does nothing, and labels to compare."""
    given = ExecutionConfig(kind=kind, workers=1 if kind == "in_process" else workers)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        with open_runner(given, folder) as runner:
            runner.run([partial(pow, 2, 3)] * given.workers)
            opened = time.perf_counter() - begun
            begun = time.perf_counter()
            runner.run([partial(pow, 2, n % 7) for n in range(tasks)])
            seconds = time.perf_counter() - begun
            labelled = label_frames(PySCFOracle("hf", "sto-3g"), frames, runner)
    return {"opened_s": opened, "task_ms": seconds / tasks * 1e3, "labels": labelled}


def measure(frames: int, workers: int, turns: int, tasks: int) -> dict[str, Any]:
    """Return all figures."""
    found: dict[str, Any] = {"overhead": {}, "tasks": tasks}
    for kind in ("in_process", "process_pool", "parsl"):
        found["overhead"][kind] = overhead(kind, tasks, 2, ethanol(4))
        print(f"{kind}: {found['overhead'][kind]['task_ms']:.2f} ms a task", file=sys.stderr)
    labels = [kind.pop("labels") for kind in found["overhead"].values()]
    found["same_labels"] = all(same(label, labels[0]) for label in labels)
    found["labels"] = speed_up(ethanol(frames), workers, turns)
    found["about"] = {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
    }
    return found


PAGE = """\
# Executors: what workers bring and what they cost

Written by `python benchmarks/executors.py --report docs/benchmarks` on {cores} cores ({machine}),
Python {python}; one thread in each process.

**Labels.** {frames} frames of ethanol (rMD17), one a task, by one worker process and by {workers},
in turns ({level}):

| turn | one worker, s | {workers} workers, s | ratio |
|---|---|---|---|
{turns}

Median ratio **{speed_up:.2f}**; at least {wanted} is wanted: **{labels_verdict}**. More than the
number of cores there cannot be. The labels of both are {same_labels}. Until each of the
{workers} had started, loaded PySCF and labelled its first frame, {start:.1f} s passed; they are
not counted.

**Tasks that do nothing.** {tasks} of them, two workers:

| executor | until its first tasks are done, s | a task, ms |
|---|---|---|
{rows}

Parsl may cost {task_ms:g} ms a task: **{overhead_verdict}**. Labels by all three (Hartree-Fock in
sto-3g, four frames) are {same_everywhere}.
"""


def page(found: dict[str, Any]) -> str:
    """Return the report."""
    labels, tasks = found["labels"], found["overhead"]
    verdict = {True: "reached", False: "missed"}
    equal = {True: "equal bit by bit", False: "DIFFERENT"}
    turns = [
        f"| {n} | {one:.1f} | {many:.1f} | {one / many:.2f} |"
        for n, (one, many) in enumerate(labels["seconds"], start=1)
    ]
    rows = [f"| {k} | {v['opened_s']:.1f} | {v['task_ms']:.2f} |" for k, v in tasks.items()]
    return PAGE.format(
        **found["about"],
        frames=labels["frames"],
        level=labels["level_of_theory"],
        workers=labels["workers"],
        turns="\n".join(turns),
        speed_up=labels["speed_up"],
        wanted=SPEED_UP,
        labels_verdict=verdict[labels["speed_up"] >= SPEED_UP],
        same_labels=equal[labels["same_labels"]],
        start=labels["first_label_of_each_seconds"],
        tasks=f"{found['tasks']:,}",
        rows="\n".join(rows),
        task_ms=TASK_MS,
        overhead_verdict=verdict[tasks["parsl"]["task_ms"] < TASK_MS],
        same_everywhere=equal[found["same_labels"]],
    )


def main() -> None:
    """Print the report or JSON, or write both."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, default=32, help="of ethanol")
    parser.add_argument("--workers", type=int, default=4, help="beside one")
    parser.add_argument("--turns", type=int, default=3, help="of both")
    parser.add_argument("--tasks", type=int, default=1000, help="that do nothing")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--report", type=Path, help="folder for executors.md and executors.json")
    options = parser.parse_args()
    found = measure(options.frames, options.workers, options.turns, options.tasks)
    if options.report is not None:
        (options.report / "executors.json").write_text(json.dumps(found, indent=1) + "\n")
        (options.report / "executors.md").write_text(page(found))
    print(json.dumps(found) if options.json else page(found))


if __name__ == "__main__":
    main()
