"""A power law between uncertainty and error."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from uncv.calibration.base import Calibrator
from uncv.calibration.scores import Scores
from uncv.errors import CalibrationError, NotFittedError
from uncv.units import Kind


class LogLinearCalibrator(Calibrator):
    """u ← e^a u^b, a straight line between the logarithms of uncertainty and error.

    The slope b is that of the least-squares line of log |r| over log u. The line itself goes
    through the mean of log |r|, which for Gaussian errors lies 0.64 below the logarithm of their
    standard deviation; a is therefore set by Gaussian likelihood with that b,
    mean(r² / (e^a u^b)²) = 1, so that u becomes a standard deviation as with `GaussianCalibrator`.
    Residuals of zero have no logarithm: they count for a and not for b.

    Attributes
    ----------
    line : torch.Tensor
        a and b, (2,), or (0,) until fitted.

    Notes
    -----
    With b below 1 the slope of the map grows without bound as u goes to 0; at 0 itself u stays 0
    and has no gradient.
    """

    method = "log_linear"
    line: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("line", torch.zeros(0, dtype=torch.float64))

    def settings(self) -> dict[str, Any]:
        """Return what its constructor takes, as plain values."""
        return {}

    def forward(self, u: Tensor, numbers: Tensor) -> Tensor:
        """Return e^a u^b, 0 where u is 0; shapes as in `Calibrator`."""
        if self.line.shape[0] == 0:
            raise NotFittedError("the calibrator is not fitted; call fit(cv, calibration_data)")
        positive = u > 0
        logarithm = torch.where(positive, u, torch.ones_like(u)).log()
        mapped = torch.exp(self.line[0] + self.line[1] * logarithm)
        return torch.where(positive, mapped, torch.zeros_like(mapped))

    def _fit(self, found: Scores, kind: Kind) -> None:
        used = found.residual > 0
        x, y = np.log(found.uncertainty[used]), np.log(found.residual[used])
        frames = len(np.unique(found.frame))
        if len(x) < 3 or frames < 2:
            raise CalibrationError(
                f"{len(x)} residuals other than zero in {frames} calibration frames are too few "
                "for a line; expected at least 3 in 2 frames: give more frames, or use "
                "GaussianCalibrator"
            )
        spread = x - x.mean()
        if np.abs(spread).max() < 1e-6:
            raise CalibrationError(
                "the uncertainties are all the same, so no line goes through them; calibrate on "
                "frames that differ, or use GaussianCalibrator"
            )
        slope = float(spread @ y / (spread @ spread))
        if slope <= 0:
            raise CalibrationError(
                f"the error does not rise with the uncertainty (slope {slope:.3g} of log |r| over "
                "log u, expected a positive one); use another uncertainty, more frames, or "
                "GaussianCalibrator"
            )
        scale = np.sqrt(np.mean((found.residual / found.uncertainty**slope) ** 2))
        self.line = torch.tensor([float(np.log(scale)), slope], dtype=torch.float64)
