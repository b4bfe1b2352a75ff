"""The moving averages behind the adaptive bias."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uncv.bias import AdaptiveBias

FloatArray = NDArray[np.float64]


class Window:
    """Mean squares of the physical force and of ∇u over the last steps of each walker."""

    def __init__(self, bias: AdaptiveBias, numbers: NDArray[np.int64], walkers: int) -> None:
        self.bias = bias
        self.weights = bias.weights(numbers)[None, :, None]
        self.squares = np.zeros((2, bias.window, walkers))
        self.filled = np.zeros(walkers, dtype=np.int64)

    def push(self, force: FloatArray, gradient: FloatArray, active: NDArray[np.bool_]) -> None:
        """Add one completed step; both (W, A, 3)."""
        new = np.stack([(force**2).sum(axis=(1, 2)), (gradient**2).sum(axis=(1, 2))])
        place = self.filled % self.bias.window
        walkers = np.flatnonzero(active)
        self.squares[:, place[walkers], walkers] = new[:, walkers]
        self.filled[walkers] += 1

    def coefficient(self) -> FloatArray:
        """Return c of each walker (W,), 0 until its window is full."""
        force, gradient = self.squares.mean(axis=1)
        full = (self.filled >= self.bias.window) & (gradient > 0)
        return np.where(full, np.sqrt(force / np.where(gradient > 0, gradient, 1.0)), 0.0)

    def forget(self, walker: int) -> None:
        """Begin anew for a walker that was restarted."""
        self.filled[walker] = 0
