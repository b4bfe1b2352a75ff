"""Where the work of a campaign runs: behind the interface of `concurrent.futures.Executor`."""

from uncv.executors.choice import open_executor, open_runner
from uncv.executors.in_process import InProcessExecutor
from uncv.executors.pool import WorkerPool, process_pool
from uncv.executors.runner import Finished, TaskRunner
from uncv.executors.settings import TaskSettings
from uncv.executors.task import Done, Failed
from uncv.executors.threads import limit_threads, torch_threads

__all__ = [
    "InProcessExecutor",
    "WorkerPool",
    "process_pool",
    "open_executor",
    "open_runner",
    "TaskRunner",
    "TaskSettings",
    "Done",
    "Failed",
    "Finished",
    "limit_threads",
    "torch_threads",
]
