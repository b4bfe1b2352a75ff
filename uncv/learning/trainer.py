"""The trainings of a round: the model itself, and those of the folds that calibrate it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from uncv.config import CampaignConfig
from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.learning.setup import make_uncertainty, seed_of, train_settings
from uncv.models import AniPotential
from uncv.training import train


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
    """

    config: CampaignConfig
    round: int
    validation: Dataset
    trainings: int
    report: Callable[[float], None]
    done: int = field(default=0, init=False)

    def model(self, frames: Dataset, start: AniPotential | None) -> UncertaintyCV:
        """Return the model of the round, trained from scratch or on from that of the last."""
        return self._variable(frames, start, "train")

    def fold(self, frames: Dataset) -> UncertaintyCV:
        """Return a model that has seen these frames only."""
        return self._variable(frames, None, "fold")

    def _variable(self, frames: Dataset, start: AniPotential | None, purpose: str) -> UncertaintyCV:
        settings = train_settings(self.config, warm=start is not None)
        potential = train(
            frames,
            settings,
            seed=seed_of(self.config, self.round, purpose),
            start=start,
            validation=self.validation if len(self.validation) else None,
            progress=lambda epoch: self._tell(epoch.epoch / settings.epochs),
        )
        self.done += 1
        given = self.config.uncertainty
        uncertainty = make_uncertainty(given).fit(potential, frames)
        return UncertaintyCV(potential, uncertainty, reduce=given.reduce)

    def _tell(self, share: float) -> None:
        self.report((self.done + share) / self.trainings)
