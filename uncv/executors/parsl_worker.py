"""What Parsl's workers run: each task in a process below, so that none of them dies of it."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import threading
from functools import cache
from typing import Any

from uncv.executors.pool import WorkerPool


def supervise(task: bytes, threads: int, campaign_group: int) -> bytes:
    """Do a task in a process below Parsl's worker, and return what came of it as a pickle.

    Parsl's workers share locks, which one that is killed takes along, and Parsl waits for ever
    after an answer that it cannot read. So no task is done in them, and all they see are bytes.

    Parameters
    ----------
    task : bytes
        A callable without arguments, pickled.
    threads : int
        Of torch, BLAS and OpenMM in the process below.
    campaign_group : int
        The process group of the campaign, which is left alone when Parsl's own are ended.
    """
    try:
        return _below(threads, campaign_group).submit(_do_pickled, task).result()
    except Exception as error:  # noqa: BLE001 - goes to the caller
        return pickle.dumps((None, error))


@cache
def _below(threads: int, campaign_group: int) -> WorkerPool:
    """Return the process below, once; all that Parsl has started here ends with its manager."""
    manager = multiprocessing.parent_process()
    if manager is not None:
        given = (manager.sentinel, campaign_group)
        threading.Thread(target=_end_block_with, args=given, daemon=True).start()
    return WorkerPool(1, threads)


def _end_block_with(sentinel: int, campaign_group: int) -> None:
    multiprocessing.connection.wait([sentinel])
    if os.getpgrp() != campaign_group:
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _do_pickled(task: bytes) -> bytes:
    answer: tuple[Any, Exception | None]
    try:
        answer = (pickle.loads(task)(), None)  # noqa: S301 - made by submit, sent encrypted
    except Exception as error:  # noqa: BLE001 - goes to the caller
        answer = (None, error)
    return pickle.dumps(answer)
