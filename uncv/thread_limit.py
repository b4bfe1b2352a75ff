"""How many threads compiled libraries may use, whatever the environment says."""

from __future__ import annotations

from types import TracebackType
from typing import Any


class ThreadLimit:
    """Holds the thread pools of OpenMP and BLAS to a number, while entered.

    The pools are looked up when it is first entered, so enter it after the libraries are loaded.
    A copy in another process looks them up there.

    Parameters
    ----------
    threads : int
        Threads of each pool.

    Raises
    ------
    ValueError
        If the number is not positive.
    """

    def __init__(self, threads: int) -> None:
        if threads < 1:
            raise ValueError(f"threads is {threads}; give a positive number")
        self.threads = threads
        self._pools: Any = None
        self._held: Any = None

    def __enter__(self) -> None:
        if self._pools is None:
            from threadpoolctl import ThreadpoolController

            self._pools = ThreadpoolController()
        self._held = self._pools.limit(limits=self.threads)
        self._held.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._held.__exit__(kind, error, trace)

    def __getstate__(self) -> dict[str, Any]:
        return {"threads": self.threads, "_pools": None, "_held": None}
