"""A rule for the distribution of torsions: that of the last rounds is that of the rounds before.

The distance is the square root of the Jensen-Shannon divergence, base 2: 0 for equal distributions,
1 for two without overlap. Two samples of n independent frames of one distribution are about
sqrt((bins − 1) / (4 n ln 2)) apart by chance; consecutive frames of a run are not independent. A
tolerance below that is never reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.convergence.base import RoundRecord, StopRule, check_positive
from uncv.errors import DataError

BINS = 24


@dataclass(frozen=True)
class TorsionsStay(StopRule):
    """No torsion is distributed otherwise than in the rounds before.

    Parameters
    ----------
    tolerance : float
        Largest distance of the two windows, of all torsions.
    rounds : int
        Rounds in each window: the last ones, and as many before them.
    """

    tolerance: float = 0.15
    rounds: int = 2

    def __post_init__(self) -> None:
        check_positive(tolerance=self.tolerance, rounds=self.rounds)

    def judge(self, history: Sequence[RoundRecord]) -> str:
        """Return the reason, '' while a torsion changes, or where a round has no histograms.

        Raises
        ------
        DataError
            If the histograms of two rounds differ in torsions or bins.
        """
        records = history[-2 * self.rounds :]
        counts = [r.torsion_counts for r in records if r.torsion_counts is not None]
        if len(counts) < 2 * self.rounds:
            return ""
        before, after = _window(counts[: self.rounds]), _window(counts[self.rounds :])
        if not (before.sum(axis=1).all() and after.sum(axis=1).all()):
            return ""
        farthest = float(distances(before, after).max(initial=0.0))
        if farthest > self.tolerance:
            return ""
        return (
            f"the torsions of the last {self.rounds} and the {self.rounds} rounds before are "
            f"distributed alike (Jensen-Shannon distance {farthest:.3f}, tolerance "
            f"{self.tolerance:g})"
        )


def torsion_counts(angles: ArrayLike, bins: int = BINS) -> tuple[tuple[int, ...], ...]:
    """Return the histogram of each torsion, in bins of equal width.

    Parameters
    ----------
    angles : array_like
        (F, K), radians; any turn.
    bins : int
        From −π to π.

    Raises
    ------
    DataError
        If the shape is another, or a value is not finite.

    Examples
    --------
    >>> torsion_counts([[0.1, 3.0], [0.2, -3.0], [-2.0, 3.2]], bins=4)
    ((1, 0, 2, 0), (2, 0, 0, 1))
    """
    values = np.asarray(angles, dtype=np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise DataError(
            f"angles have shape {values.shape}; expected finite ones (frames, torsions)"
        )
    turns = (values / (2 * np.pi) + 0.5) % 1.0
    places = np.minimum((turns * bins).astype(np.int64), bins - 1)
    return tuple(tuple(np.bincount(p, minlength=bins).tolist()) for p in places.T)


def distances(one: ArrayLike, two: ArrayLike) -> NDArray[np.float64]:
    """Return the Jensen-Shannon distance, base 2, of each two rows of counts (K, bins)."""
    from scipy.spatial.distance import jensenshannon

    return np.asarray(jensenshannon(one, two, base=2, axis=1))


def _window(counts: Sequence[Sequence[Sequence[int]]]) -> NDArray[np.float64]:
    shapes = {np.shape(c) for c in counts}
    if len(shapes) > 1:
        raise DataError(f"histograms of rounds have shapes {sorted(shapes)}; expected all the same")
    return np.sum(counts, axis=0, dtype=np.float64)
