"""How many threads torch, BLAS and OpenMM use, in this process or in one that is to start."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "OPENMM_CPU_THREADS",
)


def thread_variables(threads: int) -> dict[str, str]:
    """Return the environment in which compiled libraries start with so many threads.

    Raises
    ------
    ValueError
        If the number is not positive.
    """
    if threads < 1:
        raise ValueError(f"threads={threads}: a process must have at least 1")
    return dict.fromkeys(_VARIABLES, str(threads))


@contextmanager
def thread_environment(threads: int) -> Iterator[None]:
    """Let processes that start meanwhile find the variables of so many threads."""
    new = thread_variables(threads)
    before = {name: os.environ.get(name) for name in new}
    os.environ.update(new)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


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
    """Let torch, BLAS and OpenMM use this many threads in the present process.

    What is loaded already heeds no variable; torch is told, and BLAS and OpenMP where
    threadpoolctl finds them.
    """
    os.environ.update(thread_variables(threads))
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)
