"""Parsl's interchange, ended with the campaign that started it, however that ends.

Left to itself the interchange of a killed campaign would run on, and its workers with it.
"""

from __future__ import annotations

import os
import runpy
import threading
import time

_LOOK_SECONDS = 0.5


def _end_without(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_without, args=(os.getppid(),), daemon=True).start()
    runpy.run_module("parsl.executors.high_throughput.interchange", run_name="__main__")
