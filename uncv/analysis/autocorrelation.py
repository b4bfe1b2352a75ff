"""Integrated autocorrelation times, and how many independent samples a run is worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import irfft, next_fast_len, rfft

from uncv.analysis.pieces import Pieces, pieces_of
from uncv.analysis.space import Axis, checked_values, resolve_axes
from uncv.errors import DataError

FloatArray = NDArray[np.float64]
ROUNDING = 1e-9
"""Share of a value below which a change of it is none."""
ENOUGH = 50.0
"""Autocorrelation times a run should hold for its own to be believed."""


class AutocorrelationTime(NamedTuple):
    """How long a series remembers.

    Attributes
    ----------
    time : float
        τ = 1 + 2 Σ_t ρ(t) in frames, which is 1 for independent frames: as many frames are worth
        one. Infinite for a series that does not vary, NaN where too few frames tell nothing.
    error : float
        Standard error of it, in frames.
    window : int
        Frames M up to which ρ was summed.
    effective : float
        Independent frames F/τ of the F given; 0 for a series that does not vary, NaN where too few
        frames tell nothing.
    reason : str
        Why the time is not to be trusted; '' if it is.
    """

    time: float
    error: float
    window: int
    effective: float
    reason: str = ""


def integrated_autocorrelation_time(
    x: ArrayLike, walker: ArrayLike | None = None, *, window: float = 5.0
) -> AutocorrelationTime:
    """Return the integrated autocorrelation time by Sokal's automatic window.

    ρ is summed up to the first M that is at least c τ(M). Several walkers are pooled: one mean, and
    products of frames of the same walker alone. The error is that of Madras and Sokal,
    τ √(2(2M+1)/F). Values of an angle are no series: take cosine and sine
    (`autocorrelation_times` does). Some authors call half of this τ the integrated time, among them
    Sokal; the number of effective frames is the same.

    Parameters
    ----------
    x : array_like
        The series (F,), equally far apart in time, in the order of time within each walker.
    walker : array_like, optional
        The walker, or the piece without a gap, of each frame (F,), any labels; one by default.
    window : float
        c.

    Raises
    ------
    DataError
        If there are fewer than two frames, a value is NaN or infinite, or shapes differ.

    References
    ----------
    A. D. Sokal, in Functional Integration (1997), pp. 131-192. N. Madras, A. D. Sokal, J. Stat.
    Phys. 50, 109 (1988).

    Examples
    --------
    >>> white = np.random.default_rng(0).normal(size=10000)
    >>> found = integrated_autocorrelation_time(white)
    >>> abs(found.time - 1.0) < 3 * found.error
    True
    """
    values = np.asarray(x, dtype=np.float64)
    labels = np.zeros(values.shape, np.int64) if walker is None else np.asarray(walker)
    if values.ndim != 1 or len(values) < 2 or labels.shape != values.shape:
        raise DataError(
            f"the series and its walkers have shapes {values.shape} and {labels.shape}; expected "
            "(frames,) of both, and at least two frames"
        )
    if not np.isfinite(values).all():
        raise DataError("a value of the series is NaN or infinite; leave such frames out")
    if not window > 0.0:
        raise DataError(f"the window is {window:g}; expected a number above 0, such as 5")
    return _time(values, pieces_of(labels), window)


def autocorrelation_times(
    cvs: ArrayLike,
    *,
    axes: Sequence[Axis] | None = None,
    walker: ArrayLike | None = None,
    window: float = 5.0,
) -> tuple[tuple[str, AutocorrelationTime], ...]:
    """Return the integrated autocorrelation time of each variable, by name.

    Of a periodic variable these are two, of its cosine and its sine on the circle.

    Parameters
    ----------
    cvs : array_like
        Values (F, d), or (F,) for one variable.
    axes : sequence of Axis, optional
        The variables; torsions by default.
    walker, window
        As in `integrated_autocorrelation_time`.
    """
    values = checked_values(cvs)
    space = resolve_axes(values.shape[1], axes)
    return tuple(
        (name, integrated_autocorrelation_time(series, walker, window=window))
        for axis, column in zip(space, values.T, strict=True)
        for name, series in _series(axis, column)
    )


def slowest(
    times: Sequence[tuple[str, AutocorrelationTime]],
) -> tuple[str, AutocorrelationTime]:
    """Return the one of the longest time: it says what the run is worth."""
    return max(times, key=lambda pair: np.inf if np.isnan(pair[1].time) else pair[1].time)


def _series(axis: Axis, column: FloatArray) -> list[tuple[str, FloatArray]]:
    if not axis.periodic:
        return [(axis.name, column)]
    turn = 2 * np.pi * axis.share(column)
    if axis.low == -np.pi and axis.high == np.pi:
        turn = column
    return [(f"cos {axis.name}", np.cos(turn)), (f"sin {axis.name}", np.sin(turn))]


def _time(values: FloatArray, pieces: Pieces, window: float) -> AutocorrelationTime:
    frames = len(values)
    centred = values - values.mean()
    scale = np.abs(values).max()
    if np.abs(centred).max() <= ROUNDING * scale:
        return AutocorrelationTime(np.inf, np.inf, 0, 0.0, "it does not vary")
    rho = _correlation(centred, pieces)
    sums = 1.0 + 2.0 * np.cumsum(rho[1:])
    reached = np.arange(1, len(rho)) >= window * sums
    if len(rho) == 1:
        return AutocorrelationTime(np.nan, np.inf, 0, np.nan, "no walker has two frames")
    end = int(np.argmax(reached)) if reached.any() else len(sums) - 1
    time = float(sums[end])
    if not time > 0.0:
        return AutocorrelationTime(np.nan, np.inf, end + 1, np.nan, "too few frames to tell")
    error = time * float(np.sqrt(2 * (2 * (end + 1) + 1) / frames))
    reason = ""
    if not reached.any():
        reason = "frames are correlated over all that goes on without a jump: no window was found"
    elif frames < ENOUGH * time:
        reason = f"the run holds {frames / time:.0f} of these times, fewer than {ENOUGH:g}"
    return AutocorrelationTime(time, error, end + 1, frames / time, reason)


def _correlation(centred: FloatArray, pieces: Pieces) -> FloatArray:
    """Return ρ(t) for each lag within a piece; products are averaged over all pairs of frames."""
    longest = int(pieces.lengths.max())
    products, pairs = np.zeros(longest), np.zeros(longest)
    for part in pieces.split(centred):
        size = next_fast_len(2 * len(part), real=True)
        spectrum = rfft(part, size)
        power = spectrum.real**2 + spectrum.imag**2
        products[: len(part)] += irfft(power, size)[: len(part)]
        pairs[: len(part)] += np.arange(len(part), 0, -1)
    covariance = products / pairs
    return np.asarray(covariance / covariance[0])
