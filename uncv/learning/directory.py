"""The run directory: what a campaign leaves on the disk, and how far it has come."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from uncv.config import CampaignConfig, dump_config, load_config
from uncv.cv import UncertaintyCV
from uncv.data import Dataset, concatenate
from uncv.errors import CampaignError
from uncv.io import read, write
from uncv.journal import Journal, replace_file

FORMAT = 1
"""Version of the layout of run directories."""


class RunDirectory:
    """Files of one campaign; each is replaced whole, so a kill leaves the old or the new one.

    ``config.yaml``, ``journal.jsonl`` (every decision), ``labelled.extxyz`` (all labels, with
    round, walker, step, uncertainty, stop reason, split and model fingerprint),
    ``quarantine.extxyz`` (frames the oracle could not label), at the end ``candidates.extxyz`` (all
    stored frames that are whole structures),
    ``model_round_NN.uncv``, ``frames_round_NN.npz`` and at the end ``final.uncv``.

    Parameters
    ----------
    path : path-like
        The directory, existing.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.journal = Journal(self.path / "journal.jsonl")

    @property
    def final(self) -> Path:
        """The collective variable trained on all labels."""
        return self.path / "final.uncv"

    def model(self, round_: int) -> Path:
        """Return the path of the collective variable that a round samples with."""
        return self.path / f"model_round_{round_:02d}.uncv"

    def frames(self, round_: int) -> Path:
        """Return the path of the frames that a round stored."""
        return self.path / f"frames_round_{round_:02d}.npz"

    def plumed_folder(self, round_: int, group: int | None = None) -> Path:
        """Return where PLUMED writes in a round, for a group of walkers if there are several."""
        name = f"plumed_round_{round_:02d}"
        return self.path / (name if group is None else f"{name}_group_{group}")

    def open(self, config: CampaignConfig) -> None:
        """Begin a campaign here, or continue the one that is here.

        Raises
        ------
        CampaignError
            If the campaign here has another configuration (a larger label budget is allowed) or a
            format this uncv cannot continue.
        """
        begun = self.check(config)
        stored = self.path / "config.yaml"
        text = dump_config(config)
        replace_file(stored, lambda part: part.write_text(text, encoding="utf-8"))
        if begun:
            self.journal.append("continued", labels=self.labelled_count())
        else:
            self.journal.append("begun", format=FORMAT, seed=config.seed, versions=_versions())

    def check(self, config: CampaignConfig) -> bool:
        """Return whether a campaign with this configuration was begun here; nothing is written.

        Raises
        ------
        CampaignError
            As `open`.
        """
        begun = self.journal.events("begun")
        if not begun:
            return False
        if begun[0]["format"] != FORMAT:
            raise CampaignError(
                f"{self.path} has format {begun[0]['format']}, expected {FORMAT}; continue it with "
                "the version of uncv that began it"
            )
        _same_campaign(load_config(self.path / "config.yaml"), config, self.path)
        return True

    def record(self, event: str, round_: int, **fields: Any) -> None:
        """Write an event of a round, unless it is in the journal already.

        It is written before the file of its stage: a kill between the two repeats the stage, with
        the same outcome, and loses nothing that only the journal says.
        """
        if not any(e.get("round") == round_ for e in self.journal.events(event)):
            self.journal.append(event, round=round_, **fields)

    def labelled(self) -> Dataset | None:
        """Return all labelled frames, None before the first."""
        return self._read("labelled.extxyz")

    def known(self) -> Dataset:
        """Return all labelled frames.

        Raises
        ------
        CampaignError
            If there are none yet.
        """
        labelled = self.labelled()
        if labelled is None:
            raise CampaignError(f"{self.path} has no labelled frames; begin it again")
        return labelled

    def next_round(self) -> int:
        """Return the number of the round that is not complete: after labels, or after none."""
        labelled = self.labelled()
        if labelled is None:
            return 1
        idle = [event["round"] for event in self.journal.events("no_candidate")]
        return max([int(labelled.info["round"].max()), *idle]) + 1

    def labelled_count(self) -> int:
        """Return the number of labelled frames."""
        data = self.labelled()
        return 0 if data is None else len(data)

    def add(self, name: str, frames: Dataset) -> None:
        """Add the frames of a round to ``labelled`` or ``quarantine``.

        Frames of the same round that are there already, from a run that was killed before the
        round was complete, are replaced.
        """
        if len(frames) == 0:
            return
        before = self._read(f"{name}.extxyz")
        if before is not None:
            older = before[before.info["round"] != frames.info["round"][0]]
            frames = concatenate([older, frames]) if len(older) else frames
        replace_file(self.path / f"{name}.extxyz", lambda part: write(part, frames))

    def save_model(self, path: Path, cv: UncertaintyCV) -> UncertaintyCV:
        """Write a collective variable and return it as read back.

        What continues after a kill then works with the same numbers as what went on.
        """
        replace_file(path, cv.save)
        return UncertaintyCV.load(path)

    def read_frames(self, round_: int) -> Dataset:
        """Return the frames that a round stored."""
        return read(self.frames(round_))

    def stored_frames(self) -> list[Dataset]:
        """Return the frames of each round that has been sampled."""
        paths = self.path.glob("frames_round_*.npz")
        return [read(path) for path in sorted(paths, key=_number)]

    def quarantine(self) -> Dataset | None:
        """Return the frames that the oracle could not label, None if there are none."""
        return self._read("quarantine.extxyz")

    def last(self, kind: Literal["frames", "model"]) -> int:
        """Return the largest number of a file of stored frames or of a model, 0 without any."""
        return max(map(_number, self.path.glob(f"{kind}_round_*")), default=0)

    def _read(self, name: str) -> Dataset | None:
        path = self.path / name
        return read(path) if path.exists() else None


def _number(path: Path) -> int:
    """Return the number at the end of the name of a file."""
    return int(path.stem.rpartition("_")[2])


def regular(frames: Dataset) -> Dataset:
    """Return the frames that were stored at the stride, without those that stopped a walker."""
    return frames[np.flatnonzero(frames.info["stop_reason"] == "")]


def _versions() -> dict[str, str]:
    """Return the versions that results depend on."""
    return {name: version(name) for name in ("uncv", "torch", "numpy", "openmm", "ase")}


_DETERMINES = ("execution.walker_groups", "execution.training_groups", "execution.mode")


def _may_change(key: str) -> bool:
    """Return whether a campaign stays the same one where this key has another value.

    Who does the work, and when it is enough, may be decided anew.
    """
    section = key.partition(".")[0]
    free = section in ("execution", "convergence") and key not in _DETERMINES
    return free or key in ("budget.labels", "system.test_data", "threads")


def _same_campaign(before: CampaignConfig, now: CampaignConfig, path: Path) -> None:
    old, new = _flat(before), _flat(now)
    if new["budget.labels"] < old["budget.labels"]:
        raise CampaignError(
            f"the campaign in {path} has a budget of {old['budget.labels']} labels, the "
            f"configuration asks for {new['budget.labels']}; it can only grow"
        )
    different = [k for k in old if old[k] != new[k] and not _may_change(k)]
    if different:
        raise CampaignError(
            f"the campaign in {path} was begun with another {', '.join(different)}; continue it "
            "with its own config.yaml or give another run directory"
        )


def _flat(config: CampaignConfig) -> dict[str, Any]:
    values = config.model_dump()
    sections = {k: v if isinstance(v, dict) else {"": v} for k, v in values.items()}
    return {
        f"{k}.{n}".rstrip("."): v for k, section in sections.items() for n, v in section.items()
    }
