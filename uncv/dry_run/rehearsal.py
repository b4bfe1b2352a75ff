"""A campaign gone through on trial: each thing that it needs is looked at, in its order."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from importlib.util import find_spec
from math import ceil
from pathlib import Path

from uncv.config import CampaignConfig, load_config
from uncv.data import Dataset
from uncv.dry_run.results import DryRun, PlannedStage
from uncv.dry_run.timing import time_dynamics, time_labels, time_training
from uncv.errors import (
    CalibrationError,
    CampaignError,
    ConfigError,
    DataError,
    DependencyError,
    ElementError,
    GradientError,
    TrainingError,
    UncvError,
)
from uncv.executors import torch_threads
from uncv.importing import load_object
from uncv.learning.calibration import trains_folds
from uncv.learning.directory import RunDirectory
from uncv.learning.setup import Setup, displaced_starts, labelled_data, make_setup
from uncv.status import run_directory
from uncv.status.holder import holder_of

EXCUSED = (DataError, TrainingError, CalibrationError, GradientError, ArithmeticError)
"""What may come of so few frames and so short a training, and need not befall the campaign."""


def dry_run(config: str | Path, out: str | Path | None = None) -> DryRun:
    """Return what `learn` would do with a configuration, and the first problem it would have.

    Parameters
    ----------
    config : path-like
        A YAML file, or the run directory of a campaign to continue.
    out : path-like, optional
        The run directory, as for `learn`.

    Notes
    -----
    The cost is extrapolated from a few labels, some epochs on one batch and a few steps of the
    walkers of one group, all in this process: an estimate.
    """
    path = run_directory(config, out)
    rehearsal = _Rehearsal(DryRun(path))
    try:
        rehearsal.run(Path(config))
    except (UncvError, OSError, ValueError) as error:
        wrong = isinstance(error, (ConfigError, FileNotFoundError))
        text = "; ".join([str(error), *getattr(error, "__notes__", ())])
        rehearsal.tell(problem=text, exit_code=2 if wrong else 1)
    return rehearsal.found


class _Rehearsal:
    """Goes through a campaign; what it has found so far is kept when something fails."""

    def __init__(self, found: DryRun) -> None:
        self.found = found

    def tell(self, **changes: object) -> None:
        self.found = replace(self.found, **changes)  # type: ignore[arg-type]

    def note(self, text: str) -> None:
        self.tell(notes=(*self.found.notes, text))

    def run(self, given: Path) -> None:
        here = self.found.directory
        config = load_config(given / "config.yaml" if given.is_dir() else given)
        given_labels = labelled_data(config)
        first = config.budget.initial_labels if given_labels is None else 0
        self._plan(config, first or len(given_labels or ()), first)
        labelled = self._place(here, config)
        if labelled is not None:
            self._plan(config, len(labelled), 0)
        setup = make_setup(config)
        self.tell(
            atoms=int(setup.start.frame_atoms[0]),
            engine=setup.engine,
            level_of_theory=str(getattr(setup.oracle, "level_of_theory", "")),
        )
        _check_execution(config)
        if config.execution.mode == "asynchronous":
            self.note("stages overlap: the whole takes less than the sum of the stages")
        if self.found.state == "finished":
            self.tell(stages=())
            return
        with torch_threads(config.threads), tempfile.TemporaryDirectory() as scratch:
            self._try(config, setup, labelled, Path(scratch))

    def _place(self, path: Path, config: CampaignConfig) -> Dataset | None:
        """Look at the run directory; return the labels that are there."""
        _check_writable(path)
        holder = holder_of(path)
        if holder.held:
            raise CampaignError(
                f"{path} is in use by process {holder.process}; wait for it, stop it, or give "
                "another run directory"
            )
        directory = RunDirectory(path)
        begun = directory.check(config)
        finished = directory.journal.events()[-1:]
        ended = bool(finished) and finished[0]["event"] == "finished"
        labelled = directory.labelled()
        enough = labelled is not None and len(labelled) >= config.budget.labels
        self.tell(state="finished" if ended and enough else "continues" if begun else "new")
        return labelled

    def _plan(self, config: CampaignConfig, labels: int, first: int) -> None:
        """Say how much there is to do from so many labels on, ``first`` of them to be made."""
        budget, batch = config.budget.labels, config.selection.batch_size
        rounds = max(0, ceil((budget - labels) / batch))
        counts = [min(budget, labels + n * batch) for n in range(rounds + 1)]
        steps = sum(
            _training_steps(config, count, n, last=n == rounds) for n, count in enumerate(counts)
        )
        given = config.sampling
        self.tell(
            rounds=rounds,
            labels=labels,
            label_budget=budget,
            walkers=given.walkers,
            steps_per_round=given.steps_per_round,
            stages=(
                PlannedStage("label", max(0, budget - labels) + first, "labels"),
                PlannedStage("train", steps, f"steps of {config.potential.batch_size} frames"),
                PlannedStage(
                    "sample", rounds * given.steps_per_round, f"steps of {given.walkers} walkers"
                ),
            ),
        )

    def _try(
        self, config: CampaignConfig, setup: Setup, labelled: Dataset | None, scratch: Path
    ) -> None:
        frames = labelled if labelled is not None else displaced_starts(config, setup.start)
        trial = time_labels(setup, frames.without_labels())
        if trial.failed:
            self.note(f"the oracle failed for {trial.failed} of the {trial.tried} frames tried")
        self._measured("label", trial.seconds, config.execution.workers)
        known = labelled if labelled is not None else labelled_data(config) or trial.frames
        try:
            trained = time_training(config, known[:8])
            groups = min(config.execution.workers, config.execution.training_groups)
            self._measured("train", trained.seconds, groups)
            seconds = time_dynamics(config, setup, trained.cv, scratch)
            self._measured("sample", seconds, _parallel_walkers(config))
        except ElementError:
            raise
        except EXCUSED as error:
            self.note(f"the trial ended early, and so need not the campaign: {error}")
        times = [stage.seconds for stage in self.found.stages]
        if all(s is not None for s in times):
            self.tell(seconds=sum(s for s in times if s is not None))

    def _measured(self, name: str, each: float, parallel: float) -> None:
        stages = [
            replace(stage, seconds_each=each, seconds=stage.count * each / parallel)
            if stage.name == name
            else stage
            for stage in self.found.stages
        ]
        self.tell(stages=tuple(stages))


def _training_steps(config: CampaignConfig, labels: int, round_: int, *, last: bool) -> int:
    """Return the steps of the training on so many labels, folds included; at most."""
    given, calibration = config.potential, config.calibration
    anew = last and given.epochs_final is not None
    given = given.of_last if anew else given
    held_out = 0 if calibration.method == "none" else round(calibration.held_out_share * labels)
    frames = labels - held_out - round(given.validation_share * labels)
    epochs = given.epochs_of(frames, warm=round_ > 0 and not anew)
    steps = epochs * ceil(frames / given.batch_size)
    if calibration.method == "cross" and trains_folds(held_out, calibration):
        share = (labels - round(given.validation_share * labels)) * (1 - 1 / calibration.folds)
        steps += calibration.folds * given.epochs * ceil(share / given.batch_size)
    return steps


def _parallel_walkers(config: CampaignConfig) -> float:
    """Return by what the time of all groups one after the other is divided.

    A step of one group was measured, and there are more groups.
    """
    given = config.execution
    groups = min(given.walker_groups, config.sampling.walkers)
    return min(given.workers, groups) / groups


def _check_execution(config: CampaignConfig) -> None:
    given = config.execution
    if given.kind == "parsl" and find_spec("parsl") is None:
        raise DependencyError(
            "the execution kind parsl needs Parsl, which is not installed; run: "
            "pip install 'uncv[clusters]'"
        )
    if given.parsl_config is not None:
        load_object(given.parsl_config)


def _check_writable(path: Path) -> None:
    nearest = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not nearest.is_dir():
        raise CampaignError(
            f"{nearest} is a file, so {path} cannot be the run directory; give another --out"
        )
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise CampaignError(
            f"{nearest} cannot be written to, so {path} cannot be the run directory; correct the "
            "permissions or give another --out"
        )
