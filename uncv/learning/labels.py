"""What becomes of labels: kept with their split, set apart where they failed, and checked."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from uncv.config import CampaignConfig
from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.errors import CalibrationWarning, CampaignError
from uncv.learning.calibration import assign_splits, check_drift
from uncv.learning.directory import RunDirectory
from uncv.oracles import labelled_part

Label = Callable[[Dataset], Dataset]
"""Labels frames, wherever the work is done."""


FEW = 3
"""Frames of which all may fail without the oracle being to blame."""


def count_good(directory: RunDirectory, round_: int, answer: Dataset, *, everything: bool) -> int:
    """Return how many labels are good, refusing an oracle that fails for everything.

    Where only a few frames were asked for, they may be to blame.

    Raises
    ------
    CampaignError
        If all failed and ``everything`` was asked for at once; the frames are in quarantine then.
    """
    errors = answer.info["label_error"]
    good = int((errors == "").sum())
    if everything and good == 0 and (len(answer) >= FEW or round_ == 0):
        directory.add("quarantine", answer.without_labels())
        raise CampaignError(
            f"the oracle failed for all {len(answer)} frames of round {round_} (first: "
            f"{errors[0]}); correct the oracle and run again to continue"
        )
    return good


def keep_labels(
    config: CampaignConfig,
    directory: RunDirectory,
    round_: int,
    answer: Dataset,
    candidates: int = 0,
    seconds: float = 0.0,
) -> None:
    """Add the good labels to the labelled frames, each with its split, the others to quarantine.

    The journal also keeps how many candidates they were chosen from, and how long it took.
    """
    good = labelled_part(answer)
    failed = answer[np.flatnonzero(answer.info["label_error"] != "")]
    before = directory.labelled()
    taken = None if before is None else before.info["split"]
    splits = assign_splits(taken, len(good), config, round_)
    directory.record(
        "labelled",
        round_,
        frames=len(good),
        errors=failed.info["label_error"].tolist(),
        candidates=candidates,
        seconds=round(seconds, 2),
    )
    directory.add("quarantine", failed.without_labels())
    directory.add("labelled", good.with_info(split=splits))


def check_calibration(
    directory: RunDirectory, round_: int, cv: UncertaintyCV, labelled: Dataset
) -> None:
    """Warn where the new labels do not fit the calibration of the model that chose them."""
    found = check_drift(cv, labelled)
    if found is None:
        return
    if found.drifted:
        warnings.warn(f"round {round_}: {found.message}", CalibrationWarning, stacklevel=2)
    directory.record("calibration_checked", round_, **found._asdict())
