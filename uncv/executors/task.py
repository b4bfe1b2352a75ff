"""A task in the worker that does it, and what comes of it."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any, Generic, TypeVar

from uncv.errors import CampaignError
from uncv.executors.threads import limit_threads

T = TypeVar("T")


@dataclass(frozen=True)
class Done(Generic[T]):
    """A task that came to its end, and what it returned."""

    value: T

    def result(self) -> T:
        """Return the value."""
        return self.value


@dataclass(frozen=True)
class Failed:
    """A task that did not.

    Attributes
    ----------
    reason : str
        Why.
    lost : bool
        Whether its worker died of it, or was stopped because it took too long.
    error : Exception or None
        What it raised.
    """

    reason: str
    lost: bool = False
    error: Exception | None = None

    def result(self) -> Any:
        """Raise what the task raised, or a CampaignError with the reason."""
        raise self.error or CampaignError(self.reason)


def do_task(task: Callable[[], T], limit_s: float | None) -> T:
    """Do a task in a worker; at the limit the system ends the process, whatever it is at.

    A timer of the system works where Python is not asked, as in compiled code that never returns.
    """
    if limit_s is not None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        return task()
    except Exception as error:
        if _travels(error):
            raise
        told = f"{type(error).__name__}: {error}"
    finally:
        if limit_s is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
    raise RuntimeError(told)  # here, so that it does not take the other one along as its context


def _travels(error: Exception) -> bool:
    """Whether an exception survives the way to another process, if there is one to go."""
    if multiprocessing.parent_process() is None:
        return True
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - made in the same line
    except Exception:  # noqa: BLE001 - whatever goes wrong, it cannot be sent
        return False
    return True


_begun = threading.Event()


def begin_worker(threads: int) -> None:
    """Prepare a worker process, once: its threads, and that it ends with its parent.

    The worker leads a process group of its own: Ctrl-C in a terminal is for the campaign alone, and
    programs that a task has started can be ended together with it.
    """
    if _begun.is_set():
        return
    _begun.set()
    limit_threads(threads)
    parent = multiprocessing.parent_process()
    if parent is not None:
        os.setpgid(0, 0)
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os.killpg(0, signal.SIGKILL)
