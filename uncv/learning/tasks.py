"""The tasks of a round that a worker can take: what it needs goes along, its result comes back.

A task pickles, and its result depends on nothing but the task: a campaign ends with the same labels
whoever did its tasks, as long as each has one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from uncv.bias import AnyBias, WarmUp
from uncv.config import CampaignConfig
from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.learning.dynamics import Dynamics
from uncv.learning.setup import dynamics_settings, seed_of, stop_rules, train_settings
from uncv.learning.system import Engine, load_structure
from uncv.models import AniPotential
from uncv.sampling_run import SampledRun
from uncv.training import some_members, train

Share = Callable[[float], None]
"""Told how much of a task is done, 0 to 1."""


@dataclass(frozen=True)
class WalkerGroup:
    """Walkers that one worker runs.

    Parameters
    ----------
    config : CampaignConfig
        The campaign.
    round : int
        Its round, or with overlapping rounds the number of the segment.
    model : pathlib.Path
        The .uncv file they run on.
    engine : {'openmm', 'ase'}
        What moves them.
    start : Dataset
        The structure whose bonds the stop rules know, one frame.
    starts, pool : Dataset
        Where the walkers begin, and begin again.
    group, first : int
        Number of the group, and of its first walker.
    folder : pathlib.Path
        Where PLUMED's files go.
    """

    config: CampaignConfig
    round: int
    model: Path
    engine: Engine
    start: Dataset
    starts: Dataset
    pool: Dataset
    group: int
    first: int
    folder: Path

    @cached_property
    def dynamics(self) -> Dynamics:
        """What the group is moved by, made from the files."""
        cv = UncertaintyCV.load(self.model)
        topology, _ = load_structure(self.config.system)
        start = self.start
        checker = stop_rules(self.config).prepare(
            start.numbers[0], start.positions[0], cv.kind, cell=start.cell[0], pbc=start.pbc[0]
        )
        return Dynamics(
            topology,
            self.starts,
            cv,
            dynamics_settings(self.config, self.engine, self.starts),
            checker,
            self.pool,
            self.seed("warm_up"),
            self.config.sampling.plumed,
            self.folder,
        )

    def seed(self, purpose: str) -> int:
        """Return the seed of the group for a purpose."""
        return seed_of(self.config, self.round, purpose, self.group)


@dataclass(frozen=True)
class WarmUpTask:
    """A group before its run, without a bias."""

    group: WalkerGroup
    steps: int

    def __call__(self, share: Share | None = None) -> WarmUp:
        """Return u and the forces."""
        return self.group.dynamics.warm_up(self.steps)


@dataclass(frozen=True)
class SampleTask:
    """The run of a group."""

    group: WalkerGroup
    bias: AnyBias | None
    steps: int

    def __call__(self, share: Share | None = None) -> SampledRun:
        """Return frames, series and reasons to stop."""
        tell = None if share is None else _shares(share)
        seed = self.group.seed("sample")
        return self.group.dynamics.run(self.bias, self.steps, seed, tell)


@dataclass(frozen=True)
class TrainTask:
    """The training of some members of an ensemble.

    Parameters
    ----------
    config : CampaignConfig
        The campaign.
    seed : int
        Of the training.
    frames, validation : Dataset
        What is trained on, and what ends it; the latter may be empty.
    start : AniPotential or None
        Continued, all members of it.
    first, members : int
        Which members.
    """

    config: CampaignConfig
    seed: int
    frames: Dataset
    validation: Dataset
    start: AniPotential | None
    first: int
    members: int

    def __call__(self, share: Share | None = None) -> AniPotential:
        """Return the members, trained."""
        settings = train_settings(
            self.config, self.members, len(self.frames), warm=self.start is not None
        )
        start = self.start
        if start is not None and self.members < start.members:
            start = some_members(start, self.first, self.members)
        tell = share or (lambda done: None)
        return train(
            self.frames,
            settings,
            seed=self.seed,
            start=start,
            validation=self.validation if len(self.validation) else None,
            progress=lambda epoch: tell(epoch.epoch / settings.epochs),
        )


def shares_of(total: int, parts: int) -> list[tuple[int, int]]:
    """Return first number and size of each of at most so many parts, as equal as can be.

    >>> shares_of(8, 3)
    [(0, 3), (3, 3), (6, 2)]
    """
    parts = max(1, min(parts, total))
    sizes = [total // parts + (n < total % parts) for n in range(parts)]
    return [(sum(sizes[:n]), size) for n, size in enumerate(sizes)]


def _shares(share: Share) -> Callable[[int, int], None]:
    return lambda done, total: share(done / total)
