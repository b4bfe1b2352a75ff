"""Hands tasks to workers, and sees to it that a bad one costs itself alone."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass
from typing import Any, NamedTuple

from uncv.errors import ConfigError, ExecutionError, WallTimeReached, WorkerDied
from uncv.executors.in_process import InProcessExecutor
from uncv.executors.settings import TaskSettings
from uncv.executors.task import Done, Failed, do_task

TRANSIENT = (OSError,)
"""What may not happen again: full disks, lost connections, time-outs (all of them OSError)."""


class Finished(NamedTuple):
    """What came of a task, and the number that `TaskRunner.submit` gave it."""

    number: int
    outcome: Done[Any] | Failed


@dataclass(eq=False)
class _Task:
    number: int
    call: Callable[[], Any]
    retries: int
    failures: int = 0
    alone: bool = False
    begun: float = 0.0


class TaskRunner:
    """Does tasks by an executor, a few at a time, and says of each what came of it.

    A task whose worker dies, or that takes too long, is begun again on another one, and in the end
    set apart. Where several tasks were lost together, they are repeated one at a time to find the
    one that is to blame; the others are not held against.

    Parameters
    ----------
    executor : concurrent.futures.Executor
        What `open_executor` gives.
    settings : TaskSettings
        How.
    clock : callable
        Seconds; the wall time counts from now.

    Raises
    ------
    ConfigError
        If tasks have a limit of time and are done in this process, which cannot be killed.

    Examples
    --------
    >>> from functools import partial
    >>> runner = TaskRunner(InProcessExecutor())
    >>> runner.run([partial(pow, 2, 5), partial(divmod, 1, 0)])[0]
    Done(value=32)
    """

    def __init__(
        self,
        executor: Executor,
        settings: TaskSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings or TaskSettings()
        if self.settings.task_timeout_s is not None and isinstance(executor, InProcessExecutor):
            raise ConfigError(
                "a limit of time for tasks needs worker processes; use process_pool or parsl, or "
                "leave it out"
            )
        self._executor = executor
        self._clock = clock
        self._opened = clock()
        self._longest = 0.0
        self._count = 0
        self._waiting: deque[_Task] = deque()
        self._suspects: deque[_Task] = deque()
        self._running: dict[Future[Any], _Task] = {}
        self._finished: list[Finished] = []

    @property
    def seconds_left(self) -> float:
        """What is left of the wall time; infinite if there is none."""
        limit = self.settings.wall_time_s
        return float("inf") if limit is None else limit - (self._clock() - self._opened)

    @property
    def waiting(self) -> int:
        """Tasks that are not begun."""
        return len(self._waiting) + len(self._suspects)

    @property
    def running(self) -> int:
        """Tasks that are being done."""
        return len(self._running)

    def run(
        self,
        tasks: Sequence[Callable[[], Any]],
        progress: Callable[[int, int], None] | None = None,
        *,
        retries: int | None = None,
        each: Callable[[int, Done[Any] | Failed], None] | None = None,
    ) -> list[Done[Any] | Failed]:
        """Do all tasks and return what came of them, in their order.

        Parameters
        ----------
        tasks : sequence of callable
            Called without arguments; they pickle.
        progress : callable, optional
            Told how many are finished, and how many there are.
        retries : int, optional
            Instead of that of the settings.
        each : callable, optional
            Told the index and the outcome of each task as it finishes, in any order.

        Raises
        ------
        WallTimeReached
            If the time left does not suffice for all; ``each`` has been told what is finished.
        ExecutionError
            If the executor is of no use.
        """
        first = self._count
        for task in tasks:
            self._add(task, retries)
        outcomes: dict[int, Done[Any] | Failed] = {}
        try:
            while len(outcomes) < len(tasks):
                for number, outcome in self._collect(range(first, first + len(tasks)), None):
                    outcomes[number - first] = outcome
                    if each is not None:
                        each(number - first, outcome)
                if progress is not None:
                    progress(len(outcomes), len(tasks))
        finally:
            for number in range(first, first + len(tasks)):
                self.cancel(number)
        return [outcomes[n] for n in range(len(tasks))]

    def submit(self, task: Callable[[], Any]) -> int:
        """Hand in a task, begin it if a worker is free, and return its number for `poll`."""
        number = self._add(task, None)
        self._begin()
        return number

    def poll(self, timeout_s: float | None = 0.0) -> list[Finished]:
        """Return what has finished since the last time.

        Parameters
        ----------
        timeout_s : float, optional
            How long to wait for a first one if there is none yet; None as long as it takes.

        Raises
        ------
        WallTimeReached
            If nothing is being done any more, and the time left is too short for what waits.
        ExecutionError
            If the executor is of no use.
        """
        return self._collect(None, timeout_s)

    def cancel(self, number: int) -> bool:
        """Take back a task that is not begun; return whether it was one."""
        for queue in (self._waiting, self._suspects):
            for task in queue:
                if task.number == number:
                    queue.remove(task)
                    return True
        return False

    def _add(self, call: Callable[[], Any], retries: int | None) -> int:
        number, self._count = self._count, self._count + 1
        allowed = self.settings.retries if retries is None else retries
        self._waiting.append(_Task(number, call, allowed))
        return number

    def _collect(self, wanted: range | None, timeout_s: float | None) -> list[Finished]:
        """Return what has finished of the tasks wanted; what others there are stays for later."""
        until = None if timeout_s is None else self._clock() + timeout_s
        while True:
            self._begin()
            left = None if until is None else max(0.0, until - self._clock())
            self._await(0.0 if self._ready(wanted) else left)
            found = self._ready(wanted)
            if found:
                if not isinstance(self._executor, InProcessExecutor):
                    self._begin()  # nobody idles until the next call
                taken = {finished.number for finished in found}
                self._finished = [f for f in self._finished if f.number not in taken]
                return found
            if not self._running and self.waiting and not self._time_left():
                raise WallTimeReached(
                    f"{self.seconds_left:.0f} s of wall time are left and the longest task took "
                    f"{self._longest:.0f} s: {self.waiting} tasks are not begun; what is finished "
                    "is kept, run again to continue"
                )
            if not (self._running or self.waiting) or (left is not None and left <= 0.0):
                return []

    def _ready(self, wanted: range | None) -> list[Finished]:
        return [f for f in self._finished if wanted is None or f.number in wanted]

    def _time_left(self) -> bool:
        return self.seconds_left > self._longest

    def _begin(self) -> None:
        """Give workers that are free something to do, a suspect only if all are."""
        while self._time_left():
            alone = any(task.alone for task in self._running.values())
            if self._suspects and not self._running:
                task = self._suspects.popleft()
            elif self._suspects or alone or not self._waiting or self._full():
                return
            else:
                task = self._waiting.popleft()
            task.begun = self._clock()
            try:
                future = self._executor.submit(do_task, task.call, self.settings.task_timeout_s)
            except BrokenExecutor as error:
                raise _useless(error) from error
            self._running[future] = task

    def _full(self) -> bool:
        return len(self._running) >= self.settings.workers

    def _await(self, timeout_s: float | None) -> None:
        if not self._running:
            return
        done, _ = wait(self._running, timeout_s, return_when=FIRST_COMPLETED)
        for future in sorted(done, key=lambda future: self._running[future].number):
            task = self._running.pop(future)
            self._longest = max(self._longest, self._clock() - task.begun)
            self._settle(task, future)

    def _settle(self, task: _Task, future: Future[Any]) -> None:
        """Decide what becomes of a task that has come back."""
        error = future.exception()
        if error is None:
            self._finish(task, Done(future.result()))
        elif isinstance(error, BrokenExecutor):
            raise _useless(error) from error
        elif isinstance(error, ExecutionError) or not isinstance(error, Exception):
            raise error
        elif isinstance(error, WorkerDied) and error.shared and not task.alone:
            task.alone = True
            self._suspects.append(task)
        elif isinstance(error, (WorkerDied, *TRANSIENT)):
            self._fail(task, error)
        else:
            self._finish(task, Failed(_words(error), error=error))

    def _fail(self, task: _Task, error: Exception) -> None:
        """Begin a task again, or set it apart."""
        task.failures += 1
        if task.failures <= task.retries:
            (self._suspects if task.alone else self._waiting).appendleft(task)
            return
        lost = isinstance(error, WorkerDied)
        times = f" (begun {task.failures} times)" if task.failures > 1 else ""
        self._finish(task, Failed(_words(error) + times, lost, None if lost else error))

    def _finish(self, task: _Task, outcome: Done[Any] | Failed) -> None:
        self._finished.append(Finished(task.number, outcome))


def _words(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, WorkerDied) else f"{type(error).__name__}: {text}"


def _useless(error: BrokenExecutor) -> ExecutionError:
    return ExecutionError(
        f"the executor is of no use any more ({error}); open one by open_executor, which replaces "
        "workers that die"
    )
