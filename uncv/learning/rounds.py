"""One round of a campaign: train, sample, then acquire; each stage done once, even over a kill."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from uncv.bias import AnyBias, WarmUp
from uncv.calibration import ScaleCalibrator
from uncv.config import CampaignConfig
from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.errors import CampaignError
from uncv.executors import Done, Failed
from uncv.io import read, write
from uncv.journal import replace_file
from uncv.learning.acquisition import Acquisition
from uncv.learning.bias import choose_bias, warm_up_steps
from uncv.learning.calibration import SPLITS, Calibration, Folds, calibrate, trains_folds
from uncv.learning.directory import RunDirectory
from uncv.learning.dynamics import join_runs, join_warm_ups
from uncv.learning.ending import seen_by_rules
from uncv.learning.observed import errors_of, run_of
from uncv.learning.setup import Setup, seed_of
from uncv.learning.tasks import SampleTask, WalkerGroup, WarmUpTask
from uncv.learning.trainer import Trainer
from uncv.learning.walkers import Origin, walker_groups
from uncv.learning.work import Work, values_of
from uncv.models import AniPotential
from uncv.sampling_run import SampledRun

Report = Callable[[str, float], None]
"""Told the stage and how much of it is done (0 to 1); may raise to end the campaign there."""


class Trained(NamedTuple):
    """What a round trained, not calibrated yet, and how it is calibrated."""

    cv: UncertaintyCV
    calibration: Calibration


@dataclass(frozen=True)
class Round:
    """One round; its stages read from the run directory and write back to it.

    Parameters
    ----------
    number : int
        From 1; the first labels are round 0.
    config : CampaignConfig
        The campaign.
    setup : Setup
        Its structure and oracle.
    directory : RunDirectory
        Where everything is kept.
    report : callable
        Called with stage and share done.
    work : Work
        Does the tasks; in this process by default.
    """

    number: int
    config: CampaignConfig
    setup: Setup
    directory: RunDirectory
    report: Report
    work: Work = field(default_factory=Work)

    def train(self, *, last: bool = False) -> UncertaintyCV:
        """Train on all labels, fit and calibrate the uncertainty; or read what was trained.

        Parameters
        ----------
        last : bool
            Whether it is the campaign's last training, which may begin with new networks.
        """
        path = self.directory.model(self.number)
        if path.exists():
            return UncertaintyCV.load(path)
        anew = last and self.config.potential.epochs_final is not None
        if self._nothing_new(anew=anew):
            return self.directory.save_model(
                path, UncertaintyCV.load(self.directory.model(self.number - 1))
            )
        begun = time.monotonic()
        labelled = self.directory.known()
        parts = {s: labelled[np.flatnonzero(labelled.info["split"] == s)] for s in SPLITS}
        found = self._train(labelled, parts, anew=anew)
        cv, calibrator = found.cv, found.calibration.calibrator
        judged = {"train": parts["train"], "valid": parts["valid"], "test": self.setup.test}
        self.directory.record(
            "trained",
            self.number,
            seconds=round(time.monotonic() - begun, 2),
            fingerprint=cv.fingerprint,
            frames={s: len(parts[s]) for s in SPLITS},
            anew=anew,
            calibration=found.calibration.note,
            factor=calibrator.factor if isinstance(calibrator, ScaleCalibrator) else None,
            errors=errors_of(cv, judged),
        )
        return self.directory.save_model(path, cv.calibrated(calibrator))

    def _nothing_new(self, *, anew: bool) -> bool:
        """Return whether the model before was trained on all labels, so that it is still right."""
        trained = self.directory.journal.events("trained")
        earlier = [e for e in trained if e["round"] < self.number]
        if not earlier or (anew and not earlier[-1].get("anew", False)):
            return False
        known = sum(earlier[-1]["frames"].values()) == self.directory.labelled_count()
        return known and self.directory.model(self.number - 1).exists()

    def _train(self, labelled: Dataset, parts: dict[str, Dataset], *, anew: bool) -> Trained:
        given, held_out = self.config.calibration, parts["calibration"]
        potential = self.config.potential
        config = self.config.model_copy(
            update={"potential": potential.of_last if anew else potential}
        )
        trainer = Trainer(
            config,
            self.number,
            parts["valid"],
            1 + (given.folds if trains_folds(len(held_out), given) else 0),
            lambda share: self.report("train", share),
            self.work,
        )
        cv = trainer.model(parts["train"], None if anew else self._previous_potential())
        every = labelled[np.flatnonzero(labelled.info["split"] != "valid")]
        folds = Folds(every, trainer.fold, seed_of(self.config, self.number, "fold"))
        return Trained(cv, calibrate(cv, held_out, self.config, folds))

    def sample(self) -> Dataset:
        """Run the walkers on the model of the round, or read the frames of the run.

        Raises
        ------
        CampaignError
            If no group of walkers could be run.
        """
        path = self.directory.frames(self.number)
        if path.exists():
            return read(path)
        begun = time.monotonic()
        model = self.directory.model(self.number)
        before = self.number - 1 if self.directory.frames(self.number - 1).exists() else None
        groups = walker_groups(
            self.config, self.setup, self.directory, self.number, Origin(model, before)
        )
        spent = warm_up_steps(self.config.bias, groups[0].dynamics.settings)
        bias = choose_bias(
            self.config.bias, groups[0].dynamics, lambda: self._warm_up(groups, spent)
        )
        steps = self.config.sampling.steps_per_round - spent
        tasks = [SampleTask(group, bias, steps) for group in groups]
        results = self.work.each(tasks, lambda share: self.report("sample", share))
        run = self._joined(groups, results)
        frames = run.frames.with_info(round=np.full(len(run.frames), self.number))
        self._record_run(run, frames, bias, spent, time.monotonic() - begun)
        replace_file(path, lambda part: write(part, frames))
        return read(path)

    def _warm_up(self, groups: list[WalkerGroup], steps: int) -> WarmUp:
        tasks = [WarmUpTask(group, steps) for group in groups]
        return join_warm_ups(values_of(self.work.each(tasks), "warming up"))

    def _joined(self, groups: list[WalkerGroup], results: list[Done[Any] | Failed]) -> SampledRun:
        """Return the runs of the groups as one; a group that failed is recorded and left out."""
        failed = [r for r in results if isinstance(r, Failed)]
        if len(failed) == len(results):
            values_of(results, "sampling")
        for group, result in zip(groups, results, strict=True):
            if isinstance(result, Failed):
                self.directory.journal.append(
                    "task_failed", round=self.number, group=group.group, reason=result.reason
                )
        kept = [(g, r) for g, r in zip(groups, results, strict=True) if isinstance(r, Done)]
        return join_runs([r.value for _, r in kept], [g.first for g, _ in kept])

    def _record_run(
        self, run: SampledRun, frames: Dataset, bias: AnyBias | None, spent: int, seconds: float
    ) -> None:
        stored = [*self.directory.stored_frames(), frames]
        cv = UncertaintyCV.load(self.directory.model(self.number))
        self.directory.record(
            "sampled",
            self.number,
            seconds=round(seconds, 2),
            walker_steps=run.walker_steps + spent * self.config.sampling.walkers,
            bias=repr(bias),
            coverage=self.setup.observable.coverage(stored),
            kind=cv.kind,
            calibrated=cv.calibrator is not None,
            **run_of(run),
            **seen_by_rules(self.config, self.setup, frames),
        )

    @property
    def acquisition(self) -> Acquisition:
        """What chooses and labels in this round."""
        return Acquisition(self.number, self.config, self.setup, self.directory, self.work)

    def _previous_potential(self) -> AniPotential | None:
        path = self.directory.model(self.number - 1)
        if not path.exists():
            return None
        potential = UncertaintyCV.load(path).potential
        if not isinstance(potential, AniPotential):
            raise CampaignError(f"{path} holds a potential that cannot be trained further")
        return potential
