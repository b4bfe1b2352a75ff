"""Labels by workers: the same as by the oracle itself, and one bad frame costs one label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncv.data import Dataset, concatenate
from uncv.errors import ConfigError
from uncv.executors import Done, Failed, TaskRunner
from uncv.oracles.base import Answer, with_answers
from uncv.protocols import Oracle


@dataclass(frozen=True)
class LabelTask:
    """Some frames that one worker labels.

    Parameters
    ----------
    oracle : Oracle
        It pickles.
    frames : Dataset
        Structures.
    """

    oracle: Oracle
    frames: Dataset

    def __call__(self, share: Callable[[float], None] | None = None) -> Dataset:
        """Return the answer of the oracle."""
        return self.oracle.label(self.frames)


def label_tasks(oracle: Oracle, frames: Dataset, labels_per_task: int = 1) -> list[LabelTask]:
    """Cut frames into tasks of so many each, in their order.

    Raises
    ------
    ConfigError
        If labels_per_task is not positive.
    """
    if labels_per_task < 1:
        raise ConfigError(f"labels_per_task is {labels_per_task}; give a positive number")
    starts = range(0, len(frames), labels_per_task)
    return [LabelTask(oracle, frames[n : n + labels_per_task]) for n in starts]


def lost_labels(frames: Dataset, reason: str, level_of_theory: str = "") -> Dataset:
    """Return frames as an oracle does that failed for all of them, for this reason."""
    return with_answers(frames, [Answer(None, reason)] * len(frames), level_of_theory)


def label_frames(
    oracle: Oracle,
    frames: Dataset,
    runner: TaskRunner,
    labels_per_task: int = 1,
    *,
    progress: Callable[[int, int], None] | None = None,
    each: Callable[[NDArray[np.int64], Dataset], None] | None = None,
) -> Dataset:
    """Label frames by workers.

    Frames whose task was lost with its worker, or raised, are tried again one by one.

    Parameters
    ----------
    oracle : Oracle
        Computes the labels; it goes to the workers, so it pickles.
    frames : Dataset
        Structures; labels they carry are replaced.
    runner : TaskRunner
        Hands out the tasks.
    labels_per_task : int
        Frames that a worker gets at once.
    progress : callable, optional
        Told how many frames are answered for, and how many there are.
    each : callable, optional
        Told the indices of the frames of a task and the answer, as soon as it is there; of frames
        that are tried again only what comes of that.

    Returns
    -------
    Dataset
        What ``oracle.label(frames)`` returns; frames that killed their worker, or took too long,
        carry the reason in ``label_error``.

    Raises
    ------
    ConfigError
        If labels_per_task is not positive.
    WallTimeReached
        If the time left does not suffice; ``each`` has been told what is finished.
    ExecutionError
        If the workers are of no use.
    """
    if len(frames) == 0:
        return oracle.label(frames)
    work = _Labelling(oracle, frames, runner, progress, each)
    work.attempt(label_tasks(oracle, frames, labels_per_task), split=labels_per_task > 1)
    return concatenate([work.answers[n] for n in sorted(work.answers)])


class _Labelling:
    """The answers for some frames, by the index of the first frame of each."""

    def __init__(
        self,
        oracle: Oracle,
        frames: Dataset,
        runner: TaskRunner,
        progress: Callable[[int, int], None] | None,
        each: Callable[[NDArray[np.int64], Dataset], None] | None,
    ) -> None:
        self.oracle = oracle
        self.frames = frames
        self.runner = runner
        self.progress = progress
        self.each = each
        self.answers: dict[int, Dataset] = {}
        self.answered = 0

    def attempt(self, tasks: list[LabelTask], *, split: bool) -> None:
        """Label all frames; if they may be split, those of failed tasks again one by one."""
        ends = np.cumsum([len(task.frames) for task in tasks])
        places = np.split(np.arange(len(self.frames)), ends[:-1])
        again: list[int] = []

        def take(number: int, outcome: Done[Any] | Failed) -> None:
            if split and isinstance(outcome, Failed):
                again.extend(places[number].tolist())
            else:
                self._keep(places[number], outcome)

        self.runner.run(tasks, each=take, retries=0 if split else None)
        if again:
            again.sort()
            singles = label_tasks(self.oracle, self.frames[again])
            self.runner.run(singles, each=lambda n, o: self._keep(np.array([again[n]]), o))

    def _keep(self, places: NDArray[np.int64], outcome: Done[Any] | Failed) -> None:
        if isinstance(outcome, Done):
            answer = outcome.value
        else:
            theory = getattr(self.oracle, "level_of_theory", "")
            answer = lost_labels(self.frames[places], outcome.reason, theory)
        self.answers[int(places[0])] = answer
        self.answered += len(places)
        if self.each is not None:
            self.each(places, answer)
        if self.progress is not None:
            self.progress(self.answered, len(self.frames))
