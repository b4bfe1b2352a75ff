"""Where the work of a campaign runs: behind the interface of `concurrent.futures.Executor`."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENMM_CPU_THREADS")


class InProcessExecutor(Executor):
    """Runs each task at once, in the caller's process and thread.

    Examples
    --------
    >>> with InProcessExecutor() as executor:
    ...     executor.submit(pow, 2, 5).result()
    32
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run the task and return its finished future; an exception is kept for ``result()``."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - the future carries it to the caller
            future.set_exception(error)
        return future


def process_pool(workers: int, threads: int = 1) -> ProcessPoolExecutor:
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
    if workers < 1 or threads < 1:
        raise ValueError(f"workers={workers}, threads={threads}: both must be at least 1")
    return ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=limit_threads,
        initargs=(threads,),
    )


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Let torch use this many threads for a while.

    For small molecules one is quickest, and results are the same bit by bit.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def limit_threads(threads: int) -> None:
    """Let torch, BLAS and OpenMM use this many threads in the present process."""
    for name in _THREAD_VARIABLES:
        os.environ[name] = str(threads)
    import torch

    torch.set_num_threads(threads)
