"""Whether a calibration still holds for labels that came after it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from uncv.calibration.scores import Calibratable, by_frame, checked, scores
from uncv.data import Dataset
from uncv.errors import CalibrationError


class Drift(NamedTuple):
    """Comparison of new labels with the calibration data.

    Attributes
    ----------
    drifted : bool
        Whether they differ by more than chance.
    p_value : float
        Probability of a difference as large between frames of one distribution.
    ratio : float
        Median score |r| / u of the new frames over that of the calibration frames; above 1 the
        calibrated uncertainty is too small for the new frames.
    message : str
        The finding in a sentence.
    """

    drifted: bool
    p_value: float
    ratio: float
    message: str


def drift(cv: Calibratable, data: Dataset, *, level: float = 0.01) -> Drift:
    """Compare the scores of new labels with those of the frames that a variable is calibrated on.

    Parameters
    ----------
    cv : Calibratable
        The collective variable, calibrated.
    data : Dataset
        Labelled frames that it was neither trained nor calibrated on.
    level : float
        The p-value below which it is a drift.

    Raises
    ------
    CalibrationError
        If the variable is not calibrated, or there are no labels.
    DataError
        If the label needed is missing.

    Notes
    -----
    Each frame counts once, by the root mean square of its atoms' scores, because atoms of a frame
    are not independent; nothing is drawn at random. The test is that of Mann and Whitney (1947),
    two-sided: like the conformal guarantee it assumes exchangeable frames and nothing else, it is
    exact where either side has few frames (up to 8), and it is most sensitive to what makes a
    calibration wrong, a common factor on all scores. Whether the frames themselves are of another
    kind while their scores are not, it does not ask.
    """
    if cv.calibrator is None or len(cv.calibrator.frame_scores) == 0:
        raise CalibrationError(
            "the collective variable has no calibration scores to compare with; give one with a "
            "fitted calibrator"
        )
    found = checked(*scores(cv, data))
    new = by_frame(found.residual / found.uncertainty, found.frame)
    return compare(cv.calibrator.frame_scores.numpy(), new, level=level)


def compare(before: np.ndarray, new: np.ndarray, *, level: float = 0.01) -> Drift:
    """Compare scores of calibration frames (n,) with those of new frames (m,)."""
    from scipy.stats import mannwhitneyu

    p_value = float(mannwhitneyu(before, new, alternative="two-sided").pvalue)
    middle = float(np.median(before))
    ratio = float(np.median(new)) / middle if middle > 0 else float("inf")
    drifted = p_value < level
    versus = f"{len(new)} new frames against {len(before)} calibration frames: p = {p_value:.2g}"
    if not drifted:
        return Drift(drifted, p_value, ratio, f"the calibration holds ({versus})")
    size = "small" if ratio > 1 else "large"
    message = (
        f"the calibration has drifted: the uncertainty of new labels is {times(ratio)} too {size} "
        f"({versus}); calibrate again on frames like the new ones"
    )
    return Drift(drifted, p_value, ratio, message)


def times(ratio: float) -> str:
    """Return by how much, as a factor above 1."""
    return f"{max(ratio, 1 / ratio) if ratio > 0 else float('inf'):.2g} times"
