"""Isotonic regression: the rising curve that fits best, for reports and stopping only."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from uncv.calibration.base import Calibrator
from uncv.calibration.scores import Scores
from uncv.errors import CalibrationError, NotFittedError
from uncv.units import Kind


class IsotonicCalibrator(Calibrator):
    """u ← sqrt(g(u)) with the isotonic regression g of r² on u.

    On its steps the derivative is zero, and a bias would do nothing there: a collective variable
    refuses it. Call it with the uncertainties of a report.

    Attributes
    ----------
    breaks, squares : torch.Tensor
        (k,), corners of g; between them it is linear, outside it stays at the value of the end.

    Notes
    -----
    Source: ``sklearn.isotonic.IsotonicRegression``.
    """

    method = "isotonic"
    smooth = False
    breaks: Tensor
    squares: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("breaks", torch.zeros(0, dtype=torch.float64))
        self.register_buffer("squares", torch.zeros(0, dtype=torch.float64))

    def settings(self) -> dict[str, Any]:
        """Return what its constructor takes, as plain values."""
        return {}

    def forward(self, u: Tensor, numbers: Tensor) -> Tensor:
        """Return sqrt(g(u)), 0 where u is 0; shapes as in `Calibrator`."""
        if self.breaks.shape[0] == 0:
            raise NotFittedError("the calibrator is not fitted; call fit(cv, calibration_data)")
        inside = u.contiguous().clamp(self.breaks[0], self.breaks[-1])
        right = torch.searchsorted(self.breaks, inside).clamp(1, self.breaks.shape[0] - 1)
        width = self.breaks[right] - self.breaks[right - 1]
        part = (inside - self.breaks[right - 1]) / width
        low = self.squares[right - 1]
        mapped = (low + part * (self.squares[right] - low)).sqrt()
        return torch.where(u > 0, mapped, torch.zeros_like(mapped))

    def _fit(self, found: Scores, kind: Kind) -> None:
        from sklearn.isotonic import IsotonicRegression

        if np.ptp(found.uncertainty) == 0:
            raise CalibrationError(
                "the uncertainties are all the same, so no curve goes through them; calibrate on "
                "frames that differ, or use GaussianCalibrator"
            )
        fit = IsotonicRegression(out_of_bounds="clip")
        fit.fit(found.uncertainty, found.residual**2)
        x, y = fit.X_thresholds_, fit.y_thresholds_
        self.breaks = torch.as_tensor(np.asarray(x, float))
        self.squares = torch.as_tensor(np.asarray(y, float))
