"""Campaigns in which labels, training and sampling overlap, so that nobody waits for the slowest.

Each group of walkers runs segment after segment on the newest model there is. Their frames wait in
a pool; whenever no batch is being labelled the next one is chosen from it, and after each training
all that wait are scored anew. A training begins when a batch of labels has come in since the last.

What is done is in the run directory: frames of each segment, labels, models. What was being done
when a campaign is killed is begun again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from uncv.config import CampaignConfig
from uncv.data import Dataset, concatenate
from uncv.errors import CampaignError
from uncv.executors import Failed, TaskRunner
from uncv.labelling import label_tasks, lost_labels
from uncv.learning.directory import RunDirectory
from uncv.learning.ending import reason_to_end
from uncv.learning.labels import check_calibration, count_good, keep_labels
from uncv.learning.overlapping_training import OverlappingTraining, Together
from uncv.learning.overlapping_walkers import OverlappingWalkers
from uncv.learning.pool import candidates, choose_frames
from uncv.learning.setup import Setup, seed_of
from uncv.oracles import labelled_part

POLL_SECONDS = 0.5


class _Job(NamedTuple):
    """A task that is being done: whose it is, and its place there."""

    kind: str
    place: int


class Overlapping:
    """The part of a campaign between its first labels and its last.

    Parameters
    ----------
    config : CampaignConfig
        The campaign.
    setup : Setup
        Its structure and oracle.
    directory : RunDirectory
        Where everything is kept; the first labels are there.
    runner : TaskRunner
        Hands tasks to workers.
    report : callable
        Told, several times a second, that the campaign goes on; may raise to end it.
    """

    def __init__(
        self,
        config: CampaignConfig,
        setup: Setup,
        directory: RunDirectory,
        runner: TaskRunner,
        report: Callable[[], None],
    ) -> None:
        self.config = config
        self.setup = setup
        self.directory = directory
        self.report = report
        self._runner = runner
        self._jobs: dict[int, _Job] = {}
        self._training = OverlappingTraining(config, setup, directory)
        self._walkers = OverlappingWalkers(config, setup, directory)
        self._labelling: Together | None = None
        self._chosen: list[Dataset] = []
        self._offered = 0
        self._refused = (0, 0)

    def run(self) -> None:
        """Go on until there is a reason to end.

        Raises
        ------
        CampaignError
            If a training fails, a group of walkers fails again and again, or the oracle fails for
            a whole batch.
        WallTimeReached
            If the time left does not suffice for another task.
        """
        while not reason_to_end(self.config, self.directory):
            self._submit("train", dict(enumerate(self._training.tasks_if_due())))
            if self._training.cv is not None:
                self._submit("segment", self._walkers.segments(self._training.number))
                self._label()
            for number, outcome in self._runner.poll(POLL_SECONDS):
                self._settle(self._jobs.pop(number), outcome)
            self.report()

    def _submit(self, kind: str, tasks: Mapping[int, Callable[[], Any]]) -> None:
        for place, task in tasks.items():
            self._jobs[self._runner.submit(task)] = _Job(kind, place)

    def _settle(self, job: _Job, outcome: Any) -> None:
        if job.kind == "segment":
            if self._training.cv is not None:
                number, cv = self._training.number, self._training.cv
                self._walkers.take(job.place, outcome, number, cv)
        elif job.kind == "label":
            self._take_labels(job.place, outcome)
        elif self._training.take(job.place, outcome):
            self._score()

    def _score(self) -> None:
        """Give all frames that wait the uncertainty of the new model."""
        waiting = self._walkers.waiting
        if len(waiting) and self._training.cv is not None:
            scores = self._training.cv.predict(waiting).uncertainty
            self._walkers.waiting = waiting.with_info(uncertainty=scores)

    def _label(self) -> None:
        """Choose the next batch, unless one is being labelled."""
        cv, waiting = self._training.cv, self._walkers.waiting
        if cv is None or self._labelling is not None or len(waiting) == 0:
            return
        if self._refused == (self._training.number, len(waiting)):
            return
        known, number = self.directory.known(), self.directory.next_round()
        pool = candidates(self.config, self.setup, cv, waiting, known, number)
        self._offered = len(pool)
        if self._offered == 0:
            self._refuse(number)
            return
        missing = self.config.budget.labels - len(known)
        size = min(self.config.selection.batch_size, missing, len(pool))
        chosen = choose_frames(
            cv,
            pool,
            known,
            size,
            self.config.selection,
            seed=seed_of(self.config, number, "select"),
        )
        picked = pool[chosen].with_info(
            fingerprint=np.full(size, cv.fingerprint), round=np.full(size, number)
        )
        self._walkers.forget(picked)
        tasks = label_tasks(self.setup.oracle, picked, self.config.execution.labels_per_task)
        self._chosen = [task.frames for task in tasks]
        self._labelling = Together([None] * len(tasks))
        self._submit("label", dict(enumerate(tasks)))

    def _refuse(self, number: int) -> None:
        """Note that none of the frames that wait is a candidate, until there are others.

        Raises
        ------
        CampaignError
            If there will be no others.
        """
        self._refused = (self._training.number, len(self._walkers.waiting))
        self.directory.record("no_candidate", number)
        if self._walkers.full and not reason_to_end(self.config, self.directory):
            raise CampaignError(
                f"none of {len(self._walkers.waiting)} sampled frames is a candidate; widen the "
                "window or the acceptance of selection, or let convergence end the campaign"
            )

    def _take_labels(self, place: int, outcome: Any) -> None:
        frames = self._chosen[place]
        lost = isinstance(outcome, Failed)
        answer = lost_labels(frames, outcome.reason) if lost else outcome.value
        if self._labelling is not None and self._labelling.put(place, answer):
            tried = concatenate(self._labelling.results)
            seconds = time.monotonic() - self._labelling.begun
            self._labelling = None
            self._keep(tried, seconds)

    def _keep(self, tried: Dataset, seconds: float) -> None:
        number, good = self.directory.next_round(), labelled_part(tried)
        self.directory.record(
            "selected",
            number,
            walker=tried.info["walker"].tolist(),
            step=tried.info["step"].tolist(),
        )
        if len(good) == 0:
            count_good(self.directory, number, tried, everything=True)
            self.directory.add("quarantine", tried.without_labels())
            self.directory.record("no_candidate", number, failed=len(tried))
            return
        if self._training.cv is not None:
            check_calibration(self.directory, number, self._training.cv, good)
        keep_labels(self.config, self.directory, number, tried, self._offered, seconds)
