"""The trainings of a round: the model itself, and those of the folds that calibrate it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from uncv.config import CampaignConfig
from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.learning.setup import make_uncertainty, seed_of
from uncv.learning.tasks import TrainTask, shares_of
from uncv.learning.work import Work, values_of
from uncv.models import AniPotential
from uncv.training import join_members


@dataclass
class Trainer:
    """Trains on frames and fits the uncertainty of what was trained, and says how far it is.

    Parameters
    ----------
    config : CampaignConfig
        The campaign.
    round : int
        Its number, for the seeds.
    validation : Dataset
        Frames that end each training; may be empty.
    trainings : int
        How many there will be.
    report : callable
        Called with the share done of all trainings together.
    work : Work
        Does the tasks.
    """

    config: CampaignConfig
    round: int
    validation: Dataset
    trainings: int
    report: Callable[[float], None]
    work: Work = field(default_factory=Work)
    done: int = field(default=0, init=False)

    def model(self, frames: Dataset, start: AniPotential | None) -> UncertaintyCV:
        """Return the model of the round, trained from scratch or on from that of the last.

        Raises
        ------
        CampaignError
            If a training failed.
        """
        return self._variable(frames, start, "train")

    def fold(self, frames: Dataset) -> UncertaintyCV:
        """Return a model that has seen these frames only."""
        return self._variable(frames, None, "fold")

    def _variable(self, frames: Dataset, start: AniPotential | None, purpose: str) -> UncertaintyCV:
        tasks = train_tasks(self.config, self.round, frames, self.validation, start, purpose)
        found = self.work.each(tasks, self._tell)
        self.done += 1
        return fit_variable(self.config, values_of(found, "training"), frames)

    def _tell(self, share: float) -> None:
        self.report((self.done + share) / self.trainings)


def train_tasks(
    config: CampaignConfig,
    round_: int,
    frames: Dataset,
    validation: Dataset,
    start: AniPotential | None,
    purpose: str = "train",
) -> list[TrainTask]:
    """Return the tasks that train an ensemble, each some of its members."""
    parts = shares_of(config.potential.members, config.execution.training_groups)
    return [
        TrainTask(
            config,
            seed_of(config, round_, purpose, group),
            frames,
            validation,
            start,
            first,
            members,
        )
        for group, (first, members) in enumerate(parts)
    ]


def fit_variable(
    config: CampaignConfig, parts: Sequence[AniPotential], frames: Dataset
) -> UncertaintyCV:
    """Return the variable of an ensemble that was trained in parts, fitted to its frames."""
    given, potential = config.uncertainty, join_members(parts)
    uncertainty = make_uncertainty(given).fit(potential, frames)
    return UncertaintyCV(potential, uncertainty, reduce=given.reduce)
