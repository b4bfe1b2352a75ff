"""A training run on disk: enough to continue it exactly, and the log of its epochs."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import asdict
from pathlib import Path

from uncv.data import Dataset
from uncv.errors import TrainingError
from uncv.models.files import read_file, write_file
from uncv.training.loop import Training
from uncv.training.settings import EpochLog, TrainSettings

FORMAT = "uncv-training"
VERSION = 1


def run_identity(
    settings: TrainSettings, seed: int, start: str, data: Dataset, validation: Dataset | None
) -> str:
    """Return a hash of everything that determines a run; ``start`` is a potential's fingerprint."""
    digest = hashlib.sha256(repr((sorted(asdict(settings).items()), seed, start)).encode())
    for part in (data, validation):
        if part is None:
            continue
        for name in ("numbers", "positions", "cell", "pbc", "energy", "forces", "stress"):
            value = getattr(part, name)
            digest.update(name.encode() if value is None else value.tobytes())
    return digest.hexdigest()[:16]


def save_checkpoint(path: Path, identity: str, training: Training, history: list[EpochLog]) -> None:
    """Write the state after an epoch, atomically."""
    content = {
        "identity": identity,
        "epoch": training.epoch,
        "stale": training.stale,
        "warming_up": training.warming_up,
        "history": [tuple(entry) for entry in history],
        "optimiser": training.optimiser.state(),
    }
    write_file(path, FORMAT, VERSION, content)


def resume(path: Path, identity: str, training: Training) -> list[EpochLog]:
    """Put a run into the state of a checkpoint; return its epochs so far, none without a file.

    Raises
    ------
    TrainingError
        If the checkpoint is that of another run.
    FileFormatError
        If it is damaged.
    """
    if not path.exists():
        return []
    content = read_file(path, FORMAT, VERSION)
    if content["identity"] != identity:
        raise TrainingError(
            f"the checkpoint {path} is of a run with other data, settings, seed or start; "
            "expected the same run; delete it, or name another file"
        )
    training.epoch, training.stale = content["epoch"], content["stale"]
    if not content["warming_up"]:
        training.learn_heads()
    training.optimiser.restore(content["optimiser"])
    return [EpochLog(*entry) for entry in content["history"]]


def write_log(path: Path, history: list[EpochLog]) -> None:
    """Write all epochs so far as a table with commas."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(EpochLog._fields)
        writer.writerows(history)
