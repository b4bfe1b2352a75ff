"""Rules that look at one number of each round."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from uncv.convergence.base import RoundRecord, StopRule, check_positive


@dataclass(frozen=True)
class SeriesStays(StopRule):
    """Base of rules by which a number has come to rest.

    Parameters
    ----------
    tolerance : float
        Largest less smallest value of the rounds that are compared.
    rounds : int
        How many rounds are compared, at least 2.
    """

    tolerance: float
    rounds: int = 3

    def __post_init__(self) -> None:
        check_positive(tolerance=self.tolerance)
        if self.rounds < 2:
            raise ValueError(f"rounds is {self.rounds}; two are needed to see a change")

    @property
    @abstractmethod
    def name(self) -> str:
        """What the number is, for the reason."""

    @abstractmethod
    def value(self, record: RoundRecord) -> float | None:
        """Return the number of a round, None where it has none."""

    def judge(self, history: Sequence[RoundRecord]) -> str:
        """Return the reason, '' while the number changes, or where a round has none."""
        values = _last_values(history, self.rounds, self.value)
        if not values or max(values) - min(values) > self.tolerance:
            return ""
        return (
            f"{self.name} has stayed between {min(values):.4g} and {max(values):.4g} for "
            f"{self.rounds} rounds (tolerance {self.tolerance:g})"
        )


@dataclass(frozen=True)
class CoverageStays(SeriesStays):
    """The coverage of the torsions no longer rises.

    Examples
    --------
    >>> rule = CoverageStays(tolerance=0.01, rounds=2)
    >>> rounds = [RoundRecord(16, 80, 80, 800, coverage=c) for c in (0.40, 0.52, 0.525)]
    >>> rule.judge(rounds[:2]), rule.judge(rounds)
    ('', 'the coverage has stayed between 0.52 and 0.525 for 2 rounds (tolerance 0.01)')
    """

    tolerance: float = 0.01

    @property
    def name(self) -> str:
        """What the number is."""
        return "the coverage"

    def value(self, record: RoundRecord) -> float | None:
        """Return the coverage after a round."""
        return record.coverage


@dataclass(frozen=True)
class ObservableStays(SeriesStays):
    """A function of the user's no longer changes.

    Parameters
    ----------
    function : str
        Its path, by which the records have its values.
    """

    function: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.function:
            raise ValueError("function is empty; give the path of a function, module:function")

    @property
    def name(self) -> str:
        """What the number is."""
        return self.function

    def value(self, record: RoundRecord) -> float | None:
        """Return the value of the function for a round."""
        return record.observables.get(self.function)


@dataclass(frozen=True)
class UncertaintyBelow(StopRule):
    """The calibrated uncertainty of what is sampled is low.

    Parameters
    ----------
    target : float
        In the unit of the calibrated uncertainty.
    of : str
        'mean' or 'max' of the frames of a round.
    rounds : int
        How many rounds in a row.
    """

    target: float
    of: Literal["mean", "max"] = "mean"
    rounds: int = 1

    def __post_init__(self) -> None:
        check_positive(target=self.target, rounds=self.rounds)
        if self.of not in ("mean", "max"):
            raise ValueError(f"of={self.of!r} is unknown; expected 'mean' or 'max'")

    def judge(self, history: Sequence[RoundRecord]) -> str:
        """Return the reason, '' while it is higher, or where a round has none."""
        values = _last_values(history, self.rounds, self._value)
        if not values or max(values) > self.target:
            return ""
        words = {"mean": "mean", "max": "largest"}[self.of]
        rounds = "1 round" if self.rounds == 1 else f"{self.rounds} rounds"
        return (
            f"the {words} calibrated uncertainty has been {max(values):.4g} at most for {rounds} "
            f"(target {self.target:g})"
        )

    def _value(self, record: RoundRecord) -> float | None:
        return record.mean_uncertainty if self.of == "mean" else record.max_uncertainty


def _last_values(
    history: Sequence[RoundRecord], rounds: int, value: Callable[[RoundRecord], float | None]
) -> list[float]:
    """Return the values of the last rounds, none if one is missing."""
    found = [value(record) for record in history[-rounds:]]
    known = [v for v in found if v is not None]
    return known if len(known) == rounds else []
