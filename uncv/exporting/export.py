"""Labelled frames of a campaign or a file, written for another program."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from uncv.data import Dataset
from uncv.errors import ConfigError, DataError
from uncv.exporting.ase_db import write_ase_db
from uncv.exporting.base import Provenance
from uncv.exporting.deepmd import write_deepmd
from uncv.exporting.h5 import write_h5
from uncv.exporting.npz import write_npz
from uncv.exporting.source import Source, gather
from uncv.io.base import LabelKeys
from uncv.io.extxyz_writer import write_extxyz

REF_KEYS = LabelKeys("REF_energy", "REF_forces", "REF_stress")
"""What MACE looks for by default; ASE does not take them for results of a calculator."""
FORMATS = {"extxyz": ".extxyz", "npz": ".npz", "ase-db": ".db", "h5": ".h5", "deepmd": ""}
"""Formats and the suffix of their files; deepmd writes folders."""
Write = Callable[[Path, Dataset, Provenance], None]


class ExportedData(NamedTuple):
    """What was written.

    Attributes
    ----------
    files : tuple of pathlib.Path
        The files, or the folders of systems.
    frames : dict of str to int
        Number of frames of each split.
    provenance : Provenance
        Where they come from.
    """

    files: tuple[Path, ...]
    frames: dict[str, int]
    provenance: Provenance


def export_data(
    source: str | Path, out: str | Path, kind: str, keys: LabelKeys = REF_KEYS
) -> ExportedData:
    """Write labelled frames for another program, with their provenance and their split.

    Parameters
    ----------
    source : path-like
        The run directory of a campaign, running or not, or a file of labelled frames.
    out : path-like
        With the suffix of the format, one file with a column ``split``. Otherwise a folder with a
        file for each split: train, valid, and test for what calibrated. ase-db is always one file
        and deepmd always folders.
    kind : str
        One of `FORMATS`.
    keys : LabelKeys
        What labels are called in extxyz.

    Raises
    ------
    ConfigError
        If there is no such format.
    DataError
        If something is at ``out`` already, if frames lack energies or forces, or the format cannot
        hold them.
    CampaignError, FileNotFoundError, FileFormatError
        If there are no labelled frames to read.
    DependencyError
        If a program is not installed.
    """
    if kind not in FORMATS:
        raise ConfigError(f"format {kind!r} is not known; expected one of {', '.join(FORMATS)}")
    path = Path(out)
    if kind == "ase-db" and path.suffix != FORMATS[kind]:
        path = path.with_name(path.name + FORMATS[kind])
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise DataError(f"{path} is there already; remove it or give another --out")
    gathered = gather(source)
    parts = gathered.parts()
    counts = {name: len(frames) for name, frames in parts.items()}
    files = _write(gathered, parts, path, kind, keys)
    return ExportedData(tuple(files), counts, gathered.provenance)


def _write(
    gathered: Source, parts: dict[str, Dataset], path: Path, kind: str, keys: LabelKeys
) -> list[Path]:
    frames, provenance = gathered
    suffix = FORMATS[kind]
    if suffix and path.suffix == suffix:
        path.parent.mkdir(parents=True, exist_ok=True)
        _writer(kind, frames, keys)(path, frames, provenance)
        return [path]
    path.mkdir(parents=True, exist_ok=True)
    written = [path / f"{name}{suffix}" for name in parts]
    for file, part in zip(written, parts.values(), strict=True):
        _writer(kind, frames, keys)(file, part, provenance)
    return written


def _writer(kind: str, every: Dataset, keys: LabelKeys) -> Write:
    if kind == "extxyz":
        return lambda path, frames, provenance: write_extxyz(path, frames, keys)
    if kind == "deepmd":
        return lambda path, frames, about: write_deepmd(path, frames, about, every.elements)
    writers: dict[str, Write] = {"npz": write_npz, "ase-db": write_ase_db, "h5": write_h5}
    return writers[kind]
