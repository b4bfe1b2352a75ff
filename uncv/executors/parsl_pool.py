"""Workers that Parsl starts: here, or in the jobs of a batch system."""

from __future__ import annotations

import os
import pickle
import shlex
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path
from typing import Any

from parsl.concurrent import ParslPoolExecutor
from parsl.config import Config
from parsl.dataflow.dflow import DataFlowKernel
from parsl.executors import HighThroughputExecutor
from parsl.executors.errors import BadStateException
from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost
from parsl.jobs.errors import TooManyJobFailuresError
from parsl.providers import LocalProvider

from uncv.errors import ExecutionError, WorkerDied
from uncv.executors.parsl_worker import supervise
from uncv.executors.threads import thread_variables

_INTERCHANGE = [sys.executable, "-m", "uncv.executors.parsl_interchange"]


def local_config(run_dir: str | Path, workers: int, threads: int = 1) -> Config:
    """Return a configuration of Parsl with worker processes on this machine.

    It listens on the loopback address, and encrypts: other users of the machine could reach it.

    Parameters
    ----------
    run_dir : path-like
        Where Parsl writes its logs.
    workers, threads : int
        Processes, and threads of compiled libraries in each.
    """
    environment = {
        **thread_variables(threads),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
    }
    lines = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    executor = HighThroughputExecutor(
        label="local",
        address="127.0.0.1",
        max_workers_per_node=workers,
        cores_per_worker=1e-6,  # as many workers as asked for, whatever the number of cores
        heartbeat_period=1,
        heartbeat_threshold=10,
        encrypted=True,
        provider=LocalProvider(
            init_blocks=1, min_blocks=1, max_blocks=1, worker_init="\n".join(lines)
        ),
    )
    return Config(
        executors=[executor],
        run_dir=str(run_dir),
        strategy="simple",
        initialize_logging=False,
        usage_tracking=0,
    )


class ParslExecutor(Executor):
    """Hands tasks to Parsl, and starts it anew when all of its blocks are gone.

    Tasks travel as pickles: the functions and classes in them must be importable by the workers.

    Parameters
    ----------
    make : callable
        Returns a new configuration of Parsl; called for each start.
    threads : int
        Threads of torch, BLAS and OpenMM in each worker.

    Raises
    ------
    ExecutionError
        If Parsl does not start.
    """

    def __init__(self, make: Callable[[], Config], threads: int = 1) -> None:
        self.threads = threads
        self._make = make
        self._worked = False  # whether any task has come back
        self._starting = threading.Lock()
        self._state = threading.Lock()  # of the two below; held for a moment only
        self._given_up: list[DataFlowKernel] = []
        self._kernel: DataFlowKernel | None = None
        self._started()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Return the future of a task; it raises `WorkerDied` if the worker was lost."""
        task = pickle.dumps(partial(fn, *args, **kwargs))
        kernel = self._started()
        outer: Future[Any] = Future()
        outer.set_running_or_notify_cancel()
        inner = ParslPoolExecutor(dfk=kernel).submit(supervise, task, self.threads, os.getpgrp())
        inner.add_done_callback(partial(self._pass_on, kernel, outer))
        return outer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End Parsl and its workers; without ``wait`` what they are at is lost."""
        with self._state:
            kernel, self._kernel = self._kernel, None
        self._clean_up()
        if kernel is not None:
            if wait and not cancel_futures:
                kernel.wait_for_current_tasks()
            kernel.cleanup()

    def kill(self) -> None:
        """End Parsl and its workers at once."""
        self.shutdown(wait=False)

    def _started(self) -> DataFlowKernel:
        """Return the kernel of Parsl that runs, or start one."""
        with self._starting:
            self._clean_up()
            with self._state:
                kernel = self._kernel
            if kernel is None:
                kernel = self._start()
                with self._state:
                    self._kernel = kernel
            return kernel

    def _clean_up(self) -> None:
        with self._state:
            kernels, self._given_up = self._given_up, []
        for kernel in kernels:
            kernel.cleanup()

    def _start(self) -> DataFlowKernel:
        config = self._make()
        for executor in config.executors:
            if isinstance(executor, HighThroughputExecutor):
                executor.interchange_launch_cmd = _INTERCHANGE
        try:
            return DataFlowKernel(config)
        except Exception as error:
            raise ExecutionError(
                f"Parsl does not start ({error}); correct its configuration, and see the logs in "
                f"{config.run_dir}"
            ) from error

    def _pass_on(self, kernel: DataFlowKernel, outer: Future[Any], inner: Future[Any]) -> None:
        """Hand over what came of a task, with Parsl's exceptions translated."""
        error = inner.exception()
        if isinstance(error, (BadStateException, TooManyJobFailuresError)):
            outer.set_exception(self._give_up(kernel, error))
        elif isinstance(error, (ManagerLost, WorkerLost)):
            outer.set_exception(WorkerDied(str(error), shared=True))
        elif error is not None:
            outer.set_exception(error)
        else:
            self._worked = True
            _read(outer, inner.result())

    def _give_up(self, kernel: DataFlowKernel, error: Exception) -> Exception:
        """Let the next task start Parsl anew: this one has no blocks left.

        It is cleaned up then, since this is called by one of its threads.
        """
        with self._state:
            if self._kernel is kernel:
                self._kernel = None
                self._given_up.append(kernel)
        if self._worked:
            return WorkerDied(f"all blocks of Parsl are gone: {error}", shared=True)
        return ExecutionError(
            f"no worker of Parsl has done anything: {error}; correct its configuration"
        )


def _read(future: Future[Any], answer: bytes) -> None:
    try:
        value, error = pickle.loads(answer)  # noqa: S301 - made by a worker of ours
    except Exception as unread:  # noqa: BLE001 - classes may do anything when they are read
        error = RuntimeError(f"what the worker sent cannot be read ({unread})")
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
