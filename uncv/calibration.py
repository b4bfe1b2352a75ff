"""Calibration: from an uncertainty to a bound on the error that holds with known probability."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from uncv.data import Dataset
from uncv.errors import CalibrationError, NotFittedError
from uncv.units import Kind


class Calibratable(Protocol):
    """What a calibrator looks at: a collective variable."""

    @property
    def kind(self) -> Kind:
        """Kind of the uncertainty."""

    @property
    def calibrator(self) -> Calibrator | None:
        """Its calibrator, if it has one."""

    def evaluate(self, data: Dataset) -> CVValues:
        """Return energies, forces and uncertainties of a dataset."""


class CVValues(Protocol):
    """The part of a collective variable's result that calibration needs."""

    @property
    def energy(self) -> NDArray[np.float64]:
        """(F,), eV."""

    @property
    def forces(self) -> NDArray[np.float64]:
        """(F, A, 3), eV/Å."""

    @property
    def atomic_uncertainty(self) -> NDArray[np.float64]:
        """(F, A)."""

    @property
    def uncertainty(self) -> NDArray[np.float64]:
        """(F,)."""


class Scores(NamedTuple):
    """Residuals, uncertainties, and the frame each belongs to, all (n,)."""

    residual: NDArray[np.float64]
    uncertainty: NDArray[np.float64]
    frame: NDArray[np.int64]


class Coverage(NamedTuple):
    """Share of residuals inside the bound, with a 95 % interval from resampling frames."""

    share: float
    low: float
    high: float


class Calibrator(nn.Module):
    """Rescales an uncertainty: u ← factor · u.

    Attributes
    ----------
    factor : float or None
        None until fitted.
    kind : str or None
        The kind of the residual it was fitted on.
    method : str
        How the factor was found.
    """

    method = "none"

    def __init__(self) -> None:
        super().__init__()
        self.factor: float | None = None
        self.kind: Kind | None = None

    def forward(self, u: Tensor) -> Tensor:
        """Return the calibrated uncertainty."""
        return u * self.fitted_factor()

    def fitted_factor(self) -> float:
        """Return the factor.

        Raises
        ------
        NotFittedError
        """
        if self.factor is None:
            raise NotFittedError(
                f"{type(self).__name__} is not fitted; call fit(cv, calibration_data) first"
            )
        return self.factor

    def fit(self, cv: Calibratable, data: Dataset) -> Self:
        """Fit to labelled data that was used for nothing else, and return self.

        Raises
        ------
        CalibrationError
            If the data are too few, or the collective variable is calibrated already.
        DataError
            If the label needed is missing.
        """
        if cv.calibrator is not None:
            raise CalibrationError(
                "the collective variable is calibrated already, and the factor would be relative "
                "to that; fit on cv.calibrated(None)"
            )
        found = scores(cv, data)
        return self.fit_scores(found.residual, found.uncertainty, found.frame, kind=_kind(cv))

    def fit_scores(
        self, residual: ArrayLike, uncertainty: ArrayLike, frame: ArrayLike, *, kind: Kind
    ) -> Self:
        """Fit to residuals and uncertainties (n,) whose frame (n,) is known, and return self."""
        r, u, f = np.asarray(residual, float), np.asarray(uncertainty, float), np.asarray(frame)
        if len(r) == 0:
            raise CalibrationError("there are no residuals to calibrate on; give labelled frames")
        if not (np.isfinite(r).all() and np.isfinite(u).all()):
            raise CalibrationError("residuals or uncertainties are NaN or infinite; remove them")
        if (u <= 0).any():
            raise CalibrationError(
                f"{int((u <= 0).sum())} uncertainties are not positive; use a positive uncertainty"
            )
        self.factor, self.kind = self._factor(r / u, f), kind
        return self

    def _factor(self, score: NDArray[np.float64], frame: NDArray[np.int64]) -> float:
        raise NotImplementedError


class ConformalCalibrator(Calibrator):
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
    exchangeable data: it does not hold in biased dynamics or at a higher temperature.
    """

    method = "conformal"

    def __init__(self, alpha: float = 0.05, *, seed: int = 0, draws: int = 101) -> None:
        super().__init__()
        if not 0 < alpha < 1:
            raise ValueError(f"alpha is {alpha}; expected a number between 0 and 1")
        self.alpha, self.seed, self.draws = alpha, seed, draws

    def _factor(self, score: NDArray[np.float64], frame: NDArray[np.int64]) -> float:
        frames, counts = np.unique(frame, return_counts=True)
        rank = conformal_rank(len(frames), self.alpha)
        if counts.max() == 1:
            return float(np.sort(score)[rank - 1])
        order = np.argsort(frame, kind="stable")
        begin = np.concatenate([[0], np.cumsum(counts)[:-1]])
        generator = np.random.default_rng(self.seed)
        picks = begin + (generator.random((self.draws, len(frames))) * counts).astype(int)
        drawn = np.sort(score[order][picks], axis=1)[:, rank - 1]
        return float(np.median(drawn))


class GaussianCalibrator(Calibrator):
    """One scale by Gaussian likelihood: factor = sqrt(mean(r²/u²)), for too few frames.

    Calibrated so, u estimates a standard deviation and not a bound.
    """

    method = "gaussian"

    def _factor(self, score: NDArray[np.float64], frame: NDArray[np.int64]) -> float:
        return float(np.sqrt(np.mean(score**2)))


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
        needed = math.ceil(1 / alpha - 1e-9) - 1
        raise CalibrationError(
            f"{frames} calibration frames are too few for alpha = {alpha}: at least {needed} are "
            "needed; give more frames, a larger alpha, or use GaussianCalibrator"
        )
    return rank


def scores(cv: Calibratable, data: Dataset) -> Scores:
    """Return residuals and uncertainties of labelled data.

    An energy uncertainty is held against |ΔE| of the frame; any other against the root mean square
    of ΔF over x, y, z of each atom.

    Raises
    ------
    DataError
        If the label needed is missing.
    """
    if _kind(cv) == "energy":
        data.require("energy")
        values = cv.evaluate(data)
        residual = np.abs(np.asarray(data.energy) - values.energy)
        return Scores(residual, values.uncertainty, np.arange(len(data)))
    data.require("forces")
    values = cv.evaluate(data)
    residual = np.sqrt(np.mean((np.asarray(data.forces) - values.forces) ** 2, axis=2))
    mask = data.mask
    return Scores(residual[mask], values.atomic_uncertainty[mask], np.nonzero(mask)[0])


def coverage(cv: Calibratable, data: Dataset, *, seed: int = 0, resamples: int = 500) -> Coverage:
    """Return the share of residuals inside the calibrated uncertainty on labelled data."""
    found = scores(cv, data)
    inside = (found.residual <= found.uncertainty).astype(float)
    frames = np.unique(found.frame)
    index = np.searchsorted(frames, found.frame)
    sums = np.bincount(index, weights=inside)
    counts = np.bincount(index)
    picks = np.random.default_rng(seed).integers(0, len(frames), (resamples, len(frames)))
    shares = sums[picks].sum(axis=1) / counts[picks].sum(axis=1)
    low, high = np.quantile(shares, [0.025, 0.975])
    return Coverage(float(inside.mean()), float(low), float(high))


def _kind(cv: Calibratable) -> Kind:
    return "energy" if cv.kind == "energy" else "force"
