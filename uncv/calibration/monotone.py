"""A smooth, strictly rising curve from uncertainty to error."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uncv.calibration.base import Calibrator
from uncv.calibration.scores import Scores
from uncv.errors import CalibrationError, NotFittedError
from uncv.units import Kind

FEWEST = 5
"""Values that a bin needs on average."""
CLOSEST = 1.01
"""Ratio of neighbouring knots below which they become one: closer ones make the curve steep."""


class Knots(NamedTuple):
    """Points (k,) that the curve goes through, rising in both."""

    u: NDArray[np.float64]
    error: NDArray[np.float64]


class MonotoneCalibrator(Calibrator):
    """u ← f(u) with a monotone cubic f (PCHIP) through the errors of bins of equal counts.

    Each bin of uncertainties gives a knot, (rms u, rms r): the reliability diagram. Bins where the
    error does not rise are pooled with their neighbours, as isotonic regression does. The curve
    begins at (0, 0), runs straight to the first knot, and straight on past the last one, in each
    case with the slope of the nearest bins; it has a continuous derivative that is positive and
    finite everywhere. u becomes a standard deviation, as with `GaussianCalibrator`.

    Parameters
    ----------
    bins : int
        At least 2; five values or more in each.

    Attributes
    ----------
    breaks : torch.Tensor
        Where the pieces begin (k,), the first at 0.
    pieces : torch.Tensor
        Coefficients (4, k) of each, highest power first, in u − break.

    Notes
    -----
    Source: Fritsch and Butland (1984), with the slopes of ``scipy.interpolate.PchipInterpolator``,
    which lie strictly inside the region where a cubic rises. Reliability diagram: Levi et al.
    (2022).
    """

    method = "monotone"
    breaks: Tensor
    pieces: Tensor

    def __init__(self, bins: int = 8) -> None:
        super().__init__()
        if bins < 2:
            raise ValueError(f"bins is {bins}; expected at least 2")
        self.bins = bins
        self.register_buffer("breaks", torch.zeros(0, dtype=torch.float64))
        self.register_buffer("pieces", torch.zeros((4, 0), dtype=torch.float64))

    def settings(self) -> dict[str, Any]:
        """Return what its constructor takes, as plain values."""
        return {"bins": self.bins}

    def forward(self, u: Tensor, numbers: Tensor) -> Tensor:
        """Return f(u), 0 where u is 0; shapes as in `Calibrator`."""
        if self.breaks.shape[0] == 0:
            raise NotFittedError("the calibrator is not fitted; call fit(cv, calibration_data)")
        piece = (torch.searchsorted(self.breaks, u.contiguous(), right=True) - 1).clamp(min=0)
        part = u - self.breaks[piece]
        third, second, first = self.pieces[0][piece], self.pieces[1][piece], self.pieces[2][piece]
        return ((third * part + second) * part + first) * part + self.pieces[3][piece]

    def _fit(self, found: Scores, kind: Kind) -> None:
        from scipy.interpolate import PchipInterpolator

        knots = with_straight_ends(knots_of(found, self.bins))
        curve = PchipInterpolator(knots.u, knots.error)
        last = [0.0, 0.0, float(curve.derivative()(knots.u[-1])), knots.error[-1]]
        self.breaks = torch.as_tensor(knots.u)
        self.pieces = torch.as_tensor(np.column_stack([curve.c, last]))


def knots_of(found: Scores, bins: int) -> Knots:
    """Return root mean squares of uncertainty and residual of bins of equal counts, rising in both.

    Raises
    ------
    CalibrationError
        If there are too few values or frames, or the error does not rise with the uncertainty.
    """
    count, frames = len(found.residual), len(np.unique(found.frame))
    if count < FEWEST * bins or frames < 2:
        raise CalibrationError(
            f"{count} residuals in {frames} calibration frames are too few for {bins} bins; "
            f"expected at least {FEWEST * bins} in 2 frames: give more frames, fewer bins, or use "
            "GaussianCalibrator"
        )
    parts = np.array_split(np.argsort(found.uncertainty, kind="stable"), bins)
    squares = [
        (len(p), float(np.sum(found.uncertainty[p] ** 2)), float(np.sum(found.residual[p] ** 2)))
        for p in parts
    ]
    sums = np.array(pooled(squares))
    knots = Knots(*np.sqrt(sums[:, 1:] / sums[:, :1]).T)
    if len(knots.u) < 2:
        raise CalibrationError(
            "the error does not rise with the uncertainty: all bins were pooled into one; use "
            "another uncertainty, more frames, or GaussianCalibrator"
        )
    return knots


def pooled(bins: list[tuple[int, float, float]]) -> list[tuple[int, float, float]]:
    """Join neighbouring bins (count, Σ u², Σ r²) until u and r rise from each to the next."""
    done: list[tuple[int, float, float]] = []
    for one in bins:
        last = one
        while done and not rises(done[-1], last):
            before = done.pop()
            last = (before[0] + last[0], before[1] + last[1], before[2] + last[2])
        done.append(last)
    while len(done) > 1 and done[0][2] <= 0.0:  # a knot at error 0 would make the curve flat
        first, second = done.pop(0), done.pop(0)
        done.insert(0, (first[0] + second[0], first[1] + second[1], first[2] + second[2]))
    return done


def rises(one: tuple[int, float, float], two: tuple[int, float, float]) -> bool:
    """Return whether the second bin lies above the first in error, and far enough off in u."""
    further = two[1] / two[0] > CLOSEST**2 * one[1] / one[0]
    return further and two[2] / two[0] > one[2] / one[0]


def with_straight_ends(knots: Knots) -> Knots:
    """Add (0, 0), a knot half way to the first one, and one past the last, on straight lines.

    PCHIP may choose a slope of zero at an end; where the two segments next to it lie on one line,
    it chooses the slope of that line.
    """
    u, error = knots
    return Knots(
        np.concatenate([[0.0, 0.5 * u[0]], u, [2 * u[-1] - u[-2]]]),
        np.concatenate([[0.0, 0.5 * error[0]], error, [2 * error[-1] - error[-2]]]),
    )
