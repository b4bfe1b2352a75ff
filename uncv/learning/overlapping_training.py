"""Trainings beside everything else: each begins when a batch of labels has come in."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from uncv.config import CampaignConfig
from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.errors import CampaignError
from uncv.executors import Failed
from uncv.learning.calibration import SPLITS, calibrate
from uncv.learning.directory import RunDirectory
from uncv.learning.observed import errors_of
from uncv.learning.setup import Setup
from uncv.learning.tasks import TrainTask
from uncv.learning.trainer import fit_variable, train_tasks
from uncv.models import AniPotential


@dataclass
class Together:
    """Tasks that count once all are there."""

    results: list[Any]
    begun: float = field(default_factory=time.monotonic)

    def put(self, place: int, result: Any) -> bool:
        """Keep a result and return whether it was the last one."""
        self.results[place] = result
        return all(r is not None for r in self.results)


class OverlappingTraining:
    """The newest model, and the training of the next one.

    Parameters
    ----------
    config : CampaignConfig
        The campaign.
    setup : Setup
        Its test data.
    directory : RunDirectory
        Where models are, and go.
    """

    def __init__(self, config: CampaignConfig, setup: Setup, directory: RunDirectory) -> None:
        self.config = config
        self.setup = setup
        self.directory = directory
        self.number = directory.last("model")
        self.cv: UncertaintyCV | None = None
        self._trained_on = 0
        if self.number:
            self.cv = UncertaintyCV.load(directory.model(self.number))
            self._trained_on = self._labels_of_model()
        self._parts: dict[str, Dataset] = {}
        self._running: Together | None = None

    def tasks_if_due(self) -> list[TrainTask]:
        """Return the tasks of the next training, none if it is not time yet."""
        labels = self.directory.labelled_count()
        due = self.cv is None or labels - self._trained_on >= self.config.selection.batch_size
        if self._running is not None or not due:
            return []
        self._trained_on = labels
        labelled = self.directory.known()
        self._parts = {s: labelled[np.flatnonzero(labelled.info["split"] == s)] for s in SPLITS}
        start = None if self.cv is None else self.cv.potential
        tasks = train_tasks(
            self.config,
            self.number + 1,
            self._parts["train"],
            self._parts["valid"],
            start if isinstance(start, AniPotential) else None,
        )
        self._running = Together([None] * len(tasks))
        return tasks

    def take(self, place: int, outcome: Any) -> bool:
        """Take the result of a task, and return whether there is a new model.

        Raises
        ------
        CampaignError
            If the training failed.
        """
        if isinstance(outcome, Failed):
            raise CampaignError(f"a training failed: {outcome.reason}; run again to continue")
        if self._running is None or not self._running.put(place, outcome.value):
            return False
        self._end(self._running)
        self._running = None
        return True

    def _end(self, done: Together) -> None:
        number = self.number + 1
        cv = fit_variable(self.config, done.results, self._parts["train"])
        calibration = calibrate(cv, self._parts["calibration"], self.config)
        judged = {"train": self._parts["train"], "valid": self._parts["valid"]}
        self.directory.record(
            "trained",
            number,
            seconds=round(time.monotonic() - done.begun, 2),
            fingerprint=cv.fingerprint,
            frames={s: len(self._parts[s]) for s in SPLITS},
            calibration=calibration.note,
            errors=errors_of(cv, {**judged, "test": self.setup.test}),
        )
        calibrated = cv.calibrated(calibration.calibrator)
        self.cv = self.directory.save_model(self.directory.model(number), calibrated)
        self.number = number

    def _labels_of_model(self) -> int:
        events = self.directory.journal.events("trained")
        frames = [e["frames"] for e in events if e["round"] == self.number]
        return sum(frames[-1].values()) if frames else 0
