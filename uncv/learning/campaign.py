"""The active-learning campaign: train, sample, choose, label, until the label budget is spent."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from uncv.config import CampaignConfig, load_config, make_config
from uncv.cv import UncertaintyCV
from uncv.data import concatenate
from uncv.errors import CampaignError, WallTimeReached
from uncv.executors import torch_threads
from uncv.io import write
from uncv.journal import replace_file, run_lock
from uncv.learning.directory import RunDirectory
from uncv.learning.ending import reason_to_end
from uncv.learning.interrupts import Interrupted, interrupts
from uncv.learning.overlapping import Overlapping
from uncv.learning.results import CampaignProgress, CampaignResult
from uncv.learning.rounds import Round
from uncv.learning.setup import Setup, make_setup
from uncv.learning.walkers import broken
from uncv.learning.work import Work, open_work

TRAIN_SHARE = 0.7
"""Share of training in the time of a round, for the estimate of what is left."""


def learn(
    config: CampaignConfig | dict[str, Any] | str | Path,
    out: str | Path | None = None,
    progress: Callable[[CampaignProgress], None] | None = None,
) -> CampaignResult:
    """Run an active-learning campaign, or continue one.

    Parameters
    ----------
    config : CampaignConfig, dict or path-like
        The configuration, its YAML file, or the run directory of a campaign to continue.
    out : path-like, optional
        The run directory; by default a folder ``NAME_run`` beside ``NAME.yaml``. If a campaign is
        there already, it goes on where it stopped: every finished stage is kept, and the labels in
        the end are those of a campaign that was never interrupted.
    progress : callable, optional
        Called with a `CampaignProgress` after every epoch and every stored frame.

    Returns
    -------
    CampaignResult
        With ``finished=False`` after Ctrl-C, which ends the campaign after the current step.

    Raises
    ------
    ConfigError
        If the configuration is not valid.
    CampaignError
        If the directory is in use or holds another campaign, or the campaign cannot go on.
    """
    given, path = _resolve(config, out)
    path.mkdir(parents=True, exist_ok=True)
    setup = make_setup(given, path / "labels.jsonl")
    with run_lock(path), torch_threads(given.threads), interrupts() as interrupted:
        directory = RunDirectory(path)
        directory.open(given)
        with open_work(given.execution, path) as work:
            campaign = _Campaign(given, setup, directory, work, progress, interrupted)
            try:
                campaign.run()
            except Interrupted:
                directory.journal.append(
                    "interrupted", labels=directory.labelled_count(), reason="Ctrl-C"
                )
            except WallTimeReached as end:
                directory.journal.append(
                    "interrupted", labels=directory.labelled_count(), reason=str(end)
                )
        return campaign.result()


class _Campaign:
    def __init__(
        self,
        config: CampaignConfig,
        setup: Setup,
        directory: RunDirectory,
        work: Work,
        progress: Callable[[CampaignProgress], None] | None,
        interrupted: threading.Event,
    ) -> None:
        self.config = config
        self.setup = setup
        self.directory = directory
        self.work = work
        self.progress = progress
        self.interrupted = interrupted
        self.coverage: float | None = None
        self.labels = 0

    def run(self) -> None:
        if self.directory.labelled_count() == 0:
            self._round(0).acquisition.begin()
        self.labels = self.directory.labelled_count()
        overlap = self.config.execution.mode == "asynchronous"
        number = self._overlapping() if overlap else self._rounds()
        reason = reason_to_end(self.config, self.directory)
        if not self._is_final(number):
            cv = self._round(number).train(last=True)
            self._write_candidates()
            told = self.directory.journal.events("finished")
            if not told or told[-1]["labels"] != self.labels or told[-1]["reason"] != reason:
                self.directory.journal.append("finished", labels=self.labels, reason=reason)
            self.directory.save_model(self.directory.final, cv)
        self._tell(number, "done", 1.0)

    def result(self) -> CampaignResult:
        events = self.directory.journal.events("sampled")
        final = self.directory.final
        reason = reason_to_end(self.config, self.directory)
        finished = final.exists() and bool(reason)
        return CampaignResult(
            self.directory.path,
            finished,
            self.directory.labelled_count(),
            max(0, self.directory.next_round() - 1),
            sum(event["walker_steps"] for event in events),
            self.setup.observable.coverage(self.directory.stored_frames()),
            final if finished else None,
            reason if finished else "",
        )

    def _rounds(self) -> int:
        """Do round after round, and return the number of the final training."""
        number = self.directory.next_round()
        while not reason_to_end(self.config, self.directory):
            self._one_round(number)
            self.labels = self.directory.labelled_count()
            number += 1
        return number

    def _overlapping(self) -> int:
        """Do everything at once, and return the number of the final training."""
        last = self.directory.last("model")
        if reason_to_end(self.config, self.directory):
            return last if self._is_final(last) else last + 1
        runner = self.work.runner
        if runner is None:
            raise CampaignError("stages that overlap need a runner; this is a bug in uncv")

        def tell() -> None:
            self.labels = self.directory.labelled_count()
            self._tell(self.directory.last("model"), "sample", 0.0)

        overlapping = Overlapping(self.config, self.setup, self.directory, runner, tell)
        overlapping.run()
        self.labels = self.directory.labelled_count()
        return self.directory.last("model") + 1

    def _one_round(self, number: int) -> None:
        round_ = self._round(number)
        cv = round_.train()
        frames = round_.sample()
        self.coverage = self.setup.observable.coverage(self.directory.stored_frames())
        acquisition = round_.acquisition
        acquisition.choose_and_label(cv, acquisition.pool(frames))

    def _write_candidates(self) -> None:
        stored = self.directory.stored_frames()
        if not stored:
            return
        frames = concatenate(stored)
        whole = np.flatnonzero(broken(self.config, self.setup, frames) == "")
        path = self.directory.path / "candidates.extxyz"
        replace_file(path, lambda part: write(part, frames[whole]))

    def _is_final(self, number: int) -> bool:
        model, final = self.directory.model(number), self.directory.final
        if not (model.exists() and final.exists()):
            return False
        return UncertaintyCV.load(model).fingerprint == UncertaintyCV.load(final).fingerprint

    def _round(self, number: int) -> Round:
        return Round(
            number,
            self.config,
            self.setup,
            self.directory,
            lambda stage, share: self._tell(number, stage, share),
            self.work,
        )

    def _tell(self, number: int, stage: str, share: float) -> None:
        if self.progress is not None:
            done = 1.0 if stage == "done" else self._fraction(stage, share)
            budget = self.config.budget.labels
            self.progress(
                CampaignProgress(number, stage, self.labels, budget, self.coverage, done, share)
            )
        if self.interrupted.is_set():
            raise Interrupted

    def _fraction(self, stage: str, share: float) -> float:
        """Estimate the share done from the labels, and within a round from its stage."""
        budget, batch = self.config.budget, self.config.selection.batch_size
        within = (
            TRAIN_SHARE * share if stage == "train" else TRAIN_SHARE + (1 - TRAIN_SHARE) * share
        )
        done = self.labels - budget.initial_labels + batch * within
        return min(1.0, done / (budget.labels - budget.initial_labels + batch * TRAIN_SHARE))


def _resolve(
    config: CampaignConfig | dict[str, Any] | str | Path, out: str | Path | None
) -> tuple[CampaignConfig, Path]:
    if isinstance(config, (str, Path)) and Path(config).is_dir():
        here = Path(config)
        if out is not None and Path(out).resolve() != here.resolve():
            raise CampaignError(f"{here} is continued in place; leave out={out} away")
        if not (here / "config.yaml").exists():
            raise CampaignError(f"{here} is no run directory (no config.yaml); give a YAML file")
        return load_config(here / "config.yaml"), here
    if isinstance(config, (str, Path)):
        given, default = load_config(config), Path(config).with_name(f"{Path(config).stem}_run")
        return given, Path(out) if out is not None else default
    given = make_config(config) if isinstance(config, dict) else config
    if out is None:
        raise CampaignError("a run directory is needed; give out=")
    return given, Path(out)
