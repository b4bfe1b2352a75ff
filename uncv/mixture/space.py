"""The space a mixture lives in: whitened features, or their principal axes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
SCALE_FLOOR = 1e-3
"""Smallest scale of a feature, relative to the largest of all features."""
ROWS_PER_AXIS = 3
"""Distinct training vectors needed for each principal axis, in each component beyond the first."""


class Space(NamedTuple):
    """Whitening and principal axes: z = (φ − mean) / scale · axes.

    Attributes
    ----------
    mean, scale : numpy.ndarray
        (D,).
    axes : numpy.ndarray
        Orthonormal columns (D, d).
    """

    mean: FloatArray
    scale: FloatArray
    axes: FloatArray

    def of(self, features: FloatArray) -> FloatArray:
        """Return features (n, D) on the axes (n, d)."""
        return (features - self.mean) / self.scale @ self.axes

    def back(self, reduced: FloatArray) -> FloatArray:
        """Return features (n, D) of points on the axes (n, d)."""
        return self.mean + self.scale * (reduced @ self.axes.T)


def fit_space(features: FloatArray, pca: float | None, distinct: int) -> Space:
    """Return whitening by mean and standard deviation, and principal axes of what comes out.

    Parameters
    ----------
    features : numpy.ndarray
        (n, D), not all the same.
    pca : float or None
        Axes kept: their number, their share of the variance (below 1), or None for no axes.
    distinct : int
        How many of the vectors differ.
    """
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    scale = np.maximum(deviation, SCALE_FLOOR * deviation.max())
    if pca is None:
        return Space(mean, scale, np.eye(len(mean)))
    white = (features - mean) / scale
    variance, axes = np.linalg.eigh(white.T @ white / len(white))
    variance, axes = variance[::-1], axes[:, ::-1]
    known = int((variance > 1e-10 * variance[0]).sum())
    if pca < 1:
        wanted = int(np.searchsorted(np.cumsum(variance) / variance.sum(), pca)) + 1
    else:
        wanted = int(pca)
    kept = max(1, min(wanted, known, distinct // ROWS_PER_AXIS))
    return Space(mean, scale, np.ascontiguousarray(axes[:, :kept]))
