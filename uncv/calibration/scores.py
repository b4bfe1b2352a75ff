"""Errors of labelled frames beside the uncertainties that foretold them."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.data import Dataset
from uncv.errors import CalibrationError
from uncv.units import Kind


class Calibratable(Protocol):
    """What a calibrator looks at: a collective variable."""

    @property
    def kind(self) -> Kind:
        """Kind of the uncertainty."""

    @property
    def uncertainty(self) -> Any:
        """The uncertainty; its ``per_atom`` tells atoms from frames."""

    @property
    def calibrator(self) -> Any:
        """Its calibrator, or None."""

    def predict(self, data: Dataset) -> CVValues:
        """Return energies, forces and uncertainties of a dataset."""


class CVValues(Protocol):
    """The part of a collective variable's result that calibration needs."""

    @property
    def energy(self) -> NDArray[np.float64]:
        """(F,), eV."""

    @property
    def forces(self) -> NDArray[np.float64]:
        """(F, A, 3), eV/Å."""

    @property
    def atomic_uncertainty(self) -> NDArray[np.float64]:
        """(F, A)."""

    @property
    def uncertainty(self) -> NDArray[np.float64]:
        """(F,)."""


class Scores(NamedTuple):
    """What a calibrator is fitted to; a score is residual / uncertainty.

    Attributes
    ----------
    residual : numpy.ndarray
        (n,), not negative, eV or eV/Å.
    uncertainty : numpy.ndarray
        (n,), positive.
    frame : numpy.ndarray
        (n,), the frame each belongs to: values of one frame are not exchangeable.
    numbers : numpy.ndarray or None
        (n,), atomic numbers; None where the residual is that of a frame.
    """

    residual: NDArray[np.float64]
    uncertainty: NDArray[np.float64]
    frame: NDArray[np.int64]
    numbers: NDArray[np.int64] | None = None


def residual_kind(cv: Calibratable) -> Kind:
    """Return which error an uncertainty is held against: 'energy' or 'force'."""
    return "energy" if cv.kind == "energy" or not cv.uncertainty.per_atom else "force"


def scores(cv: Calibratable, data: Dataset) -> Scores:
    """Return residuals and uncertainties of labelled data.

    An uncertainty of energies, or one that belongs to the frame alone, is held against |ΔE| of the
    frame; any other against the root mean square of ΔF over x, y, z of each atom.

    Raises
    ------
    DataError
        If the label needed is missing.
    """
    if residual_kind(cv) == "energy":
        data.require("energy")
        values = cv.predict(data)
        residual = np.abs(np.asarray(data.energy) - values.energy)
        return Scores(residual, values.uncertainty, np.arange(len(data)))
    data.require("forces")
    values = cv.predict(data)
    residual = np.sqrt(np.mean((np.asarray(data.forces) - values.forces) ** 2, axis=2))
    mask = data.mask
    frame = np.nonzero(mask)[0]
    return Scores(residual[mask], values.atomic_uncertainty[mask], frame, data.numbers[mask])


def checked(
    residual: ArrayLike, uncertainty: ArrayLike, frame: ArrayLike, numbers: ArrayLike | None = None
) -> Scores:
    """Return scores that a calibration can be computed from.

    Raises
    ------
    ValueError
        If the arrays differ in length.
    CalibrationError
        If there are none, some are NaN, infinite or negative, an uncertainty is not positive, or
        every residual is zero.
    """
    r, u, f = np.asarray(residual, float), np.asarray(uncertainty, float), np.asarray(frame)
    z = None if numbers is None else np.asarray(numbers)
    lengths = [a.shape for a in (r, u, f, z) if a is not None]
    if r.ndim != 1 or len(set(lengths)) > 1:
        raise ValueError(
            f"residuals, uncertainties, frames and numbers have shapes {lengths}; expected one "
            "length n: give flat arrays, without padding"
        )
    if len(r) == 0:
        raise CalibrationError("there are no residuals to calibrate on; give labelled frames")
    if not (np.isfinite(r).all() and np.isfinite(u).all()):
        raise CalibrationError("residuals or uncertainties are NaN or infinite; remove them")
    if (u <= 0).any():
        raise CalibrationError(
            f"{int((u <= 0).sum())} uncertainties are not positive; use a positive uncertainty"
        )
    if (r < 0).any():
        raise CalibrationError(
            f"{int((r < 0).sum())} residuals are negative; give their absolute values"
        )
    if not r.any():
        raise CalibrationError(
            f"all {len(r)} residuals are zero, so the calibrated uncertainty would be too; were "
            "the labels made by this very potential?"
        )
    return Scores(r, u, f, z)


def by_frame(values: NDArray[np.float64], frame: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the root mean square of values (n,) of each frame, in the order of frame numbers."""
    _, index = np.unique(frame, return_inverse=True)
    return np.sqrt(np.bincount(index, weights=values**2) / np.bincount(index))
