"""Which labelled frames train, validate and calibrate, and what is calibrated with so few."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncv.calibration import (
    Calibrator,
    ConformalCalibrator,
    CrossConformalCalibrator,
    Drift,
    ElementConformalCalibrator,
    GaussianCalibrator,
    LogLinearCalibrator,
    MonotoneCalibrator,
    drift,
    frames_needed,
)
from uncv.config import CalibrationConfig, CampaignConfig
from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.errors import CalibrationError, CampaignError
from uncv.learning.setup import seed_of

SPLITS = ("train", "valid", "calibration")


class Calibration(NamedTuple):
    """A calibrator and how it came about, for the journal."""

    calibrator: Calibrator | None
    note: str


@dataclass(frozen=True)
class Folds:
    """What a cross calibration needs, because it trains anew.

    Parameters
    ----------
    frames : Dataset
        Labelled frames that are dealt into folds.
    make : callable
        Trains on some of them, from weights that saw none, and returns the variable.
    seed : int
        Of the folds.
    """

    frames: Dataset
    make: Callable[[Dataset], UncertaintyCV]
    seed: int


def trains_folds(held_out: int, given: CalibrationConfig) -> bool:
    """Return whether a round trains folds: asked for, and too few frames are held out."""
    return given.method == "cross" and held_out < frames_needed(given.alpha)


def calibrate(
    cv: UncertaintyCV, held_out: Dataset, config: CampaignConfig, folds: Folds | None = None
) -> Calibration:
    """Calibrate by the method of the configuration.

    Raises
    ------
    CampaignError
        If the frames do not suffice for a method that the configuration names; with 'auto' the
        Gaussian scale is used then.
    """
    given, count = config.calibration, len(held_out)
    frames = f"{count} held-out frames"
    if given.method == "none":
        return Calibration(None, "none asked for")
    try:
        if trains_folds(count, given) and folds is not None:
            cross = CrossConformalCalibrator(given.alpha, folds=given.folds, seed=folds.seed)
            cross.fit_folds(folds.make, folds.frames)
            note = f"cross, {given.folds} folds of {len(folds.frames)} frames, alpha {given.alpha}"
            return Calibration(cross, note)
        if given.method != "auto":
            calibrator = make_calibrator(given).fit(cv, held_out)
            return Calibration(calibrator, _note(calibrator, frames, given.alpha))
    except CalibrationError as error:
        raise CampaignError(
            f"the campaign cannot calibrate by {given.method}: {error}; or set calibration.method "
            "to auto, which uses the Gaussian scale until there are enough frames"
        ) from error
    return _automatic(cv, held_out, given.alpha)


def _automatic(cv: UncertaintyCV, held_out: Dataset, alpha: float) -> Calibration:
    if len(held_out) == 0:
        return Calibration(None, "none: no frame is held out for it")
    frames = f"{len(held_out)} held-out frames"
    if len(held_out) < frames_needed(alpha):
        note = f"gaussian, {frames}: too few for conformal at alpha {alpha}"
        return Calibration(GaussianCalibrator().fit(cv, held_out), note)
    conformal = ConformalCalibrator(alpha).fit(cv, held_out)
    return Calibration(conformal, _note(conformal, frames, alpha))


def make_calibrator(given: CalibrationConfig) -> Calibrator:
    """Return the calibrator of a section, for held-out frames, not fitted."""
    made: dict[str, Callable[[], Calibrator]] = {
        "conformal": lambda: ConformalCalibrator(given.alpha),
        "cross": lambda: ConformalCalibrator(given.alpha),
        "element": lambda: ElementConformalCalibrator(given.alpha),
        "gaussian": GaussianCalibrator,
        "log_linear": LogLinearCalibrator,
        "monotone": MonotoneCalibrator,
    }
    return made[given.method]()


def _note(calibrator: Calibrator, frames: str, alpha: float) -> str:
    bound = calibrator.method in ("conformal", "element")
    return f"{calibrator.method}, {frames}" + (f", alpha {alpha}" if bound else "")


def check_drift(cv: UncertaintyCV, labelled: Dataset) -> Drift | None:
    """Compare new labels with the calibration of the variable that chose them.

    None where there is nothing to compare.
    """
    if cv.calibrator is None or len(labelled) == 0:
        return None
    return drift(cv, labelled)


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
