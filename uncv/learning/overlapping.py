"""Campaigns in which labels, training and sampling overlap, so that nobody waits for the slowest.

Each group of walkers runs segment after segment on the newest model there is. Their frames wait in
a pool; whenever no batch is being labelled the next one is chosen from it, and after each training
all that wait are scored anew. A training begins when a batch of labels has come in since the last.

What is done is in the run directory: frames of each segment, labels, models. What was being done
when a campaign is killed is begun again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from uncv.config import CampaignConfig
from uncv.cv import UncertaintyCV
from uncv.data import Dataset, concatenate
from uncv.errors import CampaignError
from uncv.executors import Failed, TaskRunner
from uncv.io import write
from uncv.journal import replace_file
from uncv.labelling import label_tasks, lost_labels
from uncv.learning.bias import choose_bias, warm_up_steps
from uncv.learning.calibration import SPLITS, calibrate
from uncv.learning.directory import RunDirectory
from uncv.learning.ending import reason_to_end
from uncv.learning.labels import check_calibration, keep_labels
from uncv.learning.observed import errors_of, spread_of
from uncv.learning.pool import choose_frames
from uncv.learning.rounds import kind_of_stop
from uncv.learning.setup import Setup, seed_of
from uncv.learning.tasks import WalkerGroup
from uncv.learning.trainer import fit_variable, train_tasks
from uncv.learning.walkers import Origin, bare, broken, walker_groups
from uncv.models import AniPotential
from uncv.oracles import labelled_part
from uncv.sampling_run import SampledRun

POLL_SECONDS = 0.5
FAILURES = 3
"""Segments in a row that a group may lose before the campaign ends."""
WAITING_BATCHES = 50
"""Sampling pauses while so many batches wait to be labelled."""


@dataclass(frozen=True)
class Segment:
    """A run of a group of walkers, with a warm-up of its own where the bias needs one."""

    group: WalkerGroup

    def __call__(self) -> tuple[SampledRun, str, int]:
        """Return the run, its bias in words, and the steps of the warm-up."""
        dynamics, config = self.group.dynamics, self.group.config
        spent = warm_up_steps(config.bias, dynamics.settings)
        bias = choose_bias(config.bias, dynamics)
        steps = config.sampling.steps_per_round - spent
        return dynamics.run(bias, steps, self.group.seed("sample")), repr(bias), spent


class _Job(NamedTuple):
    """A task that is being done: whose it is, and its place there."""

    kind: str
    place: int


@dataclass
class _Together:
    """Tasks that count once all are there: the parts of a training, the frames of a batch."""

    results: list[Any]
    begun: float = field(default_factory=time.monotonic)

    def put(self, place: int, result: Any) -> bool:
        """Keep a result and return whether it was the last one."""
        self.results[place] = result
        return all(r is not None for r in self.results)


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
        self._groups: dict[int, WalkerGroup] = {}
        self._failures: Counter[int] = Counter()
        self._segment = directory.last("frames")
        self._last = {
            int(e["group"]): int(e["round"])
            for e in directory.journal.events("sampled")
            if directory.frames(e["round"]).exists()
        }
        self._model = directory.last("model")
        self._cv: UncertaintyCV | None = None
        self._trained_on = 0
        if self._model:
            self._cv = UncertaintyCV.load(directory.model(self._model))
            self._trained_on = self._labels_of_model()
        self._waiting = self._untried()
        self._training: _Together | None = None
        self._labelling: _Together | None = None
        self._chosen: list[Dataset] = []

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
            self._train_if_due()
            self._sample()
            self._label()
            for number, outcome in self._runner.poll(POLL_SECONDS):
                self._settle(self._jobs.pop(number), outcome)
            self.report()

    def _submit(self, tasks: Sequence[Callable[[], Any]], kind: str) -> None:
        for place, task in enumerate(tasks):
            self._jobs[self._runner.submit(task)] = _Job(kind, place)

    def _settle(self, job: _Job, outcome: Any) -> None:
        if job.kind == "segment":
            self._end_segment(job.place, outcome)
        elif job.kind == "train" and self._training is not None:
            if isinstance(outcome, Failed):
                raise CampaignError(f"a training failed: {outcome.reason}; run again to continue")
            if self._training.put(job.place, outcome.value):
                self._end_training(self._training)
        elif self._labelling is not None:
            frames = self._chosen[job.place]
            lost = isinstance(outcome, Failed)
            answer = lost_labels(frames, outcome.reason) if lost else outcome.value
            if self._labelling.put(job.place, answer):
                self._end_labelling(self._labelling)

    # Training

    def _train_if_due(self) -> None:
        labels = self.directory.labelled_count()
        new = labels - self._trained_on
        due = self._cv is None or new >= self.config.selection.batch_size
        if self._training is not None or not due:
            return
        self._trained_on = labels
        parts = self._splits()
        start = None if self._cv is None else self._cv.potential
        tasks = train_tasks(
            self.config,
            self._model + 1,
            parts["train"],
            parts["valid"],
            start if isinstance(start, AniPotential) else None,
        )
        self._training_parts = parts
        self._training = _Together([None] * len(tasks))
        self._submit(tasks, "train")

    def _splits(self) -> dict[str, Dataset]:
        labelled = self.directory.known()
        return {s: labelled[np.flatnonzero(labelled.info["split"] == s)] for s in SPLITS}

    def _end_training(self, done: _Together) -> None:
        parts, number = self._training_parts, self._model + 1
        cv = fit_variable(self.config, done.results, parts["train"])
        calibration = calibrate(cv, parts["calibration"], self.config)
        judged = {"train": parts["train"], "valid": parts["valid"], "test": self.setup.test}
        self.directory.record(
            "trained",
            number,
            seconds=round(time.monotonic() - done.begun, 2),
            fingerprint=cv.fingerprint,
            frames={s: len(parts[s]) for s in SPLITS},
            calibration=calibration.note,
            errors=errors_of(cv, judged),
        )
        path = self.directory.model(number)
        self._cv = self.directory.save_model(path, cv.calibrated(calibration.calibrator))
        self._model, self._training = number, None
        if len(self._waiting):
            scores = self._cv.predict(self._waiting).uncertainty
            self._waiting = self._waiting.with_info(uncertainty=scores)

    def _labels_of_model(self) -> int:
        events = self.directory.journal.events("trained")
        frames = [e["frames"] for e in events if e["round"] == self._model]
        return sum(frames[-1].values()) if frames else 0

    # Sampling

    def _sample(self) -> None:
        enough = WAITING_BATCHES * self.config.selection.batch_size
        if self._cv is None or len(self._waiting) > enough:
            return
        count = self.config.execution.walker_groups
        running = {group.group for group in self._groups.values()}
        model = self.directory.model(self._model)
        for number in sorted(set(range(min(count, self.config.sampling.walkers))) - running):
            self._segment += 1
            origin = Origin(model, self._last.get(number))
            groups = walker_groups(self.config, self.setup, self.directory, self._segment, origin)
            self._groups[self._segment] = groups[number]
            self._jobs[self._runner.submit(Segment(groups[number]))] = _Job(
                "segment", self._segment
            )

    def _end_segment(self, segment: int, outcome: Any) -> None:
        group = self._groups.pop(segment)
        if isinstance(outcome, Failed):
            self._failures[group.group] += 1
            self.directory.journal.append(
                "task_failed", round=segment, group=group.group, reason=outcome.reason
            )
            if self._failures[group.group] >= FAILURES:
                raise CampaignError(
                    f"walkers of group {group.group} failed {FAILURES} times in a row (last: "
                    f"{outcome.reason}); correct the cause and run again to continue"
                )
            return
        self._failures[group.group] = 0
        run, bias, spent = outcome.value
        count = len(run.frames)
        frames = run.frames.with_info(
            walker=run.frames.info["walker"] + group.first,
            segment=np.full(count, segment),
            group=np.full(count, group.group),
            round=np.full(count, self._model),
        )
        stored = [*self.directory.stored_frames(), frames]
        self.directory.record(
            "sampled",
            segment,
            group=group.group,
            frames=count,
            walker_steps=run.walker_steps + spent * len(group.starts),
            bias=bias,
            reweightable=run.reweightable,
            reason=run.reason,
            stops=len(run.stop_reasons),
            stop_reasons=dict(Counter(kind_of_stop(reason) for reason in run.stop_reasons)),
            coverage=self.setup.observable.coverage(stored),
            **spread_of(frames),
        )
        replace_file(self.directory.frames(segment), lambda part: write(part, frames))
        self._last[group.group] = segment
        self._wait([frames])

    def _wait(self, parts: list[Dataset]) -> None:
        """Put the whole structures of new frames into the pool."""
        whole = [p[np.flatnonzero(broken(self.config, self.setup, p) == "")] for p in parts]
        self._waiting = concatenate([self._waiting, *whole])

    def _untried(self) -> Dataset:
        """Return the stored frames that the oracle has not been asked for."""
        nothing = bare(self.setup.start[:0])
        frames = self.directory.stored_frames()
        if not frames:
            return nothing
        asked = [self.directory.labelled(), self.directory.quarantine()]
        tried = {key for part in asked if part is not None for key in _keys(part)}
        everything = concatenate(frames)
        fresh = [n for n, key in enumerate(_keys(everything)) if key not in tried]
        kept = everything[fresh]
        return kept[np.flatnonzero(broken(self.config, self.setup, kept) == "")]

    # Labels

    def _label(self) -> None:
        if self._cv is None or self._labelling is not None or len(self._waiting) == 0:
            return
        known, number = self.directory.known(), self.directory.next_round()
        missing = self.config.budget.labels - len(known)
        size = min(self.config.selection.batch_size, missing, len(self._waiting))
        if size == 0:
            return
        chosen = choose_frames(
            self._cv,
            self._waiting,
            known,
            size,
            self.config.selection.method,
            seed=seed_of(self.config, number, "select"),
        )
        picked = self._waiting[chosen].with_info(
            fingerprint=np.full(size, self._cv.fingerprint), round=np.full(size, number)
        )
        rest = np.setdiff1d(np.arange(len(self._waiting)), chosen)
        self._waiting = self._waiting[rest]
        tasks = label_tasks(self.setup.oracle, picked, self.config.execution.labels_per_task)
        self._chosen = [task.frames for task in tasks]
        self._labelling = _Together([None] * len(tasks))
        self._submit(tasks, "label")

    def _end_labelling(self, done: _Together) -> None:
        tried, number = concatenate(done.results), self.directory.next_round()
        self._labelling = None
        good = labelled_part(tried)
        self.directory.record(
            "selected",
            number,
            walker=tried.info["walker"].tolist(),
            step=tried.info["step"].tolist(),
        )
        if len(good) == 0:
            self.directory.add("quarantine", tried.without_labels())
            raise CampaignError(
                f"the oracle failed for all {len(tried)} frames of batch {number} (first: "
                f"{tried.info['label_error'][0]}); correct the oracle and run again to continue"
            )
        if self._cv is not None:
            check_calibration(self.directory, number, self._cv, good)
        keep_labels(self.config, self.directory, number, tried)


def _keys(frames: Dataset) -> list[tuple[int, int, int]]:
    """Return segment, walker and step of each frame: no two frames have the same."""
    if "segment" not in frames.info:
        return []
    columns = [frames.info[name].tolist() for name in ("segment", "walker", "step")]
    return list(zip(*columns, strict=True))
