"""Tasks by every executor: order, exceptions, threads, workers that die or hang; and the clock."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, suppress
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from uncv.config.execution import ExecutionConfig
from uncv.errors import ConfigError, ExecutionError, WallTimeReached, WorkerDied
from uncv.executors import (
    Done,
    Failed,
    InProcessExecutor,
    TaskRunner,
    TaskSettings,
    open_executor,
    open_runner,
    process_pool,
)

KINDS = [
    "in_process",
    "process_pool",
    pytest.param("parsl", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Open an executor of a kind, once, with two workers where it has any."""
    known = {}
    with ExitStack() as stack:

        def get(kind):
            if kind not in known:
                given = ExecutionConfig(kind=kind, workers=1 if kind == "in_process" else 2)
                folder = tmp_path_factory.mktemp("run")
                known[kind] = stack.enter_context(open_executor(given, folder))
            return known[kind]

        yield get


@pytest.fixture(params=KINDS)
def executor(request, opened):
    """Each kind."""
    return opened(request.param)


@pytest.fixture(params=KINDS[1:])
def workers(request, opened):
    """Those with processes of their own."""
    return opened(request.param)


@pytest.fixture(scope="module")
def pool():
    with process_pool(2) as opened:
        yield opened


def square(x):
    time.sleep(0.02 * (3 - x % 4))  # the later ones of four are done first
    return x * x


def threads_seen():
    """Threads of torch, and of each library that threadpoolctl knows."""
    import torch
    from threadpoolctl import threadpool_info

    return torch.get_num_threads(), {library["num_threads"] for library in threadpool_info()}


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(path, generations=0):
    """Kill this process, its parent or grandparent, unless that was done before."""
    if Path(path).exists():
        return "well"
    Path(path).touch()
    time.sleep(0.1)
    victim = os.getpid()
    for _ in range(generations):
        status = Path(f"/proc/{victim}/status").read_text()
        victim = int(re.search(r"PPid:\s+(\d+)", status)[1])
    os.kill(victim, signal.SIGKILL)
    return time.sleep(60)


def hang_in_c():
    """Sleep in compiled code that never gives Python a chance: PyDLL keeps the interpreter lock."""
    ctypes.PyDLL(None).sleep(60)


def fail_once(path, error):
    if not Path(path).exists():
        Path(path).touch()
        raise error
    return "well"


class Stubborn(Exception):
    """Pickles, and cannot be read back."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def raise_stubborn():
    raise Stubborn(1, 2)


def gone(number):
    """Whether a process is no more (a zombie that nobody has waited for counts as gone)."""
    try:
        return "(zombie)" in Path(f"/proc/{number}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(true, seconds):
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    assert true()


# Every executor


def test_results_come_in_the_order_of_the_tasks(executor):
    counts = []
    runner = TaskRunner(executor, TaskSettings(workers=2))
    found = runner.run([partial(square, x) for x in range(9)], lambda *n: counts.append(n))
    assert found == [Done(x * x) for x in range(9)]
    assert counts == sorted(counts)
    assert counts[-1] == (9, 9)


def test_an_exception_fails_its_task_alone_and_is_not_tried_again(executor, tmp_path):
    tasks = [
        partial(square, 2),
        partial(fail_once, tmp_path / "f", ValueError("no\nconvergence")),
        partial(square, 3),
    ]
    first, second, third = TaskRunner(executor, TaskSettings(retries=3)).run(tasks)
    assert (first, third) == (Done(4), Done(9))
    assert (second.reason, second.lost) == ("ValueError: no convergence", False)
    with pytest.raises(ValueError, match="convergence"):
        second.result()
    assert first.result() == 4


def test_a_transient_error_is_tried_again(executor, tmp_path):
    tasks = [partial(fail_once, tmp_path / "f", ConnectionError("reset"))]
    assert TaskRunner(executor, TaskSettings(retries=1)).run(tasks) == [Done("well")]
    tasks = [partial(fail_once, tmp_path / "g", ConnectionError("reset"))]
    (failed,) = TaskRunner(executor, TaskSettings(retries=0)).run(tasks)
    assert (failed.reason, failed.lost) == ("ConnectionError: reset", False)


def test_an_exception_that_cannot_travel_is_told_in_words(executor):
    (failed,) = TaskRunner(executor).run([raise_stubborn])
    assert failed.reason.endswith("Stubborn: 1 and 2")


def test_a_worker_has_its_share_of_threads(workers):
    (found,) = TaskRunner(workers).run([threads_seen])
    assert found == Done((1, {1}))


def test_numbers_are_the_same_bit_by_bit(executor):
    """A matrix product, whose sums depend on how they are divided among threads."""
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 150, 150))
    (found,) = TaskRunner(executor).run([partial(np.linalg.solve, a, b)])
    expected = InProcessExecutor(1).submit(np.linalg.solve, a, b).result()
    np.testing.assert_array_equal(found.value, expected)


# Workers that die or hang


def test_a_dead_worker_is_replaced_and_its_task_begun_again(workers, tmp_path):
    tasks = [partial(square, x) for x in range(4)]
    tasks.insert(1, partial(die_once, tmp_path / "f"))
    found = TaskRunner(workers, TaskSettings(workers=2)).run(tasks)
    assert [found[n] for n in (0, 2, 3, 4)] == [Done(x * x) for x in range(4)]
    assert found[1] == Done("well")


@pytest.mark.slow
@pytest.mark.parametrize("generations", [1, 2])
def test_parsl_is_mended_where_its_own_processes_die(opened, tmp_path, generations):
    """A worker of Parsl above the one that does the task, or the one that leads them all."""
    tasks = [partial(square, 2), partial(die_once, tmp_path / "f", generations), partial(square, 3)]
    found = TaskRunner(opened("parsl"), TaskSettings(workers=2, retries=0)).run(tasks)
    assert found == [Done(4), Done("well"), Done(9)]


def test_a_task_that_always_kills_its_worker_is_set_apart(workers):
    tasks = [die, *(partial(square, x) for x in range(4))]
    found = TaskRunner(workers, TaskSettings(workers=2, retries=1)).run(tasks)
    assert found[1:] == [Done(x * x) for x in range(4)]
    assert found[0].lost
    assert "worker" in found[0].reason
    assert found[0].reason.endswith("(begun 2 times)")
    with pytest.raises(Exception, match="begun 2 times"):
        found[0].result()


def test_a_task_that_hangs_loses_its_worker(workers):
    settings = TaskSettings(workers=2, retries=0, task_timeout_s=0.5)
    begun = time.monotonic()
    found = TaskRunner(workers, settings).run([hang_in_c, partial(square, 3)])
    assert time.monotonic() - begun < 20
    assert found[0].lost
    assert found[1] == Done(9)


def test_the_limit_of_one_task_does_not_reach_the_next(pool):
    runner = TaskRunner(pool, TaskSettings(task_timeout_s=0.3))
    assert runner.run([partial(square, 3)]) == [Done(9)]
    assert TaskRunner(pool).run([partial(time.sleep, 0.5)]) == [Done(None)]


@pytest.mark.parametrize(
    ("task", "says"),
    [
        (die, r"died by SIGKILL \(memory may have run out\) after .* s of the task"),
        (partial(os._exit, 3), "ended with exit code 3"),
        (partial(signal.raise_signal, signal.SIGSEGV), "died by SIGSEGV"),
    ],
)
def test_how_a_worker_of_a_pool_died(pool, task, says):
    with pytest.raises(WorkerDied, match=says):
        pool.submit(task).result()


def test_a_pool_says_when_a_task_took_too_long(pool):
    (failed,) = TaskRunner(pool, TaskSettings(retries=0, task_timeout_s=0.2)).run([hang_in_c])
    assert failed.reason.startswith("the worker process died by SIGALRM, the time limit of a task,")


def test_a_death_in_a_pool_costs_the_others_nothing(pool, tmp_path):
    """The other worker keeps its process, and its task is not begun again."""
    slow = pool.submit(partial(die_once, tmp_path / "f"))
    for future in [pool.submit(die) for _ in range(3)]:
        assert isinstance(future.exception(), WorkerDied)
    assert isinstance(slow.exception(), WorkerDied)
    assert (tmp_path / "f").exists()
    assert pool.submit(square, 3).result() == 9


class SharedPool(Executor):
    """A real pool in which the death of one process takes all tasks along, as a lost node does."""

    def __init__(self):
        self.inner = None

    def submit(self, fn, /, *args, **kwargs):
        self.inner = self.inner or ProcessPoolExecutor(2, mp_context=get_context("spawn"))
        inner, outer = self.inner.submit(fn, *args, **kwargs), Future()
        inner.add_done_callback(partial(self.pass_on, self.inner, outer))
        return outer

    def pass_on(self, pool, outer, inner):
        error = inner.exception()
        if isinstance(error, BrokenProcessPool):
            if self.inner is pool:
                self.inner = None
            outer.set_exception(WorkerDied("node lost", shared=True))
        elif error is not None:
            outer.set_exception(error)
        else:
            outer.set_result(inner.result())


def test_of_tasks_lost_together_the_one_to_blame_is_found():
    executor = SharedPool()
    runner = TaskRunner(executor, TaskSettings(workers=2, retries=0))
    found = runner.run([partial(square, 0), die, partial(time.sleep, 0.1), partial(square, 4)])
    assert [found[n] for n in (0, 2, 3)] == [Done(0), Done(None), Done(16)]
    assert found[1] == Failed("node lost", lost=True)
    if executor.inner is not None:
        executor.inner.shutdown()


def test_a_broken_pool_of_another_kind_is_an_error():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as plain:
        runner = TaskRunner(plain, TaskSettings(retries=1))
        with pytest.raises(ExecutionError, match=r"is of no use any more.*open_executor"):
            runner.run([die])


# The stream


def test_tasks_handed_in_are_polled_in_any_order(executor):
    runner = TaskRunner(executor, TaskSettings(workers=2))
    numbers = [runner.submit(partial(square, x)) for x in range(5)]
    found = {}
    while runner.running or runner.waiting:
        found.update(runner.poll(None))
    assert found == {numbers[x]: Done(x * x) for x in range(5)}
    assert runner.poll(None) == []


def test_a_poll_returns_in_time(pool):
    runner = TaskRunner(pool, TaskSettings(workers=1))
    number = runner.submit(partial(time.sleep, 0.6))
    begun = time.monotonic()
    assert runner.poll(0.1) == []
    assert 0.09 < time.monotonic() - begun < 0.5
    assert runner.poll() == []
    assert [f.number for f in runner.poll(None)] == [number]


def test_waiting_tasks_can_be_taken_back(pool):
    runner = TaskRunner(pool, TaskSettings(workers=1))
    first, second, third = (runner.submit(partial(square, x)) for x in (0, 2, 3))
    assert (runner.running, runner.waiting) == (1, 2)
    assert runner.cancel(second)
    assert not runner.cancel(second)
    assert not runner.cancel(first)
    found = dict(runner.poll(None)) | dict(runner.poll(None))
    assert found == {first: Done(0), third: Done(9)}


def test_a_worker_does_not_wait_for_the_next_poll(pool, tmp_path):
    runner = TaskRunner(pool, TaskSettings(workers=1))
    runner.submit(partial(square, 3))
    runner.submit(partial(Path.touch, tmp_path / "f"))
    assert [f.outcome for f in runner.poll(None)] == [Done(9)]
    wait_until((tmp_path / "f").exists, 10)


def test_a_run_leaves_what_was_handed_in_before_to_poll(executor):
    runner = TaskRunner(executor, TaskSettings(workers=2))
    early = runner.submit(partial(square, 7))
    assert runner.run([partial(square, 5), partial(square, 6)]) == [Done(25), Done(36)]
    assert runner.poll(None) == [(early, Done(49))]


# The clock


class Clock:
    """Seconds that pass only when a task lets them."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def spend(self, seconds):
        self.now += seconds
        return seconds


def test_no_task_begins_that_may_not_end():
    """After 7, 20, 5, 30, 5 and 5 s of 100 there are 28 left, and one task has taken 30."""
    clock = Clock()
    runner = TaskRunner(InProcessExecutor(), TaskSettings(wall_time_s=100.0), clock)
    lengths = [7, 20, 5, 30, 5, 5, 5, 5]
    kept = {}
    with pytest.raises(WallTimeReached, match=r"28 s of wall time are left.*took 30 s: 2 tasks"):
        runner.run([partial(clock.spend, s) for s in lengths], each=kept.__setitem__)
    assert kept == {n: Done(lengths[n]) for n in range(6)}
    assert runner.seconds_left == 28
    assert (runner.running, runner.waiting) == (0, 0)


def test_without_wall_time_nothing_ends():
    clock = Clock()
    runner = TaskRunner(InProcessExecutor(), clock=clock)
    assert runner.run([partial(clock.spend, 1e9)] * 2) == [Done(1e9)] * 2
    assert runner.seconds_left == float("inf")


def test_what_runs_is_waited_for_when_the_time_is_up(pool):
    """Two tasks of 0.4 s in 0.6 s: both are begun; the third is not."""
    settings = TaskSettings(workers=2, wall_time_s=0.6)
    TaskRunner(pool, settings).run([partial(time.sleep, 0.1)] * 2)  # both workers are there now
    runner = TaskRunner(pool, settings)
    for _ in range(3):
        runner.submit(partial(time.sleep, 0.4))
    found = []
    while len(found) < 2:
        found += runner.poll(None)
    assert [f.outcome for f in found] == [Done(None)] * 2
    with pytest.raises(WallTimeReached, match="1 tasks are not begun"):
        runner.poll(None)


# Settings and processes


@pytest.mark.parametrize(
    "wrong", [{"workers": 0}, {"retries": -1}, {"task_timeout_s": 0.0}, {"wall_time_s": -1.0}]
)
def test_settings_are_checked(wrong):
    with pytest.raises(ConfigError, match="must be positive, retries not negative"):
        TaskSettings(**wrong)


def test_this_process_cannot_be_killed_for_taking_too_long():
    with pytest.raises(ConfigError, match="a limit of time for tasks needs worker processes"):
        TaskRunner(InProcessExecutor(), TaskSettings(task_timeout_s=1.0))


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"workers": 2}, "in_process has one worker; found workers 2"),
        ({"task_timeout_s": 3.0}, "task_timeout_s needs workers"),
        ({"parsl_config": "a.py:b"}, "parsl_config is for the kind parsl; found kind in_process"),
    ],
)
def test_sections_that_do_not_fit_their_kind(section, says):
    with pytest.raises(ValueError, match=says):
        ExecutionConfig(**section)


def test_a_runner_takes_its_settings_from_the_section(tmp_path):
    given = ExecutionConfig(
        kind="process_pool", workers=3, retries=2, task_timeout_s=5.0, wall_time_s=60.0
    )
    with open_runner(given, tmp_path) as runner:
        assert runner.settings == TaskSettings(3, 2, 5.0, 60.0)
        assert 0 < runner.seconds_left <= 60.0


def test_in_process_tasks_run_at_once_and_keep_their_exceptions():
    with InProcessExecutor() as executor:
        assert list(executor.map(pow, [2, 3], [3, 2])) == [8, 9]
        with pytest.raises(ZeroDivisionError):
            executor.submit(divmod, 1, 0).result()


def test_pool_workers_are_other_processes_and_the_environment_is_as_before(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("OPENMM_CPU_THREADS", raising=False)
    with process_pool(1, threads=2) as pool:
        assert pool.submit(os.getenv, "OMP_NUM_THREADS").result() == "2"
        assert pool.submit(threads_seen).result()[0] == 2
        assert pool.submit(os.getpid).result() != os.getpid()
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "OPENMM_CPU_THREADS" not in os.environ


def test_a_pool_queues_what_its_workers_cannot_take():
    with process_pool(1) as pool:
        assert list(pool.map(square, range(6))) == [x * x for x in range(6)]


@pytest.mark.parametrize("numbers", [(0, 1), (1, 0)])
def test_pool_sizes_are_checked(numbers):
    with pytest.raises(ValueError, match="both must be at least 1"):
        process_pool(*numbers)


def test_what_a_worker_sends_must_be_readable(pool):
    """The pool's process is ended by the pool itself then; the reason is what matters."""
    with pytest.raises(WorkerDied, match="what the worker process sent cannot be read"):
        pool.submit(Stubborn, 1, 2).result()


def test_a_script_without_a_guard_is_told_so(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from uncv.executors import process_pool\n"
        "with process_pool(1) as pool: pool.submit(pow, 2, 3).result()\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "a worker process cannot start" in done.stderr
    assert "if __name__ == '__main__'" in done.stderr


# Nothing stays behind

SCRIPT = """
import subprocess, sys, time
from functools import partial
from uncv.config.execution import ExecutionConfig
from uncv.executors import open_runner

if __name__ == "__main__":
    kind, folder = sys.argv[1:]
    with open_runner(ExecutionConfig(kind=kind, workers=2), folder) as runner:
        for _ in range(2):
            runner.submit(partial(subprocess.run, ["sleep", "300"]))
        print("begun", flush=True)
        sys.stdin.readline()
"""


def marked(word):
    """Numbers of the processes that have a word in their environment, zombies aside."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and not gone(folder.name):
            try:
                inside = word.encode() in (folder / "environ").read_bytes()
            except (FileNotFoundError, PermissionError, ProcessLookupError):
                continue
            found += [int(folder.name)] if inside else []
    return found


def sleeping(word):
    """Those of them that are the program a task has started."""
    found = []
    for number in marked(word):
        with suppress(FileNotFoundError, ProcessLookupError):
            command = Path(f"/proc/{number}/cmdline").read_bytes()
            found += [number] if command.startswith(b"sleep") else []
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks into /proc")
@pytest.mark.parametrize("how", ["leaves", "is killed"])
@pytest.mark.parametrize("kind", KINDS[1:])
def test_no_process_outlives_the_campaign(kind, how, tmp_path):
    """Neither workers, nor Parsl's own, nor a program that a task was running."""
    script, word = tmp_path / "script.py", f"uncv-test-{os.getpid()}-{time.monotonic_ns()}"
    script.write_text(SCRIPT)
    campaign = subprocess.Popen(
        [sys.executable, script, kind, tmp_path],
        env={**os.environ, "UNCV_TEST": word},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with campaign:
        assert campaign.stdout.readline() == "begun\n"
        wait_until(lambda: len(sleeping(word)) == 2, 60)
        if how == "is killed":
            campaign.kill()
        else:
            campaign.stdin.write("\n")
    wait_until(lambda: not marked(word), 40)
