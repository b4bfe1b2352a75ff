"""Which labelled frames train, validate and calibrate, and what is calibrated with so few."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncv.calibration import Calibrator, ConformalCalibrator, GaussianCalibrator, conformal_rank
from uncv.config import CampaignConfig
from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.errors import CalibrationError
from uncv.learning.setup import seed_of

SPLITS = ("train", "valid", "calibration")


class Calibration(NamedTuple):
    """A calibrator and how it came about, for the journal."""

    calibrator: Calibrator | None
    note: str


def calibrate(cv: UncertaintyCV, held_out: Dataset, config: CampaignConfig) -> Calibration:
    """Calibrate on the frames kept for it: conformal where they are enough, else Gaussian."""
    given = config.calibration
    if given.method == "none":
        return Calibration(None, "none asked for")
    if len(held_out) == 0:
        return Calibration(None, "none: no frame is held out for it")
    frames = f"{len(held_out)} held-out frames"
    if given.method == "gaussian":
        return Calibration(GaussianCalibrator().fit(cv, held_out), f"gaussian, {frames}")
    try:
        conformal_rank(len(held_out), given.alpha)
    except CalibrationError:
        note = f"gaussian, {frames}: too few for conformal at alpha {given.alpha}"
        return Calibration(GaussianCalibrator().fit(cv, held_out), note)
    calibrator = ConformalCalibrator(given.alpha).fit(cv, held_out)
    return Calibration(calibrator, f"conformal, {frames}, alpha {given.alpha}")


def assign_splits(
    before: NDArray[np.str_] | None, count: int, config: CampaignConfig, round_: int
) -> NDArray[np.str_]:
    """Return the split of each new frame, for good: what calibrates never trains, in any round."""
    taken = np.array([], dtype=str) if before is None else before
    total = len(taken) + count
    shares = {
        "calibration": config.calibration.held_out_share,
        "valid": config.potential.validation_share,
    }
    if config.calibration.method == "none":
        shares["calibration"] = 0.0
    splits = np.full(count, "train", dtype="<U11")
    order = np.random.default_rng(seed_of(config, round_, "split")).permutation(count)
    used = 0
    for name, share in shares.items():
        wanted = max(0, round(share * total) - int((taken == name).sum()))
        splits[order[used : used + wanted]] = name
        used += wanted
    return splits
