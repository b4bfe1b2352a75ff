"""Who does the tasks of a campaign: this process, or the workers of an executor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from uncv.config.execution import ExecutionConfig
from uncv.errors import CampaignError, WallTimeReached
from uncv.executors import Done, Failed, TaskRunner, open_runner

Share = Callable[[float], None]


class Work:
    """Does tasks and gives their results in order.

    Parameters
    ----------
    runner : TaskRunner, optional
        Hands tasks to workers. Without, they are done here one after the other: what they raise is
        raised, and the progress within each is told.
    wall_time_s : float, optional
        Without a runner: no task is begun when less is left than the longest took so far.
    """

    def __init__(self, runner: TaskRunner | None = None, wall_time_s: float | None = None) -> None:
        self.runner = runner
        self.wall_time_s = wall_time_s
        self._opened = time.monotonic()
        self._longest = 0.0

    def each(
        self, tasks: Sequence[Callable[..., Any]], share: Share = lambda done: None
    ) -> list[Done[Any] | Failed]:
        """Return what came of each task, in their order.

        Parameters
        ----------
        tasks : sequence of callable
            Each is called with a function to tell its progress to, or without.
        share : callable
            Told how much is done of all of them, 0 to 1.

        Raises
        ------
        WallTimeReached
            If the time left does not suffice for another task.
        """
        if self.runner is not None:
            return self.runner.run(tasks, lambda done, total: share(done / total))
        return [
            Done(self._do(task, _part(share, number, len(tasks))))
            for number, task in enumerate(tasks)
        ]

    def _do(self, task: Callable[..., Any], share: Share) -> Any:
        begun = time.monotonic()
        if self.wall_time_s is not None:
            left = self.wall_time_s - (begun - self._opened)
            if left <= self._longest:
                raise WallTimeReached(
                    f"{left:.0f} s of wall time are left and the longest task took "
                    f"{self._longest:.0f} s; what is finished is kept, run again to continue"
                )
        value = task(share)
        self._longest = max(self._longest, time.monotonic() - begun)
        return value


@contextmanager
def open_work(given: ExecutionConfig, directory: Path) -> Iterator[Work]:
    """Open what a configuration asks for, until it is left.

    With overlapping stages there is always a runner, even in this process.

    Raises
    ------
    DependencyError, ExecutionError, ConfigError
        If the workers cannot be had.
    """
    if given.kind == "in_process" and given.mode == "synchronous":
        yield Work(wall_time_s=given.wall_time_s)
        return
    with open_runner(given, directory) as runner:
        yield Work(runner)


def values_of(results: Sequence[Done[Any] | Failed], name: str) -> list[Any]:
    """Return the values of tasks that must all succeed.

    Raises
    ------
    CampaignError
        If one failed.
    """
    failed = [r for r in results if isinstance(r, Failed)]
    if failed:
        raise CampaignError(
            f"{len(failed)} of {len(results)} tasks of {name} failed (first: {failed[0].reason}); "
            "correct the cause and run again to continue"
        )
    return [r.value for r in results if isinstance(r, Done)]


def _part(share: Share, number: int, total: int) -> Share:
    return lambda done: share((number + done) / total)
