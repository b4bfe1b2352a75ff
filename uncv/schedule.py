"""Strengths and temperatures that change from step to step: what they are, not who applies them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass


class Schedule(ABC):
    """A number for each completed step of a run."""

    @abstractmethod
    def at(self, step: int) -> float:
        """Return the value after this many completed steps."""

    @property
    @abstractmethod
    def limits(self) -> tuple[float, float]:
        """The smallest and the largest value."""

    @property
    def varies(self) -> bool:
        """Whether two steps may have different values."""
        low, high = self.limits
        return low != high


@dataclass(frozen=True)
class Constant(Schedule):
    """One value at all steps.

    Examples
    --------
    >>> Constant(300.0).varies
    False
    """

    value: float

    def __post_init__(self) -> None:
        _check(value=self.value)

    def at(self, step: int) -> float:
        """Return the value."""
        return self.value

    @property
    def limits(self) -> tuple[float, float]:
        """The value, twice."""
        return self.value, self.value


@dataclass(frozen=True)
class Ramp(Schedule):
    """From one value to another in a straight line, then the latter for good.

    Parameters
    ----------
    start, end : float
        Values at step 0, and from ``steps`` on.
    steps : int
        Length of the line.

    Examples
    --------
    >>> [Ramp(0.0, 1.0, steps=4).at(step) for step in (0, 1, 4, 9)]
    [0.0, 0.25, 1.0, 1.0]
    """

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        _check(start=self.start, end=self.end)
        _check_length("steps", self.steps)

    def at(self, step: int) -> float:
        """Return the value after this many completed steps."""
        done = min(step / self.steps, 1.0)
        return self.start + (self.end - self.start) * done

    @property
    def limits(self) -> tuple[float, float]:
        """The smaller and the larger end."""
        return min(self.start, self.end), max(self.start, self.end)


@dataclass(frozen=True)
class SawTooth(Schedule):
    """From one value towards another in a straight line, then back at once, again and again.

    Parameters
    ----------
    start, end : float
        Value at the first step of each tooth, and the one it leads to; the step that would have
        ``end`` is the first of the next tooth. Falling temperatures have ``start`` above ``end``.
    period : int
        Steps of a tooth.

    Examples
    --------
    >>> [SawTooth(600.0, 300.0, period=3).at(step) for step in range(5)]
    [600.0, 500.0, 400.0, 600.0, 500.0]
    """

    start: float
    end: float
    period: int

    def __post_init__(self) -> None:
        _check(start=self.start, end=self.end)
        _check_length("period", self.period)

    def at(self, step: int) -> float:
        """Return the value after this many completed steps."""
        return self.start + (self.end - self.start) * (step % self.period) / self.period

    @property
    def limits(self) -> tuple[float, float]:
        """The smallest and the largest value that occur."""
        last = self.at(self.period - 1)
        return min(self.start, last), max(self.start, last)


def as_schedule(value: float | Schedule) -> Schedule:
    """Return a schedule as it is, and a number as a constant one.

    >>> as_schedule(300.0)
    Constant(value=300.0)
    """
    return value if isinstance(value, Schedule) else Constant(float(value))


def _check(**values: float) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value}; expected a finite number")


def _check_length(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} is {value} steps; expected at least 1")
