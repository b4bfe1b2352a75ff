"""What is found of a campaign before it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class PlannedStage:
    """A kind of work, how much of it there is, and what it costs.

    Attributes
    ----------
    name : {'label', 'train', 'sample'}
        Which.
    count : int
        Of what ``unit`` says.
    unit : str
        What is counted.
    seconds_each : float or None
        Of one, as measured; None where it was not.
    seconds : float or None
        Of all, with the workers of the configuration.
    """

    name: str
    count: int
    unit: str
    seconds_each: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class DryRun:
    """What a campaign would do.

    Attributes
    ----------
    directory : pathlib.Path
        Its run directory.
    state : {'new', 'continues', 'finished', ''}
        What is there; '' where that is the problem.
    problem : str
        The first one; '' if there is none.
    exit_code : {0, 1, 2}
        0: it would run; 1: it would fail; 2: the configuration is wrong.
    atoms : int
        Of the start structure; 0 where it is not known.
    engine : str
        What moves the walkers.
    level_of_theory : str
        Of the labels.
    rounds : int
        To come, at most.
    labels, label_budget : int
        Now and at the end.
    walkers, steps_per_round : int
        And the steps of each in a round.
    stages : tuple of PlannedStage
        The work to come, at most: rules of convergence and of training may end it sooner.
    seconds : float or None
        An estimate of all together; None where a stage was not measured.
    notes : tuple of str
        What was not tried, or failed and need not fail in the campaign.
    """

    directory: Path
    state: Literal["new", "continues", "finished", ""] = ""
    problem: str = ""
    exit_code: Literal[0, 1, 2] = 0
    atoms: int = 0
    engine: str = ""
    level_of_theory: str = ""
    rounds: int = 0
    labels: int = 0
    label_budget: int = 0
    walkers: int = 0
    steps_per_round: int = 0
    stages: tuple[PlannedStage, ...] = ()
    seconds: float | None = None
    notes: tuple[str, ...] = ()
