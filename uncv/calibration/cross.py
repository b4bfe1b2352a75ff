"""Cross-validated conformal prediction, where no frame can be spared from training."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from uncv.calibration.conformal import ConformalCalibrator
from uncv.calibration.scores import Calibratable, Scores, residual_kind, scores
from uncv.data import Dataset
from uncv.errors import CalibrationError


class CrossConformalCalibrator(ConformalCalibrator):
    """The conformal factor of out-of-fold scores: every frame trains, and every frame calibrates.

    The frames are dealt into K folds. A model trained on all folds but one gives the scores of that
    one, and the factor is the ⌈(n+1)(1−α)⌉-th smallest of all n of them. Fit it with `fit_folds`,
    or with ``fit_scores`` on scores that come from elsewhere.

    Parameters
    ----------
    alpha : float
        Accepted share of errors beyond the bound, between 0 and 1.
    folds : int
        K, at least 2.
    seed, draws : int
        Of the folds, and of the draws of atoms.

    Notes
    -----
    Source: Barber, Candès, Ramdas, Tibshirani (2021), CV+. Their interval is built from the
    predictions of the K models and covers at least 1 − 2α, in practice about 1 − α. A collective
    variable has one model, trained on all frames; the factor is applied to its uncertainty. That
    is as good as CV+ where the models of the folds are like the final one, and has no promise of
    its own: measure the coverage on held-out frames when there are some. The K trainings must
    start from weights that have not seen the frames.
    """

    method = "cross"

    def __init__(
        self, alpha: float = 0.05, *, folds: int = 5, seed: int = 0, draws: int = 101
    ) -> None:
        super().__init__(alpha, seed=seed, draws=draws)
        if folds < 2:
            raise ValueError(f"folds is {folds}; expected at least 2")
        self.folds = folds

    def settings(self) -> dict[str, Any]:
        """Return what its constructor takes, as plain values."""
        return {**super().settings(), "folds": self.folds}

    def fit(self, cv: Calibratable, data: Dataset) -> Self:
        """Refuse one model: its training frames look better than frames that are new to it.

        Raises
        ------
        CalibrationError
        """
        raise CalibrationError(
            "CrossConformalCalibrator needs a model for each fold; call fit_folds(make, data), "
            "or use ConformalCalibrator on held-out frames"
        )

    def fit_folds(self, make: Callable[[Dataset], Calibratable], data: Dataset) -> Self:
        """Train K times, fit to the out-of-fold scores and return self.

        Parameters
        ----------
        make : callable
            Trains on the dataset it is given and returns the collective variable, not calibrated.
        data : Dataset
            Labelled frames, as many as there are folds at least.

        Raises
        ------
        CalibrationError
            If the frames are too few.
        DataError
            If the label needed is missing.
        """
        fold = deal(len(data), self.folds, seed=self.seed)
        parts, kinds = [], set()
        for number in range(self.folds):
            out = np.flatnonzero(fold == number)
            cv = make(data[np.flatnonzero(fold != number)])
            self.check_variable(cv)
            found = scores(cv, data[out])
            parts.append(found._replace(frame=out[found.frame]))
            kinds.add(residual_kind(cv))
        if len(kinds) != 1:
            raise CalibrationError(
                f"the models of the folds give residuals of {' and '.join(sorted(kinds))}; "
                "expected one kind: train and fit every fold in the same way"
            )
        return self.fit_scores(*joined(parts), kind=kinds.pop())


def deal(frames: int, folds: int, *, seed: int) -> NDArray[np.int64]:
    """Return the fold (frames,) of each frame: as even as can be, shuffled by the seed.

    Raises
    ------
    CalibrationError
        If there are fewer frames than folds.
    """
    if frames < folds:
        raise CalibrationError(
            f"{frames} frames cannot be dealt into {folds} folds; give more frames or fewer folds"
        )
    return np.random.default_rng(seed).permutation(np.arange(frames) % folds)


def joined(parts: list[Scores]) -> Scores:
    """Return the scores of several sets of frames as one."""
    numbers = [p.numbers for p in parts if p.numbers is not None]
    return Scores(
        np.concatenate([p.residual for p in parts]),
        np.concatenate([p.uncertainty for p in parts]),
        np.concatenate([p.frame for p in parts]),
        np.concatenate(numbers) if len(numbers) == len(parts) else None,
    )
