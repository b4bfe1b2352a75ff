"""The executor that a configuration asks for, open for as long as a campaign runs."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from uncv.config.execution import ExecutionConfig
from uncv.errors import DependencyError
from uncv.executors.in_process import InProcessExecutor
from uncv.executors.pool import process_pool
from uncv.executors.runner import TaskRunner
from uncv.executors.settings import TaskSettings
from uncv.importing import load_object

if TYPE_CHECKING:
    from uncv.executors.parsl_pool import ParslExecutor


@contextmanager
def open_executor(given: ExecutionConfig, directory: str | Path) -> Iterator[Executor]:
    """Open an executor; when it is left, its workers are ended, whatever they are at.

    Parameters
    ----------
    given : ExecutionConfig
        Which, and how many workers.
    directory : path-like
        The run directory; Parsl writes its logs below ``parsl`` in it.

    Raises
    ------
    DependencyError
        If Parsl is asked for and not installed.
    ExecutionError
        If Parsl does not start.
    ConfigError
        If parsl_config names nothing that can be loaded.
    """
    if given.kind == "in_process":
        yield InProcessExecutor(given.threads_per_worker)
        return
    executor = (
        process_pool(given.workers, given.threads_per_worker)
        if given.kind == "process_pool"
        else _parsl(given, Path(directory) / "parsl")
    )
    try:
        yield executor
    finally:
        executor.kill()


@contextmanager
def open_runner(given: ExecutionConfig, directory: str | Path) -> Iterator[TaskRunner]:
    """Open an executor and return what hands tasks to it; the wall time counts from here.

    Raises
    ------
    DependencyError, ExecutionError, ConfigError
        As `open_executor`.
    """
    settings = TaskSettings(given.workers, given.retries, given.task_timeout_s, given.wall_time_s)
    with open_executor(given, directory) as executor:
        yield TaskRunner(executor, settings)


def _parsl(given: ExecutionConfig, run_dir: Path) -> ParslExecutor:
    try:
        from uncv.executors.parsl_pool import ParslExecutor, local_config
    except ImportError as error:
        raise DependencyError(
            f"the execution kind parsl needs Parsl ({error}); run: pip install 'uncv[clusters]'"
        ) from error
    threads = given.threads_per_worker
    if given.parsl_config is None:
        return ParslExecutor(partial(local_config, run_dir, given.workers, threads), threads)
    return ParslExecutor(partial(load_object(given.parsl_config), str(run_dir)), threads)
