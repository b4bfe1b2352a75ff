"""Calibrators with one factor for every uncertainty."""

from abc import abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uncv.calibration.base import Calibrator
from uncv.calibration.scores import Scores
from uncv.errors import CalibrationError, NotFittedError
from uncv.units import Kind


class ScaleCalibrator(Calibrator):
    """u ← factor · u.

    Attributes
    ----------
    factor : float or None
        None until fitted.
    scale : torch.Tensor
        The same as a buffer, (1,), or (0,) until fitted.
    """

    # TorchScript would compile the property otherwise.
    __jit_unused_properties__ = ("factor",)
    proportional = True
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.zeros(0, dtype=torch.float64))

    @property
    def factor(self) -> float | None:
        """The factor, None until fitted."""
        return float(self.scale[0]) if len(self.scale) else None

    @factor.setter
    def factor(self, value: float) -> None:
        if not (np.isfinite(value) and value > 0):
            raise CalibrationError(
                f"the factor is {value:g}; expected a positive number: are most residuals zero?"
            )
        self.scale = torch.tensor([value], dtype=torch.float64)

    def is_fitted(self) -> bool:
        """Return whether it can be used."""
        return len(self.scale) > 0

    def forward(self, u: Tensor, numbers: Tensor) -> Tensor:
        """Return factor · u; shapes as in `Calibrator`."""
        if self.scale.shape[0] == 0:
            raise NotFittedError("the calibrator is not fitted; call fit(cv, calibration_data)")
        return u * self.scale

    def _fit(self, found: Scores, kind: Kind) -> None:
        self.factor = self._factor(found.residual / found.uncertainty, found.frame)

    @abstractmethod
    def _factor(self, score: NDArray[np.float64], frame: NDArray[np.int64]) -> float:
        """Return the factor from scores (n,) and their frames (n,)."""
