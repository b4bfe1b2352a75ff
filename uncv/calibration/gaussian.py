"""One scale by Gaussian likelihood."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncv.calibration.scale import ScaleCalibrator


class GaussianCalibrator(ScaleCalibrator):
    """factor = sqrt(mean(r²/u²)), the likeliest scale of Gaussian errors; for few frames too.

    Calibrated so, u estimates a standard deviation and not a bound.
    """

    method = "gaussian"

    def settings(self) -> dict[str, Any]:
        """Return what its constructor takes, as plain values."""
        return {}

    def _factor(self, score: NDArray[np.float64], frame: NDArray[np.int64]) -> float:
        return float(np.sqrt(np.mean(score**2)))
