"""Worker processes on this machine, each replaced when it dies."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from concurrent.futures import ThreadPoolExecutor as Hands
from contextlib import suppress
from multiprocessing.process import BaseProcess
from queue import LifoQueue
from typing import Any

from uncv.errors import ExecutionError, WorkerDied
from uncv.executors.task import begin_worker
from uncv.executors.threads import thread_environment

_STARTING = threading.Lock()
"""Processes start one at a time: they take over the environment of this one."""


class WorkerPool(Executor):
    """Fresh processes; one that dies costs the task it was at, raises there, and is replaced.

    A `ProcessPoolExecutor` loses the tasks of all its workers with one of them, and is of no use
    afterwards. Here each worker is such a pool of its own, so the task to blame is known.

    Parameters
    ----------
    workers : int
        Number of processes; each starts with its first task.
    threads : int
        Threads of torch, BLAS and OpenMM in each.
    """

    def __init__(self, workers: int, threads: int = 1) -> None:
        if workers < 1 or threads < 1:
            raise ValueError(f"workers={workers}, threads={threads}: both must be at least 1")
        self._workers = [_Worker(threads) for _ in range(workers)]
        self._idle: LifoQueue[_Worker] = LifoQueue()  # the one that worked last is warm
        for worker in reversed(self._workers):
            self._idle.put(worker)
        self._hands = Hands(workers, thread_name_prefix="uncv-worker")

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Return the future of a task; it raises `WorkerDied` if the task kills its worker."""
        return self._hands.submit(self._do, fn, args, kwargs)

    def _do(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        worker = self._idle.get()
        try:
            return worker.do(fn, args, kwargs)
        finally:
            self._idle.put(worker)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for the tasks and end the processes."""
        self._hands.shutdown(wait=wait, cancel_futures=cancel_futures)
        for worker in self._workers:
            worker.close()

    def kill(self) -> None:
        """End all processes at once; what they are at is lost."""
        self._hands.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.kill()
        self._hands.shutdown(wait=True)


def process_pool(workers: int, threads: int = 1) -> WorkerPool:
    """Return a pool of fresh processes, each limited to its share of threads.

    Two processes with two torch threads each on two cores run ten times slower than with one, so
    the number of threads is fixed before torch starts in a worker.

    Parameters
    ----------
    workers : int
        Number of processes.
    threads : int
        Threads of torch, BLAS and OpenMM in each.

    Raises
    ------
    ValueError
        If one of the numbers is not positive.
    """
    return WorkerPool(workers, threads)


class _Worker:
    """One process, started when it is needed."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool: ProcessPoolExecutor | None = None
        self._process: BaseProcess | None = None
        self._ended = threading.Event()

    def do(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        pool = self._pool or self._start()
        begun = time.monotonic()
        try:
            return pool.submit(fn, *args, **kwargs).result()
        except BrokenExecutor as error:
            seconds = time.monotonic() - begun
            raise WorkerDied(f"{self._bury(error)} after {seconds:.3g} s of the task") from None

    def close(self) -> None:
        """End the process when it is done."""
        if self._pool is not None:
            self._pool.shutdown()

    def kill(self) -> None:
        """End the process and all that it started; it is not replaced."""
        with _STARTING:
            self._ended.set()
            if self._process is not None:
                _kill_group(self._process)

    def _start(self) -> ProcessPoolExecutor:
        pool = ProcessPoolExecutor(
            1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=begin_worker,
            initargs=(self.threads,),
        )
        with _STARTING:
            if self._ended.is_set():
                raise WorkerDied("the workers were ended")
            with thread_environment(self.threads):
                first = pool.submit(os.getpid)
        try:
            pid = first.result()
        except BrokenExecutor as error:
            raise ExecutionError(
                "a worker process cannot start; see what it says on standard error, and write "
                "what a script does below  if __name__ == '__main__':"
            ) from error
        with _STARTING:
            self._pool = pool
            self._process = next(p for p in multiprocessing.active_children() if p.pid == pid)
            if self._ended.is_set():
                _kill_group(self._process)
        return pool

    def _bury(self, error: BrokenExecutor) -> str:
        """Forget the dead process and return how it died."""
        process, pool = self._process, self._pool
        self._process = self._pool = None
        if pool is not None:
            pool.shutdown()
        if process is None:
            return f"the worker process died ({error})"
        _kill_group(process)
        process.join()
        if process.exitcode == -signal.SIGTERM and error.__cause__ is not None:
            return f"what the worker process sent cannot be read ({error.__cause__})"
        return f"the worker process {_end_of(process)}"


def _kill_group(process: BaseProcess) -> None:
    """End a worker and the programs it has started."""
    process.kill()
    if process.pid is not None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _end_of(process: BaseProcess) -> str:
    code = process.exitcode
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name
    meaning = {
        "SIGALRM": ", the time limit of a task,",
        "SIGKILL": " (memory may have run out)",
    }
    return f"died by {name}{meaning.get(name, '')}"
