"""Contenders take turns, so that a machine whose speed drifts treats them alike.

Figures are medians of the ratios of neighbouring turns, by the clock and by the processor's time;
the latter does not count other programs, but counts every thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


class Took(NamedTuple):
    """Seconds of a turn, by the clock and by the processor."""

    clock: float
    processor: float


class Contender(NamedTuple):
    """What takes turns.

    Attributes
    ----------
    run : callable
        Makes the steps of one turn. What runs in another process returns what it `Took` there.
    steps : int
        How many steps that is.
    """

    run: Callable[[], Took | None]
    steps: int = 1


def repeated(call: Callable[[], None], steps: int) -> Contender:
    """Return a contender whose turn is so many calls, so that most begin with their data in cache.

    One call alone would find what the contender before it has left there.
    """

    def run() -> None:
        for _ in range(steps):
            call()

    return Contender(run, steps)


class Times(NamedTuple):
    """Seconds of one step in each turn that counted (T,), by the clock and by the processor."""

    clock: FloatArray
    processor: FloatArray

    @property
    def milliseconds(self) -> float:
        """Median by the clock."""
        return float(np.median(self.clock) * 1e3)

    @property
    def processor_milliseconds(self) -> float:
        """Median by the processor."""
        return float(np.median(self.processor) * 1e3)


def take_turns(contenders: Mapping[str, Contender], turns: int, warm: int = 2) -> dict[str, Times]:
    """Return the times of each contender; the first ``warm`` turns do not count.

    Every other turn goes from the last to the first, so that none always follows the same one.
    """
    found: dict[str, list[Took]] = {name: [] for name in contenders}
    for turn in range(-warm, turns):
        for name, contender in list(contenders.items())[:: -1 if turn % 2 else 1]:
            took = timed(contender.run)
            if turn >= 0:
                found[name].append(Took(*(t / contender.steps for t in took)))
    return {name: Times(*np.array(rows).T) for name, rows in found.items()}


def timed(run: Callable[[], Took | None]) -> Took:
    """Return what one call took."""
    clock, processor = time.perf_counter(), time.process_time()
    said = run()
    took = Took(time.perf_counter() - clock, time.process_time() - processor)
    return took if said is None else said


def ratio(of: Times, over: Times) -> float:
    """Return the median ratio of neighbouring turns by the clock."""
    return float(np.median(of.clock / over.clock))


def processor_ratio(of: Times, over: Times) -> float:
    """Return the median ratio of neighbouring turns by the processor."""
    return float(np.median(of.processor / over.processor))
