"""What a rule sees of a round, and what every rule is.

A rule decides from the records alone, so a campaign that was interrupted comes to the same end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RoundRecord:
    """What a round came to; every value is a number or a list of them, as a journal keeps it.

    Parameters
    ----------
    labels : int
        Labelled frames after the round, those of all rounds together.
    frames : int
        Frames stored in the round.
    candidates : int
        Those of them that were worth a label: whole structures that were accepted, with an
        uncertainty inside the window.
    walker_steps : int
        Steps of the round, all walkers together.
    coverage : float, optional
        Of the torsions, by all frames so far.
    torsion_counts : sequence of sequence of int, optional
        Histogram of each torsion in the frames of the round (K, bins); see `torsion_counts`.
    mean_uncertainty, max_uncertainty : float, optional
        Calibrated uncertainty of the stored frames; None where it is not calibrated.
    observables : mapping of str to float
        Values of the user's functions on the frames of the round, by their paths; see `observe`.
    """

    labels: int
    frames: int
    candidates: int
    walker_steps: int
    coverage: float | None = None
    torsion_counts: Sequence[Sequence[int]] | None = None
    mean_uncertainty: float | None = None
    max_uncertainty: float | None = None
    observables: Mapping[str, float] = field(default_factory=dict)


class StopRule(ABC):
    """A reason to end a campaign."""

    @abstractmethod
    def judge(self, history: Sequence[RoundRecord]) -> str:
        """Return why the campaign should end after these rounds, '' to go on."""


@dataclass(frozen=True)
class AfterRounds(StopRule):
    """Another rule, asked only when there are enough rounds.

    Parameters
    ----------
    rule : StopRule
        The other rule.
    rounds : int
        How many rounds are enough.
    """

    rule: StopRule
    rounds: int

    def judge(self, history: Sequence[RoundRecord]) -> str:
        """Return what the rule says, '' while there are fewer rounds."""
        return self.rule.judge(history) if len(history) >= self.rounds else ""


def judge(rules: Iterable[StopRule], history: Sequence[RoundRecord]) -> str:
    """Return the reason of the first rule that has one, '' to go on."""
    return next((reason for rule in rules if (reason := rule.judge(history))), "")


def check_positive(**values: float) -> None:
    """Refuse a setting of a rule that is not positive.

    Raises
    ------
    ValueError
    """
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} is {value}; expected a positive number")
