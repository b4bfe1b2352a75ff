"""What a label, a step of training and a step of dynamics cost: each done a few times."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from uncv.config import CampaignConfig
from uncv.cv import UncertaintyCV
from uncv.data import Dataset, concatenate
from uncv.errors import CampaignError
from uncv.learning.bias import choose_bias
from uncv.learning.setup import Setup
from uncv.learning.tasks import TrainTask, WalkerGroup, shares_of
from uncv.learning.trainer import fit_variable
from uncv.learning.walkers import bare
from uncv.oracles import labelled_part

QUICK_S = 1.0
"""What takes less than this is done more often, for a better measure."""
_EPOCHS = 3
_STRIDES = 4
_LABELS = 4


class Labelled(NamedTuple):
    """Frames labelled on trial.

    Attributes
    ----------
    frames : Dataset
        Those that got a label.
    seconds : float
        For one.
    tried, failed : int
        How many were tried, and how many of them failed.
    """

    frames: Dataset
    seconds: float
    tried: int
    failed: int


@dataclass(frozen=True)
class Trained:
    """A variable trained for a moment, and what a step of it takes in seconds."""

    cv: UncertaintyCV
    seconds: float


def time_labels(setup: Setup, frames: Dataset) -> Labelled:
    """Label a first frame, and some more if that is quick.

    Raises
    ------
    CampaignError
        If the oracle fails for all that were tried.
    """
    times, answers = [], []
    for number in range(min(_LABELS, len(frames))):
        begun = time.monotonic()
        answers.append(setup.oracle.label(frames[number]))
        times.append(time.monotonic() - begun)
        if sum(times) > QUICK_S:
            break
    answer = concatenate(answers)
    good = labelled_part(answer)
    if len(good) == 0:
        reason = answer.info["label_error"][0]
        raise CampaignError(f"the oracle failed for all {len(answer)} frames tried: {reason}")
    # The first call makes what later ones use again.
    seconds = float(np.mean(times[1:] or times))
    return Labelled(good, seconds, len(answer), len(answer) - len(good))


def time_training(config: CampaignConfig, labelled: Dataset) -> Trained:
    """Train on one batch for some epochs.

    Raises
    ------
    UncvError
        If the frames cannot be trained on.
    """
    short = _with(config, "potential", epochs=_EPOCHS)
    size = config.potential.batch_size
    batch = labelled[np.arange(size) % len(labelled)]
    times: list[float] = []
    members = config.potential.members
    task = TrainTask(short, config.seed, batch, labelled[:1], None, 0, members)
    potential = task(lambda share: times.append(time.monotonic()))
    seconds = float(np.diff(times).mean()) if len(times) > 1 else 0.0
    return Trained(fit_variable(config, [potential], labelled), seconds)


def time_dynamics(config: CampaignConfig, setup: Setup, cv: UncertaintyCV, folder: Path) -> float:
    """Run the walkers of one group for some steps, with bias and PLUMED; return seconds a step.

    Raises
    ------
    UncvError
        If they cannot be run.
    """
    model = folder / "trial.uncv"
    cv.save(model)
    seconds = 0.0
    for stride in (2, 8, 32):
        seconds = _run(config, setup, model, stride) / (stride * (_STRIDES - 1))
        if seconds * 4 * stride * _STRIDES > QUICK_S:
            break
    return seconds


def _run(config: CampaignConfig, setup: Setup, model: Path, stride: int) -> float:
    """Return the time of all strides but the first, in which everything is made."""
    steps = stride * _STRIDES
    short = _with(config, "sampling", steps_per_round=steps, stride=stride)
    count = shares_of(config.sampling.walkers, config.execution.walker_groups)[0][1]
    starts = bare(setup.start[np.arange(count) % len(setup.start)])
    group = WalkerGroup(
        short, 1, model, setup.engine, setup.start[:1], starts, starts, 0, 0,
        model.parent / f"plumed_{stride}",
    )  # fmt: skip
    bias = choose_bias(short.bias, group.dynamics)
    times: list[float] = []
    group.dynamics.run(bias, steps, config.seed, lambda done, total: times.append(time.monotonic()))
    return times[-1] - times[0]


def _with(config: CampaignConfig, section: str, **changes: int) -> CampaignConfig:
    changed = getattr(config, section).model_copy(update=changes)
    return config.model_copy(update={section: changed})
