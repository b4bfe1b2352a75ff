"""New labels of a round: its first frames, or those chosen from what the walkers stored."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from uncv.config import CampaignConfig
from uncv.cv import UncertaintyCV
from uncv.data import Dataset, concatenate
from uncv.errors import CampaignError
from uncv.labelling import LabelTask, label_frames
from uncv.learning.directory import RunDirectory
from uncv.learning.labels import check_calibration, count_good, keep_labels
from uncv.learning.pool import candidates, choose_frames
from uncv.learning.setup import Setup, displaced_starts, labelled_data, seed_of
from uncv.learning.walkers import broken
from uncv.learning.work import Work
from uncv.oracles import labelled_part

ATTEMPTS = 4
"""How often a round chooses again for labels that failed."""


@dataclass(frozen=True)
class Acquisition:
    """Chooses and labels in one round; the parameters are those of `Round`."""

    number: int
    config: CampaignConfig
    setup: Setup
    directory: RunDirectory
    work: Work

    def pool(self, frames: Dataset) -> Dataset:
        """Return the frames that are whole structures.

        Raises
        ------
        CampaignError
            If every frame is broken.
        """
        reasons = broken(self.config, self.setup, frames)
        whole = frames[np.flatnonzero(reasons == "")]
        if len(whole) == 0:
            raise CampaignError(
                f"all {len(frames)} frames of round {self.number} are broken structures (first: "
                f"{reasons[0]}); lower the bias strength or tighten the stop rules"
            )
        return whole

    def choose_and_label(self, cv: UncertaintyCV, pool: Dataset) -> int:
        """Choose frames and label them; for those that fail others of the pool are chosen.

        Returns
        -------
        int
            How many labels were added.

        Raises
        ------
        CampaignError
            If the oracle failed for all of the first choice.
        """
        begun, known = time.monotonic(), self.directory.known()
        pool = candidates(self.config, self.setup, cv, pool, known, self.number)
        offered = len(pool)
        if offered == 0:
            self.directory.record("no_candidate", self.number)
            return 0
        budget, batch = self.config.budget.labels, self.config.selection.batch_size
        missing = wanted = min(batch, budget - len(known))
        answers: list[Dataset] = []
        for attempt in range(ATTEMPTS):
            size = min(missing, len(pool))
            if size == 0:
                break
            chosen = choose_frames(
                cv,
                pool,
                concatenate([known, *answers]),
                size,
                self.config.selection,
                seed=seed_of(self.config, self.number, "select") + attempt,
            )
            picked = pool[chosen].with_info(fingerprint=np.full(size, cv.fingerprint))
            answers.append(self._label(picked))
            everything = attempt == 0
            missing -= count_good(self.directory, self.number, answers[-1], everything=everything)
            pool = pool[np.setdiff1d(np.arange(len(pool)), chosen)]
        tried = concatenate(answers)
        self.directory.record(
            "selected",
            self.number,
            walker=tried.info["walker"].tolist(),
            step=tried.info["step"].tolist(),
        )
        if missing == wanted:
            self._keep_none(tried)
            return 0
        check_calibration(self.directory, self.number, cv, labelled_part(tried))
        seconds = time.monotonic() - begun
        keep_labels(self.config, self.directory, self.number, tried, offered, seconds)
        return wanted - missing

    def _keep_none(self, tried: Dataset) -> None:
        """Set apart a round of which every label failed.

        Raises
        ------
        CampaignError
            If there were so many that the oracle must be to blame.
        """
        count_good(self.directory, self.number, tried, everything=True)
        self.directory.add("quarantine", tried.without_labels())
        self.directory.record("no_candidate", self.number, failed=len(tried))

    def begin(self) -> None:
        """Label the first frames, or take those that are labelled already.

        Raises
        ------
        CampaignError
            If the oracle failed for all of them.
        """
        given = labelled_data(self.config)
        if given is None:
            self.label(first_frames(self.config, self.setup))
            return
        frames = with_columns(given).with_info(label_error=np.full(len(given), "", dtype=str))
        keep_labels(self.config, self.directory, self.number, frames)

    def label(self, frames: Dataset) -> None:
        """Label frames and add them to the run directory; failed ones go to quarantine.

        Raises
        ------
        CampaignError
            If the oracle failed for all of them.
        """
        begun = time.monotonic()
        answer = self._label(frames)
        count_good(self.directory, self.number, answer, everything=True)
        seconds = time.monotonic() - begun
        keep_labels(self.config, self.directory, self.number, answer, seconds=seconds)

    def _label(self, frames: Dataset) -> Dataset:
        if self.work.runner is None:
            (done,) = self.work.each([LabelTask(self.setup.oracle, frames)])
            answer: Dataset = done.result()
            return answer
        size = self.config.execution.labels_per_task
        return label_frames(self.setup.oracle, frames, self.work.runner, size)


def first_frames(config: CampaignConfig, setup: Setup) -> Dataset:
    """Return the frames of round 0, with the columns of later rounds."""
    return with_columns(displaced_starts(config, setup.start))


def with_columns(frames: Dataset) -> Dataset:
    """Return frames of round 0 with the columns that sampled ones have."""
    count = len(frames)
    return frames.with_info(
        round=np.zeros(count, dtype=np.int64),
        walker=np.full(count, -1),
        step=np.full(count, -1),
        uncertainty=np.full(count, np.nan),
        bias=np.full(count, np.nan),
        stop_reason=np.full(count, "", dtype=str),
        fingerprint=np.full(count, "", dtype=str),
    )
