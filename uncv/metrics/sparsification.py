"""What is gained by leaving out the points with the largest uncertainty."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.metrics.bootstrap import (
    DEFAULT,
    Bootstrap,
    Estimate,
    FloatArray,
    Points,
    estimate,
    points,
)
from uncv.metrics.ordering import Ordering


class SparsificationCurve(NamedTuple):
    """Mean |error| of what is left, relative to that of all points; all (n,).

    Attributes
    ----------
    removed : numpy.ndarray
        Share of points left out: 0, 1/n, ..., (n − 1)/n.
    by_uncertainty : numpy.ndarray
        Where those of largest uncertainty are left out first.
    by_error : numpy.ndarray
        Where those of largest error are: the oracle, the best there is.
    """

    removed: FloatArray
    by_uncertainty: FloatArray
    by_error: FloatArray


def ause(
    uncertainty: ArrayLike,
    residual: ArrayLike,
    frame: ArrayLike | None = None,
    *,
    bootstrap: Bootstrap = DEFAULT,
) -> Estimate:
    """Return the area between the sparsification curves by uncertainty and by error.

    A curve holds the mean |error| of the points left when k = 0, 1, ..., n − 1 of n are left out,
    divided by the mean |error| of all; its area is the mean over k. A random order has area 1.
    Points of equal uncertainty leave in random order, of which the mean is taken, so that a
    constant uncertainty counts as a random one.

    Parameters
    ----------
    uncertainty, residual, frame, bootstrap
        As in `uncv.metrics.spearman`.

    Returns
    -------
    Estimate
        0 for the order of the errors themselves; `ause_of_random_order` for no order at all; NaN
        where all errors are zero.

    Notes
    -----
    Source: Ilg et al., ECCV (2018), with the mean absolute error.
    """
    data = points(uncertainty, residual, frame)
    harmonic = _harmonic(data.frames * int(np.bincount(data.frame).max()))
    by_u, by_r = (_Area(v, data, harmonic) for v in (data.uncertainty, data.residual))
    return estimate(lambda frames: by_u(frames) - by_r(frames), data, bootstrap)


def ause_of_random_order(residual: ArrayLike) -> float:
    """Return the value of `ause` for an uncertainty that knows nothing of these residuals (n,)."""
    r = np.abs(np.asarray(residual, dtype=np.float64))
    return ause(np.ones_like(r), r, bootstrap=Bootstrap(resamples=0)).value


def sparsification_curve(uncertainty: ArrayLike, residual: ArrayLike) -> SparsificationCurve | None:
    """Return the curves between which `ause` is the area; None where all errors are zero."""
    data = points(uncertainty, residual)
    if not data.residual.any():
        return None
    curves = []
    left = np.arange(1, len(data.residual) + 1)
    for values in (data.uncertainty, data.residual):
        order = Ordering(values, data)
        means = np.bincount(order.group, data.residual[order.order]) / np.bincount(order.group)
        kept = means[order.group].cumsum() / left
        curves.append(kept[::-1] / kept[-1])
    return SparsificationCurve((left - 1) / len(left), *curves)


class _Area:
    """Area of the curve that leaves points out from the largest of some values.

    With c points left, of which one is left out next, that point counts 1/B in the means of all
    sizes B ≥ c, together H_n − H_(c−1) with the harmonic numbers H. The sum of H_0, ..., H_(c−1) is
    T(c) = c H_c − c, so points of mean residual m between places c and c' of the ascending order
    give m [(c' − c) H_n − T(c') + T(c)].
    """

    def __init__(self, values: FloatArray, data: Points, harmonic: FloatArray) -> None:
        self._order = Ordering(values, data)
        self._residual = data.residual[self._order.order]
        self._harmonic = harmonic
        self._summed = np.arange(len(harmonic)) * (harmonic - 1.0)

    def __call__(self, frames: FloatArray) -> FloatArray:
        """Return the areas (B,), that of a random order being 1."""
        weights = self._order.weights(frames.astype(np.intp))
        means = self._means(weights) if self._order.tied else self._residual
        places = self._order.sums(weights).cumsum(axis=1)
        steps = np.diff(np.take(self._summed, places), axis=1, prepend=0.0)
        total = weights @ self._residual
        lost = np.einsum("bg,bg->b", steps, np.broadcast_to(means, steps.shape))
        area: FloatArray = self._harmonic[places[:, -1]] - lost / total
        return area

    def _means(self, weights: NDArray[np.intp]) -> FloatArray:
        times = self._order.sums(weights)
        sums = self._order.sums(weights * self._residual)
        return np.divide(sums, times, out=np.zeros_like(sums), where=times > 0)


def _harmonic(largest: int) -> FloatArray:
    return np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, largest + 1))])
