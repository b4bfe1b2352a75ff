"""Where exported frames come from: the run directory of a campaign, or a file with labels."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from uncv._version import __version__
from uncv.data import Dataset
from uncv.errors import CampaignError
from uncv.exporting.base import Provenance
from uncv.io import read

SPLITS = {"train": "train", "valid": "valid", "calibration": "test"}
"""What becomes of the splits of a campaign: calibration frames never train, so they may test."""
_RENAMED = {"energy": "predicted_energy", "fingerprint": "model_fingerprint"}
_HASHED = ("numbers", "positions", "cell", "pbc", "energy", "forces", "stress")


class Source(NamedTuple):
    """Labelled frames with the columns of their provenance, and what all have in common."""

    frames: Dataset
    provenance: Provenance

    def parts(self) -> dict[str, Dataset]:
        """Return the frames of each split; without splits all of them as 'frames'."""
        split = self.frames.info.get("split")
        if split is None:
            return {"frames": self.frames}
        names = sorted(set(split.tolist()), key=[*SPLITS.values(), *sorted(set(split))].index)
        return {name or "frames": self.frames[np.flatnonzero(split == name)] for name in names}


def gather(path: str | Path) -> Source:
    """Return the labelled frames of a run directory or a file.

    Raises
    ------
    CampaignError
        If a run directory holds no labelled frames.
    FileNotFoundError, FileFormatError
        If the file cannot be read.
    DataError
        If frames lack energies or forces.
    """
    path = Path(path)
    digest = hashlib.sha256()
    if path.is_dir():
        file = path / "labelled.extxyz"
        if not file.exists():
            raise CampaignError(
                f"{path} holds no labelled.extxyz; give the run directory of a campaign that has "
                "labels, or a file of labelled frames"
            )
        digest.update((path / "config.yaml").read_bytes() if _configured(path) else b"")
        frames = read(file)
    else:
        frames = read(path)
    frames.require("energy", "forces")
    for name in _HASHED:
        value = getattr(frames, name)
        digest.update(name.encode() if value is None else np.ascontiguousarray(value).tobytes())
    provenance = Provenance(
        __version__,
        digest.hexdigest()[:16],
        _distinct(frames, "level_of_theory"),
        _distinct(frames, "software"),
    )
    return Source(_with_columns(frames, provenance), provenance)


def _configured(path: Path) -> bool:
    return (path / "config.yaml").exists()


def _distinct(frames: Dataset, column: str) -> str:
    found = frames.info.get(column)
    return "" if found is None else "; ".join(v for v in dict.fromkeys(found.tolist()) if v)


def _with_columns(frames: Dataset, provenance: Provenance) -> Dataset:
    """Return frames with plain names of columns, the split as others say it, and versions."""
    info = {_RENAMED.get(name, name): values for name, values in frames.info.items()}
    if "split" in info:
        info["split"] = np.array([SPLITS.get(s, s) for s in info["split"].tolist()], dtype=str)
    named = replace(frames, info=info)
    return named.with_info(
        uncv_version=np.full(len(frames), provenance.uncv_version),
        run_fingerprint=np.full(len(frames), provenance.run_fingerprint),
    )
