"""Does the uncertainty rank the errors: Spearman's correlation, and finding the large errors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from uncv.metrics.bootstrap import DEFAULT, Bootstrap, Estimate, FloatArray, estimate, points
from uncv.metrics.ordering import Ordering


class RocCurve(NamedTuple):
    """Shares of small and of large errors among the points above each threshold of u, (k,)."""

    false_positive: FloatArray
    true_positive: FloatArray


def spearman(
    uncertainty: ArrayLike,
    residual: ArrayLike,
    frame: ArrayLike | None = None,
    *,
    bootstrap: Bootstrap = DEFAULT,
) -> Estimate:
    """Return the rank correlation of uncertainty and |error|, ties at their mean rank.

    Parameters
    ----------
    uncertainty, residual : array_like
        (n,), any units; of the residual the absolute value counts.
    frame : array_like, optional
        The frame of each point (n,); frames are resampled.
    bootstrap : Bootstrap
        How the interval is made.

    Returns
    -------
    Estimate
        Between −1 and 1; NaN where one of the two is constant.

    Raises
    ------
    ValueError
        For fewer than two points, unequal shapes or values that are not finite.
    """
    data = points(uncertainty, residual, frame)
    by_u, by_r = Ordering(data.uncertainty, data), Ordering(data.residual, data)
    group_u = by_u.group_of_points()[by_r.order]

    def statistic(frames: FloatArray) -> FloatArray:
        rank_u, spread_u = _ranks(by_u, by_u.weights(frames))
        weights = by_r.weights(frames)
        rank_r, spread_r = _ranks(by_r, weights)
        if by_r.tied:
            rank_r = np.take(rank_r, by_r.group, axis=1)
        product = np.einsum("bn,bn,bn->b", weights, np.take(rank_u, group_u, axis=1), rank_r)
        rho: FloatArray = product / np.sqrt(spread_u * spread_r)
        return rho

    return estimate(statistic, data, bootstrap)


def auroc(
    uncertainty: ArrayLike,
    residual: ArrayLike,
    frame: ArrayLike | None = None,
    *,
    quantile: float = 0.8,
    bootstrap: Bootstrap = DEFAULT,
) -> Estimate:
    """Return the area under the ROC curve of finding the large errors by their uncertainty.

    An error is large above the given quantile of all errors; each resample has its own. The area is
    the probability that a large error has the larger uncertainty of the two, a tie counting half.

    Parameters
    ----------
    uncertainty, residual, frame, bootstrap
        As in `spearman`.
    quantile : float
        Between 0 and 1.

    Returns
    -------
    Estimate
        1 for perfect order, 0.5 for none; NaN where no error is larger than the others.
    """
    data = points(uncertainty, residual, frame)
    by_u, by_r = Ordering(data.uncertainty, data), Ordering(data.residual, data)
    sorted_r, in_order_of_u = data.residual[by_r.order], data.residual[by_u.order]
    _check_quantile(quantile)

    def statistic(frames: FloatArray) -> FloatArray:
        # Above the quantile, interpolated or not, is above the order statistic just below it.
        reached = by_r.weights(frames).cumsum(axis=1)
        place = np.floor(quantile * (reached[:, -1] - 1.0))
        limit = sorted_r[(reached <= place[:, None]).sum(axis=1)]
        weights = by_u.weights(frames)
        large = np.where(in_order_of_u > limit[:, None], weights, 0.0)
        found, passed = by_u.sums(large), by_u.sums(weights - large)
        below = passed.cumsum(axis=1) - passed / 2.0
        pairs = found.sum(axis=1) * passed.sum(axis=1)
        area: FloatArray = np.einsum("bg,bg->b", found, below) / pairs
        return area

    return estimate(statistic, data, bootstrap)


def roc_curve(
    uncertainty: ArrayLike, residual: ArrayLike, *, quantile: float = 0.8
) -> RocCurve | None:
    """Return the curve whose area is `auroc`, from (0, 0) to (1, 1); None where it is undefined."""
    data = points(uncertainty, residual)
    _check_quantile(quantile)
    by_u = Ordering(data.uncertainty, data)
    large = (data.residual > np.quantile(data.residual, quantile))[by_u.order][None].astype(float)
    found, passed = by_u.sums(large)[0, ::-1], by_u.sums(1.0 - large)[0, ::-1]
    if found.sum() == 0 or passed.sum() == 0:
        return None
    false, true = (np.concatenate([[0.0], part.cumsum() / part.sum()]) for part in (passed, found))
    return RocCurve(false, true)


def _ranks(ordering: Ordering, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return centred ranks of the groups (B, G), and the sum of their squares (B,)."""
    times = ordering.sums(weights)
    reached = times.cumsum(axis=1)
    ranks = reached - times / 2.0 - reached[:, -1:] / 2.0
    return ranks, np.einsum("bg,bg,bg->b", times, ranks, ranks)


def _check_quantile(quantile: float) -> None:
    if not 0 < quantile < 1:
        raise ValueError(f"quantile is {quantile}; expected a number between 0 and 1")
