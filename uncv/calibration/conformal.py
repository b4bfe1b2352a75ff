"""Split conformal prediction: a bound that holds with known probability."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncv.calibration.scale import ScaleCalibrator
from uncv.errors import CalibrationError


class ConformalCalibrator(ScaleCalibrator):
    """Split conformal prediction: P(|error| ≤ u) ≥ 1 − α for data like the calibration data.

    The factor is the ⌈(n+1)(1−α)⌉-th smallest score |r|/u of n calibration frames, an order
    statistic without interpolation. For uncertainties per atom, whose errors within one frame are
    not exchangeable, one atom is drawn from each frame, and the factor is the median over
    ``draws`` seeded draws.

    Parameters
    ----------
    alpha : float
        Accepted share of errors beyond the bound, between 0 and 1.
    seed, draws : int
        Of the draws of atoms.

    Notes
    -----
    Source: Vovk, Gammerman, Shafer (2005); as used by Zaverkin et al. (2024). The guarantee is for
    exchangeable data: it does not hold in biased dynamics or at a higher temperature. For atoms it
    is exact with ``draws=1``; the median is steadier, and measured to cover up to 1 % more.
    """

    method = "conformal"

    def __init__(self, alpha: float = 0.05, *, seed: int = 0, draws: int = 101) -> None:
        super().__init__()
        check_alpha(alpha)
        self.alpha, self.seed, self.draws = alpha, seed, draws

    def settings(self) -> dict[str, Any]:
        """Return what its constructor takes, as plain values."""
        return {"alpha": self.alpha, "seed": self.seed, "draws": self.draws}

    def _factor(self, score: NDArray[np.float64], frame: NDArray[np.int64]) -> float:
        return conformal_factor(score, frame, self.alpha, self.seed, self.draws)


def conformal_factor(
    score: NDArray[np.float64], frame: NDArray[np.int64], alpha: float, seed: int, draws: int
) -> float:
    """Return the conformal factor of scores (n,), counted by their frames (n,).

    Raises
    ------
    CalibrationError
        If the frames are too few.
    """
    frames, counts = np.unique(frame, return_counts=True)
    rank = conformal_rank(len(frames), alpha)
    if counts.max() == 1:
        return float(np.sort(score)[rank - 1])
    order = np.argsort(frame, kind="stable")
    begin = np.concatenate([[0], np.cumsum(counts)[:-1]])
    generator = np.random.default_rng(seed)
    picks = begin + (generator.random((draws, len(frames))) * counts).astype(int)
    drawn = np.sort(score[order][picks], axis=1)[:, rank - 1]
    return float(np.median(drawn))


def conformal_rank(frames: int, alpha: float) -> int:
    """Return which smallest score is the conformal factor, counted from 1.

    Raises
    ------
    CalibrationError
        If there are fewer than ⌈1/α⌉ − 1 frames, when the factor would be infinite.
    """
    # The small slack keeps (n + 1)(1 − α) = 19.000000000000004 from counting as 20.
    rank = math.ceil((frames + 1) * (1 - alpha) - 1e-9)
    if rank > frames:
        raise CalibrationError(
            f"{frames} calibration frames are too few for alpha = {alpha}: at least "
            f"{frames_needed(alpha)} are needed; give more frames, a larger alpha, or use "
            "GaussianCalibrator"
        )
    return rank


def frames_needed(alpha: float) -> int:
    """Return ⌈1/α⌉ − 1, the fewest calibration frames that give a finite bound."""
    return math.ceil(1 / alpha - 1e-9) - 1


def check_alpha(alpha: float) -> None:
    """Refuse a share that is not between 0 and 1.

    Raises
    ------
    ValueError
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}; expected a number between 0 and 1")
