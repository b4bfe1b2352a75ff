"""How good a potential and its uncertainty are on labelled frames."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncv.calibration import ConformalCalibrator, Coverage, coverage, scores
from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.errors import DataError
from uncv.protocols import Potential


class Errors(NamedTuple):
    """Root mean square errors of the member mean on labelled frames.

    Attributes
    ----------
    energy_rmse_mev_per_atom : float
        Of total energies, without a shift, per atom.
    force_rmse_ev_per_angstrom : float
        Per Cartesian component.
    """

    energy_rmse_mev_per_atom: float
    force_rmse_ev_per_angstrom: float


class EvaluationSummary(NamedTuple):
    """Accuracy, and what the uncertainty says of it.

    Attributes
    ----------
    frames : int
        Number of frames.
    errors : Errors
        Root mean square errors.
    spearman : float
        Rank correlation of uncertainty and absolute error; NaN where one of them is constant.
    coverage : Coverage
        Share of errors inside the uncertainty as it is, with its 95 % interval.
    exchangeable : Coverage or None
        The same after a conformal calibration on a random half of the frames, counted on the
        other half; None with too few frames.
    alpha : float
        Share of errors that calibration lets outside.
    """

    frames: int
    errors: Errors
    spearman: float
    coverage: Coverage
    exchangeable: Coverage | None
    alpha: float


def evaluate(
    cv: UncertaintyCV, data: Dataset, *, alpha: float = 0.05, seed: int = 0
) -> EvaluationSummary:
    """Evaluate a collective variable on labelled frames.

    Parameters
    ----------
    cv : UncertaintyCV
        Potential, uncertainty and, if it has one, calibration.
    data : Dataset
        Frames with energies (eV) and forces (eV/Å) that were not used for training.
    alpha : float
        Of the second, exchangeable calibration.
    seed : int
        Of the halves and the resampling.

    Raises
    ------
    DataError
        If labels are missing.
    """
    found = scores(cv, data)
    return EvaluationSummary(
        len(data),
        errors(cv.potential, data),
        spearman(found.uncertainty, found.residual),
        coverage(cv, data, seed=seed),
        exchangeable_coverage(cv, data, alpha=alpha, seed=seed),
        alpha,
    )


def errors(potential: Potential, data: Dataset) -> Errors:
    """Return the errors of the member mean.

    Raises
    ------
    DataError
        If energies or forces are missing.
    """
    data.require("energy", "forces")
    said = potential.evaluate(data)
    energy = (said.energies.mean(axis=0) - np.asarray(data.energy)) / data.frame_atoms
    force = (said.forces - np.asarray(data.forces))[data.mask]
    return Errors(_rms(energy) * 1000.0, _rms(force))


def exchangeable_coverage(
    cv: UncertaintyCV, data: Dataset, *, alpha: float = 0.05, seed: int = 0
) -> Coverage | None:
    """Calibrate on a random half of the frames and count on the other half."""
    half, other = data.split(len(data) // 2, seed=seed)
    if (len(half) + 1) * alpha < 1.0:
        return None
    calibrator = ConformalCalibrator(alpha).fit(cv.calibrated(None), half)
    return coverage(cv.calibrated(calibrator), other, seed=seed)


def spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the rank correlation of two series (n,), NaN where one of them is constant.

    Raises
    ------
    DataError
        If there are fewer than two points.
    """
    from scipy.stats import rankdata

    if len(first) < 2:
        raise DataError(f"a rank correlation needs at least 2 points, found {len(first)}")
    ranks = [rankdata(values) for values in (first, second)]
    if any(np.ptp(rank) == 0 for rank in ranks):
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))
