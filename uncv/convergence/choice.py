"""Rules from a section of a configuration, and the user's functions that they name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import cast

from uncv.config.selection import ConvergenceConfig
from uncv.convergence.base import AfterRounds, StopRule
from uncv.convergence.counting import LabelBudget, RoundsWithoutCandidate, StepsWithoutCandidate
from uncv.convergence.series import CoverageStays, ObservableStays, UncertaintyBelow
from uncv.convergence.torsions import TorsionsStay
from uncv.data import Dataset
from uncv.errors import ConfigError
from uncv.importing import load_object


def make_rules(config: ConvergenceConfig, labels: int) -> tuple[StopRule, ...]:
    """Return the rules of a campaign, the label budget first.

    Parameters
    ----------
    config : ConvergenceConfig
        The section.
    labels : int
        The label budget, which holds from the first round on.
    """
    least = config.min_rounds
    return LabelBudget(labels), *(AfterRounds(rule, least) for rule in _rules(config))


def _rules(config: ConvergenceConfig) -> Iterator[StopRule]:
    if config.rounds_without_candidate is not None:
        yield RoundsWithoutCandidate(config.rounds_without_candidate)
    if config.steps_without_candidate is not None:
        yield StepsWithoutCandidate(config.steps_without_candidate)
    if config.coverage is not None:
        yield CoverageStays(config.coverage.tolerance, config.coverage.rounds)
    if config.torsions is not None:
        yield TorsionsStay(config.torsions.tolerance, config.torsions.rounds)
    for rule in config.observables:
        yield ObservableStays(rule.tolerance, rule.rounds, rule.function)
    if config.uncertainty is not None:
        yield UncertaintyBelow(
            config.uncertainty.target, config.uncertainty.of, config.uncertainty.rounds
        )


def observe(config: ConvergenceConfig, frames: Dataset) -> dict[str, float]:
    """Return what the user's functions say of the frames of a round, by their paths.

    Raises
    ------
    ConfigError
        If a function cannot be imported, cannot be called, or returns no finite number.
    """
    return {rule.function: _observed(rule.function, frames) for rule in config.observables}


def _observed(path: str, frames: Dataset) -> float:
    function = load_object(path)
    if not callable(function):
        raise ConfigError(f"{path} is a {type(function).__name__}; name a function of a Dataset")
    value = cast("Callable[[Dataset], object]", function)(frames)
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"{path} returned {value!r} for {len(frames)} frames; return one number")
    return number
