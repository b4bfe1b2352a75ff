"""Walkers beside everything else: segment after segment, each on the newest model there is."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from uncv.config import CampaignConfig
from uncv.cv import UncertaintyCV
from uncv.data import Dataset, concatenate
from uncv.errors import CampaignError
from uncv.executors import Failed
from uncv.io import write
from uncv.journal import replace_file
from uncv.learning.bias import choose_bias, warm_up_steps
from uncv.learning.directory import RunDirectory
from uncv.learning.ending import seen_by_rules
from uncv.learning.observed import run_of
from uncv.learning.setup import Setup
from uncv.learning.tasks import WalkerGroup
from uncv.learning.walkers import Origin, bare, broken, walker_groups
from uncv.sampling_run import SampledRun

FAILURES = 3
"""Segments in a row that a group may lose before the campaign ends."""
WAITING_BATCHES = 50
"""Sampling pauses while so many batches wait to be labelled."""


@dataclass(frozen=True)
class Segment:
    """A run of a group of walkers, with a warm-up of its own where the bias needs one."""

    group: WalkerGroup

    def __call__(self) -> tuple[SampledRun, str, int, float]:
        """Return the run, its bias in words, the steps of the warm-up, and the time it took."""
        begun = time.monotonic()
        dynamics, config = self.group.dynamics, self.group.config
        spent = warm_up_steps(config.bias, dynamics.settings)
        bias = choose_bias(config.bias, dynamics)
        steps = config.sampling.steps_per_round - spent
        run = dynamics.run(bias, steps, self.group.seed("sample"))
        return run, repr(bias), spent, round(time.monotonic() - begun, 2)


class OverlappingWalkers:
    """Groups of walkers, and the pool of what they have stored and nobody has labelled.

    Parameters
    ----------
    config : CampaignConfig
        The campaign.
    setup : Setup
        Its structure.
    directory : RunDirectory
        Where the frames of the segments are, and go.

    Attributes
    ----------
    waiting : Dataset
        Whole structures that the oracle has not been asked for.
    """

    def __init__(self, config: CampaignConfig, setup: Setup, directory: RunDirectory) -> None:
        self.config = config
        self.setup = setup
        self.directory = directory
        self.waiting = self._untried()
        self._number = directory.last("frames")
        self._running: dict[int, WalkerGroup] = {}
        self._failures: Counter[int] = Counter()
        self._last = {
            int(e["group"]): int(e["round"])
            for e in directory.journal.events("sampled")
            if directory.frames(e["round"]).exists()
        }

    @property
    def full(self) -> bool:
        """Whether so many frames wait that sampling pauses."""
        return len(self.waiting) > WAITING_BATCHES * self.config.selection.batch_size

    def segments(self, model: int) -> dict[int, Segment]:
        """Return a new segment for each group that is idle, by its number."""
        if self.full:
            return {}
        count = min(self.config.execution.walker_groups, self.config.sampling.walkers)
        busy = {group.group for group in self._running.values()}
        made = {}
        for group in sorted(set(range(count)) - busy):
            self._number += 1
            origin = Origin(self.directory.model(model), self._last.get(group))
            groups = walker_groups(self.config, self.setup, self.directory, self._number, origin)
            self._running[self._number] = groups[group]
            made[self._number] = Segment(groups[group])
        return made

    def take(self, number: int, outcome: Any, model: int, cv: UncertaintyCV) -> None:
        """Take the result of a segment, beside the number of the newest model and its variable.

        Raises
        ------
        CampaignError
            If the group has failed several times in a row.
        """
        group = self._running.pop(number)
        if isinstance(outcome, Failed):
            self._lose(number, group.group, outcome.reason)
            return
        self._failures[group.group] = 0
        run, bias, spent, seconds = outcome.value
        frames = self._with_columns(run.frames, number, group, model)
        stored = [*self.directory.stored_frames(), frames]
        self.directory.record(
            "sampled",
            number,
            group=group.group,
            walker_steps=run.walker_steps + spent * len(group.starts),
            bias=bias,
            seconds=seconds,
            kind=cv.kind,
            calibrated=cv.calibrator is not None,
            coverage=self.setup.observable.coverage(stored),
            **run_of(run),
            **seen_by_rules(self.config, self.setup, frames),
        )
        replace_file(self.directory.frames(number), lambda part: write(part, frames))
        self._last[group.group] = number
        self.waiting = concatenate([self.waiting, self._whole(frames)])

    def forget(self, frames: Dataset) -> None:
        """Take frames out of the pool."""
        gone = set(keys_of(frames))
        kept = [n for n, key in enumerate(keys_of(self.waiting)) if key not in gone]
        self.waiting = self.waiting[kept]

    def _lose(self, number: int, group: int, reason: str) -> None:
        self._failures[group] += 1
        self.directory.journal.append("task_failed", round=number, group=group, reason=reason)
        if self._failures[group] >= FAILURES:
            raise CampaignError(
                f"walkers of group {group} failed {FAILURES} times in a row (last: {reason}); "
                "correct the cause and run again to continue"
            )

    def _with_columns(
        self, frames: Dataset, number: int, group: WalkerGroup, model: int
    ) -> Dataset:
        count = len(frames)
        return frames.with_info(
            walker=frames.info["walker"] + group.first,
            segment=np.full(count, number),
            group=np.full(count, group.group),
            round=np.full(count, model),
        )

    def _whole(self, frames: Dataset) -> Dataset:
        return frames[np.flatnonzero(broken(self.config, self.setup, frames) == "")]

    def _untried(self) -> Dataset:
        """Return the stored frames that the oracle has not been asked for."""
        frames = self.directory.stored_frames()
        if not frames:
            return bare(self.setup.start[:0])
        asked = [self.directory.labelled(), self.directory.quarantine()]
        tried = {key for part in asked if part is not None for key in keys_of(part)}
        everything = concatenate(frames)
        fresh = [n for n, key in enumerate(keys_of(everything)) if key not in tried]
        return self._whole(everything[fresh])


def keys_of(frames: Dataset) -> list[tuple[int, int, int]]:
    """Return segment, walker and step of each frame: no two frames have the same."""
    if "segment" not in frames.info:
        return []
    columns = [frames.info[name].tolist() for name in ("segment", "walker", "step")]
    return list(zip(*columns, strict=True))
