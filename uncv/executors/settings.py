"""How tasks are handed out."""

from __future__ import annotations

from dataclasses import dataclass

from uncv.errors import ConfigError


@dataclass(frozen=True)
class TaskSettings:
    """How many tasks at a time, how often, and for how long.

    Parameters
    ----------
    workers : int
        Tasks that are done at the same time.
    retries : int
        How often a task is begun again whose worker died, or that failed for a transient reason.
    task_timeout_s : float, optional
        A task that takes longer has its worker killed.
    wall_time_s : float, optional
        No task is begun when less of this time is left than the longest took so far.

    Raises
    ------
    ConfigError
        If a number is not positive, or retries is negative.
    """

    workers: int = 1
    retries: int = 1
    task_timeout_s: float | None = None
    wall_time_s: float | None = None

    def __post_init__(self) -> None:
        times = [time for time in (self.task_timeout_s, self.wall_time_s) if time is not None]
        if self.workers < 1 or self.retries < 0 or not all(time > 0 for time in times):
            raise ConfigError(f"{self}: workers and times must be positive, retries not negative")
