"""What every calibrator is: a rising map from an uncertainty to the scale of the error."""

from abc import abstractmethod
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from uncv.calibration.scores import Calibratable, Scores, by_frame, checked, residual_kind, scores
from uncv.data import Dataset
from uncv.errors import CalibrationError, NotFittedError
from uncv.fitted import FittedModule
from uncv.units import Kind


class Calibrator(FittedModule):
    """Base of the calibrators.

    Everything fitted is a buffer in float64, and ``forward`` is of the subset of Python that
    TorchScript compiles.

    Attributes
    ----------
    method : str
        How it is fitted, in a word.
    smooth : bool
        Whether it has a derivative, which forces need.
    proportional : bool
        Whether it multiplies every uncertainty by the same factor, so that it makes no difference
        whether atoms are calibrated before or after they are reduced to their frame.
    kind : str or None
        'energy' or 'force', of the residuals it was fitted to; None until then.
    frame_scores : torch.Tensor
        Root mean square of |r| / u of each calibration frame (n,), with the calibrated u; `drift`
        compares new labels with them.

    Notes
    -----
    The adaptive bias divides by the length of ∇u, so there a factor cancels; with it, calibration
    matters for stop rules alone.
    """

    method = "none"
    smooth = True
    proportional = False
    frame_scores: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.kind: Kind | None = None
        self.register_buffer("frame_scores", torch.zeros(0, dtype=torch.float64))

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return what its constructor takes, as plain values."""

    @abstractmethod
    def forward(self, u: Tensor, numbers: Tensor) -> Tensor:
        """Return the calibrated uncertainty.

        Parameters
        ----------
        u : torch.Tensor
            Of frames (F,) or of atoms (F, A), float64, not negative and 0 on padding, where it
            stays 0.
        numbers : torch.Tensor
            Atomic numbers (F, A), 0 on padding.
        """

    def is_fitted(self) -> bool:
        """Return whether it can be used."""
        return self.kind is not None

    def check(self) -> None:
        """Refuse use without a fit.

        Raises
        ------
        NotFittedError
        """
        if not self.is_fitted():
            raise NotFittedError(
                f"{type(self).__name__} is not fitted; call fit(cv, calibration_data) first"
            )

    def fit(self, cv: Calibratable, data: Dataset) -> Self:
        """Fit to labelled data that was used for nothing else, and return self.

        Raises
        ------
        CalibrationError
            If the data are too few or do not allow this calibration, or the collective variable is
            calibrated already.
        DataError
            If the label needed is missing.
        """
        self.check_variable(cv)
        return self.fit_scores(*scores(cv, data), kind=residual_kind(cv))

    def fit_scores(
        self,
        residual: ArrayLike,
        uncertainty: ArrayLike,
        frame: ArrayLike,
        numbers: ArrayLike | None = None,
        *,
        kind: Kind,
    ) -> Self:
        """Fit to residuals and uncertainties of known frames (n,) and return self.

        Parameters
        ----------
        residual : array_like
            |r| (n,) in eV or eV/Å.
        uncertainty : array_like
            (n,), positive.
        frame : array_like
            (n,), which frame each belongs to.
        numbers : array_like, optional
            Atomic numbers (n,), where residuals are those of atoms.
        kind : str
            'energy' or 'force', of the residuals.

        Raises
        ------
        CalibrationError
            As `fit`.
        ValueError
            If the kind is another, or the arrays differ in length.
        """
        if kind not in ("energy", "force"):
            raise ValueError(
                f"kind of the residuals is {kind!r}; expected 'energy' or 'force': an error has a "
                "unit, also where the uncertainty has none"
            )
        found = checked(residual, uncertainty, frame, numbers)
        self._fit(found, kind)
        self.kind = kind
        self.frame_scores = torch.as_tensor(by_frame(self._scores(found), found.frame))
        return self

    def check_variable(self, cv: Calibratable) -> None:
        """Refuse a collective variable that this calibrator cannot be fitted on.

        Raises
        ------
        CalibrationError
        """
        name = type(self).__name__
        if cv.calibrator is not None:
            raise CalibrationError(
                "the collective variable is calibrated already, and the factor would be relative "
                "to that; fit on cv.calibrated(None)"
            )
        if cv.uncertainty.per_atom and residual_kind(cv) == "energy" and not self.proportional:
            raise CalibrationError(
                f"{name} changes each atom's uncertainty in its own way, but energies can only be "
                "held against that of the frame; use ConformalCalibrator or GaussianCalibrator, or "
                "an uncertainty of the frame (of='energy') or of forces"
            )

    @abstractmethod
    def _fit(self, found: Scores, kind: Kind) -> None:
        """Set the fitted buffers."""

    def _scores(self, found: Scores) -> np.ndarray:
        """Return |r| / u (n,) with the calibrated u; 0 where both are 0."""
        numbers = np.zeros(len(found.frame), int) if found.numbers is None else found.numbers
        with torch.no_grad():
            u = self(torch.as_tensor(found.uncertainty)[:, None], torch.as_tensor(numbers)[:, None])
        values = u[:, 0].numpy()
        return np.divide(found.residual, values, out=np.zeros_like(values), where=values > 0)
