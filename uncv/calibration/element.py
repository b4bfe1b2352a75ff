"""Conformal prediction with a factor for each element."""

from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols
from torch import Tensor

from uncv.calibration.base import Calibrator
from uncv.calibration.conformal import check_alpha, conformal_factor, frames_needed
from uncv.calibration.scores import Scores
from uncv.errors import CalibrationError, NotFittedError
from uncv.units import Kind


class ElementConformalCalibrator(Calibrator):
    """Conformal prediction within each element: u_i ← q_Z u_i for the element Z of atom i.

    A single factor covers hydrogen too often and a rare heavy atom too seldom. Here the promise
    P(|error of an atom| ≤ u) ≥ 1 − α holds for the atoms of each element by itself: q_Z is the
    conformal factor of the atoms of Z, counted by the frames that contain one, because atoms of a
    frame are not exchangeable. An element of too few frames is refused, and so is, when it is
    used, an element that calibration never saw.

    Parameters
    ----------
    alpha : float
        Accepted share of errors beyond the bound, between 0 and 1.
    seed, draws : int
        Of the draws of atoms, as in `ConformalCalibrator`.

    Attributes
    ----------
    factors : torch.Tensor
        (119,), by atomic number; NaN for elements that calibration never saw, 1 for padding.

    Notes
    -----
    Source: Vovk, Gammerman, Shafer (2005), Mondrian conformal predictors.
    """

    method = "element"
    factors: Tensor

    def __init__(self, alpha: float = 0.05, *, seed: int = 0, draws: int = 101) -> None:
        super().__init__()
        check_alpha(alpha)
        self.alpha, self.seed, self.draws = alpha, seed, draws
        self.register_buffer("factors", torch.zeros(0, dtype=torch.float64))

    def settings(self) -> dict[str, Any]:
        """Return what its constructor takes, as plain values."""
        return {"alpha": self.alpha, "seed": self.seed, "draws": self.draws}

    def forward(self, u: Tensor, numbers: Tensor) -> Tensor:
        """Return q_Z · u of atoms (F, A).

        Raises
        ------
        NotFittedError
        CalibrationError
            If an atom is of an element that calibration never saw, or u is not that of atoms.
        """
        if self.factors.shape[0] == 0:
            raise NotFittedError("the calibrator is not fitted; call fit(cv, calibration_data)")
        if u.dim() != 2:
            raise CalibrationError(
                "factors of elements need uncertainties of atoms (F, A); use ConformalCalibrator "
                "for those of frames"
            )
        factors = self.factors[numbers]
        if bool(factors.isnan().any()):
            raise CalibrationError(
                "an atom is of an element that the calibration data do not contain; calibrate on "
                "frames with this element, or use ConformalCalibrator"
            )
        return u * factors

    def _fit(self, found: Scores, kind: Kind) -> None:
        if found.numbers is None or kind != "force":
            raise CalibrationError(
                f"{type(self).__name__} needs residuals of atoms and their atomic numbers, but "
                "these are those of frames; use ConformalCalibrator"
            )
        score = found.residual / found.uncertainty
        factors = np.full(len(chemical_symbols), np.nan)
        factors[0] = 1.0
        for number in np.unique(found.numbers):
            own = found.numbers == number
            factors[number] = self._factor(int(number), score[own], found.frame[own])
        self.factors = torch.as_tensor(factors)

    def _factor(self, number: int, score: np.ndarray, frame: np.ndarray) -> float:
        count, needed = len(np.unique(frame)), frames_needed(self.alpha)
        symbol = chemical_symbols[number]
        if count < needed:
            raise CalibrationError(
                f"{count} calibration frames with {symbol} are too few for alpha = {self.alpha}: "
                f"at least {needed} are needed; give more frames, a larger alpha, or use "
                "ConformalCalibrator for all elements together"
            )
        factor = conformal_factor(score, frame, self.alpha, self.seed, self.draws)
        if factor <= 0:
            raise CalibrationError(
                f"the factor of {symbol} is {factor:g}; expected a positive number: are most "
                "residuals of its atoms zero?"
            )
        return factor
