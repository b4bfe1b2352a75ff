"""Labels by workers: the same as by the oracle alone, and a bad frame costs one label."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest

from uncv.data import Dataset, concatenate
from uncv.errors import ConfigError, OracleError, WallTimeReached
from uncv.executors import InProcessExecutor, TaskRunner, TaskSettings, process_pool
from uncv.labelling import LabelTask, label_frames, label_tasks, lost_labels
from uncv.oracles import FrameOracle, Labels, OpenMMForceField

STIFFNESS = 2.0  # eV/Å²


class Spring(FrameOracle):
    """Each atom on a spring to the origin; of frames marked by the first atom's x, strange ones.

    Near 100 Å no convergence, near 200 Å the worker is killed, near 300 Å it never ends, near
    400 Å only a batch fails.
    """

    def __init__(self):
        super().__init__("springs")

    def compute(self, frame: Dataset) -> Labels:
        x, mark = frame.positions[0], round(frame.positions[0, 0, 0] / 100)
        if mark == 1:
            raise OracleError("no convergence")
        if mark == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if mark == 3:
            time.sleep(60)
        stress = np.eye(3) * x.sum() if len(x) == 3 else None  # of water only
        return Labels(0.5 * STIFFNESS * float((x**2).sum()), -STIFFNESS * x, stress)

    def label(self, frames: Dataset) -> Dataset:
        if len(frames) > 1 and (frames.positions[:, 0, 0] > 350).any():
            raise ValueError("one frame spoils the batch")
        return super().label(frames)


@pytest.fixture(scope="module")
def pool():
    with process_pool(2) as opened:
        yield opened


@pytest.fixture
def runner(pool):
    return TaskRunner(pool, TaskSettings(workers=2, retries=1, task_timeout_s=4.0))


def frames(**marks: int) -> Dataset:
    """Methanol, ammonia, two waters: padded. Marks move the first atom, f2=3 of frame 2 by 300."""
    import tiny  # here: workers read this file too, and need none of it

    made = concatenate([tiny.mixed(), tiny.frames("H2O", 1, seed=5)])
    made = made.with_info(walker=np.arange(len(made)))
    for name, mark in marks.items():
        made.positions[int(name[1:]), 0, 0] = 100.0 * mark
    return made


def assert_same(found: Dataset, expected: Dataset) -> None:
    for name in ("numbers", "positions", "cell", "pbc", "energy", "forces", "stress"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
    assert set(found.info) == set(expected.info)
    for name, column in expected.info.items():
        assert found.info[name].tolist() == column.tolist(), name


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_labels_are_those_of_the_oracle(runner, size):
    given = frames(f1=1)
    found = label_frames(Spring(), given, runner, size)
    assert_same(found, Spring().label(given))
    assert found.info["label_error"].tolist() == ["", "OracleError: no convergence", "", "", ""]


def test_no_frame_is_no_task(runner):
    assert_same(label_frames(Spring(), frames()[:0], runner), Spring().label(frames()[:0]))


def test_a_real_oracle_gives_the_same_numbers_in_another_process(runner, alanine, rng):
    noise = rng.normal(size=(4, *alanine.start.positions.shape[1:]))
    given = Dataset(alanine.start.numbers[0], alanine.start.positions + 0.03 * noise)
    oracle = OpenMMForceField(alanine.topology, "amber14-all.xml")
    expected = oracle.label(given)
    assert_same(label_frames(oracle, given, runner, 2), expected)
    assert expected.has("forces")


@pytest.mark.parametrize("size", [1, 3])
def test_a_frame_that_kills_its_worker_costs_one_label(runner, size):
    given = frames(f1=2, f3=1)
    found = label_frames(Spring(), given, runner, size)
    good = [0, 2, 4]
    assert_same(found[good], Spring().label(given[good]))
    reasons = found.info["label_error"]
    assert reasons[1].startswith("the worker process died by SIGKILL")
    assert reasons[1].endswith("(begun 2 times)")
    assert reasons[3] == "OracleError: no convergence"
    assert np.isnan(found.energy[[1, 3]]).all()
    assert np.isnan(found.forces[1]).all()
    assert found.info["level_of_theory"].tolist() == ["springs"] * 5
    assert found.info["walker"].tolist() == [0, 1, 2, 3, 4]


def test_a_frame_that_never_ends_costs_one_label(pool):
    runner = TaskRunner(pool, TaskSettings(workers=2, retries=0, task_timeout_s=1.0))
    found = label_frames(Spring(), frames(f2=3), runner, 5)
    assert (found.info["label_error"] != "").tolist() == [False, False, True, False, False]
    assert "the time limit of a task" in found.info["label_error"][2]


def test_where_only_the_batch_fails_every_frame_is_labelled(runner):
    given = frames(f2=4)
    found = label_frames(Spring(), given, runner, 4)
    assert found.has("forces")
    np.testing.assert_allclose(found.energy[2], 0.5 * STIFFNESS * (given.positions[2] ** 2).sum())


def test_what_is_finished_is_told_at_once():
    seen, counts = [], []
    runner = TaskRunner(InProcessExecutor())
    label_frames(
        Spring(),
        frames(f2=4),
        runner,
        2,
        progress=lambda *n: counts.append(n),
        each=lambda places, answer: seen.append((places.tolist(), answer.info["walker"].tolist())),
    )
    assert seen == [([0, 1], [0, 1]), ([4], [4]), ([2], [2]), ([3], [3])]
    assert counts == [(2, 5), (3, 5), (4, 5), (5, 5)]


def test_when_the_time_is_up_what_is_finished_was_told():
    clock = [0.0]

    class Slow(Spring):
        def compute(self, frame):
            clock[0] += 3.0
            return super().compute(frame)

    runner = TaskRunner(InProcessExecutor(), TaskSettings(wall_time_s=10.0), lambda: clock[0])
    seen = []
    with pytest.raises(WallTimeReached, match=r"2 tasks are not begun.*run again to continue"):
        label_frames(Slow(), frames(), runner, each=lambda places, _: seen.append(places[0]))
    assert seen == [0, 1, 2]


def test_tasks_are_cut_in_order():
    tasks = label_tasks(Spring(), frames(), 2)
    assert [len(task.frames) for task in tasks] == [2, 2, 1]
    assert isinstance(tasks[0], LabelTask)
    assert_same(concatenate([task() for task in tasks]), Spring().label(frames()))
    with pytest.raises(ConfigError, match="labels_per_task is 0; give a positive number"):
        label_tasks(Spring(), frames(), 0)


def test_lost_labels_say_why():
    lost = lost_labels(frames()[:2], "node lost", "GFN2-xTB")
    assert lost.info["label_error"].tolist() == ["node lost"] * 2
    assert lost.info["level_of_theory"].tolist() == ["GFN2-xTB"] * 2
    assert np.isnan(lost.energy).all()
    assert lost.stress is None
