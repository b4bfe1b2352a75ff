"""How long a campaign will still take, from what its rounds took so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from uncv.status.journal import RoundStatus

LAST = 3
"""Rounds that the estimate looks at."""


class Plan(NamedTuple):
    """What of a configuration decides how much there is to do."""

    labels: int
    batch_size: int


def seconds_left(
    rounds: Sequence[RoundStatus], plan: Plan, stage: str, elapsed: float
) -> float | None:
    """Return how long the rest takes; None before a round is complete.

    Each stage to come takes as long as it did in the last rounds: a training by its number of
    frames, labels by their number. A campaign may end sooner for reasons of its own, and trainings
    may.

    Parameters
    ----------
    rounds : sequence of RoundStatus
        All so far, the one at work last.
    plan : Plan
        Of the configuration.
    stage : str
        'train', 'sample' or 'label', at work in the last round.
    elapsed : float
        Seconds since it began.
    """
    per_frame = _mean([r.train_s / r.labels for r in _warm(rounds) if r.train_s and r.labels])
    sample = _mean([r.sample_s for r in rounds[1:] if r.sample_s is not None])
    gains = [(new.label_s, new.labels - old.labels) for old, new in _pairs(rounds)]
    label = _mean([s / n for s, n in gains if s is not None and n > 0])
    if per_frame is None or sample is None or label is None:
        return None
    labels = rounds[-1].labels
    to_come = max(0, math.ceil((plan.labels - labels) / plan.batch_size))
    batch = label * plan.batch_size
    # The rounds from now on, and the last training on all labels.
    counts = [min(plan.labels, labels + n * plan.batch_size) for n in range(to_come + 1)]
    total = sum(per_frame * count for count in counts) + to_come * (sample + batch)
    if stage == "sample":
        total -= per_frame * labels
    elif stage == "label":
        total -= per_frame * labels + sample
    current = {"train": per_frame * labels, "sample": sample, "label": batch}.get(stage, 0.0)
    return max(0.0, total - min(elapsed, current))


def _warm(rounds: Sequence[RoundStatus]) -> Sequence[RoundStatus]:
    """Return the rounds whose training went on from an earlier one, if there are any."""
    return rounds[2:] if len(rounds) > 2 else rounds[1:]


def _pairs(rounds: Sequence[RoundStatus]) -> list[tuple[RoundStatus, RoundStatus]]:
    whole = [RoundStatus(-1), *rounds]
    return list(pairwise(whole))


def _mean(values: Sequence[float]) -> float | None:
    last = values[-LAST:]
    return sum(last) / len(last) if last else None
