"""Rules that count labels, rounds and steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from uncv.convergence.base import RoundRecord, StopRule, check_positive


@dataclass(frozen=True)
class LabelBudget(StopRule):
    """Enough frames are labelled.

    Examples
    --------
    >>> LabelBudget(32).judge([RoundRecord(labels=32, frames=80, candidates=80, walker_steps=800)])
    'the budget of 32 labels is spent'
    """

    labels: int

    def __post_init__(self) -> None:
        check_positive(labels=self.labels)

    def judge(self, history: Sequence[RoundRecord]) -> str:
        """Return the reason, '' while there are fewer labels."""
        spent = bool(history) and history[-1].labels >= self.labels
        return f"the budget of {self.labels} labels is spent" if spent else ""


@dataclass(frozen=True)
class RoundsWithoutCandidate(StopRule):
    """So many rounds in a row had no frame worth a label."""

    rounds: int

    def __post_init__(self) -> None:
        check_positive(rounds=self.rounds)

    def judge(self, history: Sequence[RoundRecord]) -> str:
        """Return the reason, '' where a later round had a candidate."""
        idle = len(_without_candidate(history))
        return f"no frame was worth a label in {idle} rounds" if idle >= self.rounds else ""


@dataclass(frozen=True)
class StepsWithoutCandidate(StopRule):
    """The rounds since the last frame worth a label have so many steps, all walkers together."""

    steps: int

    def __post_init__(self) -> None:
        check_positive(steps=self.steps)

    def judge(self, history: Sequence[RoundRecord]) -> str:
        """Return the reason, '' where there are fewer steps since the last candidate."""
        idle = sum(record.walker_steps for record in _without_candidate(history))
        return f"no frame was worth a label in {idle} steps" if idle >= self.steps else ""


def _without_candidate(history: Sequence[RoundRecord]) -> Sequence[RoundRecord]:
    """Return the rounds after the last one that had a candidate."""
    last = max((i for i, record in enumerate(history) if record.candidates > 0), default=-1)
    return history[last + 1 :]
