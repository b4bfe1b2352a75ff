"""Tasks done at once, by whoever hands them in."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import nullcontext
from typing import Any

from uncv.executors.threads import torch_threads


class InProcessExecutor(Executor):
    """Runs each task at once, in the caller's process and thread.

    Parameters
    ----------
    threads : int, optional
        Threads of torch during a task; by default as many as it uses already.

    Examples
    --------
    >>> with InProcessExecutor() as executor:
    ...     executor.submit(pow, 2, 5).result()
    32
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run the task and return its finished future; an exception is kept for ``result()``."""
        future: Future[Any] = Future()
        try:
            with nullcontext() if self.threads is None else torch_threads(self.threads):
                future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - the future carries it to the caller
            future.set_exception(error)
        return future
