"""Where walkers begin, who runs them, and which of their frames are sensible structures."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncv.config import CampaignConfig
from uncv.data import Dataset, concatenate
from uncv.learning.directory import RunDirectory, regular
from uncv.learning.setup import Setup, seed_of, viability_rules
from uncv.learning.tasks import WalkerGroup, shares_of


class Origin(NamedTuple):
    """What walkers go on with.

    Attributes
    ----------
    model : pathlib.Path
        The .uncv file they run on.
    before : int or None
        Number of the stored frames whose last ones they go on from; None where they begin.
    """

    model: Path
    before: int | None


def walker_groups(
    config: CampaignConfig, setup: Setup, directory: RunDirectory, number: int, origin: Origin
) -> list[WalkerGroup]:
    """Return the groups of walkers of a round, each of them a task for one worker."""
    known = like(setup.start, directory.known())
    starts = next_starts(config, setup, directory, number, origin.before)
    parts = shares_of(config.sampling.walkers, config.execution.walker_groups)
    return [
        WalkerGroup(
            config,
            number,
            origin.model,
            setup.engine,
            setup.start[:1],
            starts[np.arange(first, first + size)],
            known if len(known) else bare(setup.start),
            group,
            first,
            directory.plumed_folder(number, group if len(parts) > 1 else None),
        )
        for group, (first, size) in enumerate(parts)
    ]


def next_starts(
    config: CampaignConfig,
    setup: Setup,
    directory: RunDirectory,
    number: int,
    before: int | None,
) -> Dataset:
    """Return where the walkers begin.

    Each goes on from its last stored frame of ``before``; without one, or where that frame is
    broken, from a labelled frame drawn by the seed.
    """
    count = config.sampling.walkers
    labelled = like(setup.start, directory.known())
    labelled = labelled if len(labelled) else bare(setup.start)
    random = np.random.default_rng(seed_of(config, number, "start"))
    drawn = labelled[random.choice(len(labelled), count, replace=len(labelled) < count)]
    if before is None:
        return bare(drawn)
    frames = regular(directory.read_frames(before))
    whole = frames[np.flatnonzero(broken(config, setup, frames) == "")]
    chosen = []
    for walker in range(count):
        own = np.flatnonzero(whole.info["walker"] == walker)
        chosen.append(bare(whole[own[-1:]] if len(own) else drawn[walker]))
    return concatenate(chosen)


def broken(config: CampaignConfig, setup: Setup, frames: Dataset) -> NDArray[np.str_]:
    """Return for each frame why it is no sensible structure, '' for the others."""
    start = setup.start
    checker = viability_rules(config).prepare(
        start.numbers[0], start.positions[0], cell=start.cell[0], pbc=start.pbc[0]
    )
    energy = np.nan_to_num(frames.info["energy"], nan=np.inf)
    values = frames.info["uncertainty"]
    positions = frames.positions
    cell = frames.cell if start.pbc[0].any() else None
    if cell is None:
        positions = positions - positions.mean(axis=1, keepdims=True)
    nothing = np.zeros(positions.shape)
    reasons = checker.check(positions, energy, values, None, nothing, cell=cell)
    return np.array(reasons, dtype=str)


def like(start: Dataset, frames: Dataset) -> Dataset:
    """Return the frames of the same atoms as the start structure, without labels and columns."""
    atoms = start.positions.shape[1]
    if frames.positions.shape[1] < atoms:
        return bare(frames[:0])
    same = (frames.numbers[:, :atoms] == start.numbers[0]).all(axis=1)
    same &= frames.frame_atoms == atoms
    kept = frames[np.flatnonzero(same)]
    return Dataset(kept.numbers[:, :atoms], kept.positions[:, :atoms], kept.cell, kept.pbc)


def bare(frames: Dataset) -> Dataset:
    """Return positions and cells alone."""
    return Dataset(frames.numbers, frames.positions, frames.cell, frames.pbc)
