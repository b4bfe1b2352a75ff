"""Errors of a potential on labelled frames beside the uncertainties that foretold them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncv.calibration import Scores, residual_kind, scores
from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.errors import DataError
from uncv.metrics import gaussian_scale, level_of_width, width_of_level
from uncv.models.derivatives import chunks
from uncv.protocols import Potential
from uncv.units import EV_PER_ANGSTROM3_IN_GPA, Kind, unit_name

FloatArray = NDArray[np.float64]
_SHIFTED = 3.0  # alignment that divides the energy error by this is worth a note


class Errors(NamedTuple):
    """Root mean square errors of the member mean on labelled frames; NaN without the labels.

    Attributes
    ----------
    energy_rmse_mev_per_atom : float
        Of total energies, per atom.
    force_rmse_ev_per_angstrom : float
        Per Cartesian component.
    """

    energy_rmse_mev_per_atom: float
    force_rmse_ev_per_angstrom: float


class CrystalErrors(NamedTuple):
    """`Errors` with those of the stress; NaN where not all frames carry one.

    Attributes
    ----------
    energy_rmse_mev_per_atom, force_rmse_ev_per_angstrom : float
        As in `Errors`.
    stress_rmse_gpa : float
        Per component of the tensor.
    """

    energy_rmse_mev_per_atom: float
    force_rmse_ev_per_angstrom: float
    stress_rmse_gpa: float


class Judged(NamedTuple):
    """Errors beside the uncertainties that foretold them, point by point.

    Attributes
    ----------
    scores : Scores
        Residuals, uncertainties and frames of the points: frames for an energy, atoms for a force.
    standard_deviation : numpy.ndarray
        The uncertainties (n,) as standard deviations of one component, in the unit of the
        residuals; see ``notes`` where they differ from the uncertainties.
    kind : str
        'energy' (eV) or 'force' (eV/Å), of the residuals.
    uncertainty_kind : str
        The same, or 'dimensionless'.
    components : int
        What a residual is the root mean square of: 1, or 3 for a force.
    frames : int
        Number of frames.
    errors : Errors
        Of the potential.
    promised : float or None
        Share of residuals that should lie below the uncertainty; None for one without a unit.
    notes : tuple of str
        What a reader must know.
    """

    scores: Scores
    standard_deviation: FloatArray
    kind: Kind
    uncertainty_kind: Kind
    components: int
    frames: int
    errors: Errors
    promised: float | None
    notes: tuple[str, ...]


def judge(
    cv: UncertaintyCV,
    data: Dataset,
    *,
    align: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Judged:
    """Return errors and uncertainties of labelled frames.

    Parameters
    ----------
    cv, data
        As in `evaluate`.
    align : bool
        Subtract from the energy errors what one constant for each element explains best, for labels
        of another reference level. It leaves forces as they are.
    progress : callable, optional
        Told the frames done and their number.

    Raises
    ------
    DataError
        If there are no frames, or the label is missing.
    ElementError
        If the potential does not know an element.
    """
    if len(data) == 0:
        raise DataError("there are no frames to evaluate; give labelled frames")
    kind = residual_kind(cv)
    data.require("forces" if kind == "force" else "energy")  # before the work
    values = _evaluate(cv, data, progress)
    notes: list[str] = []
    if data.has("energy"):
        values, notes = _aligned(values, data, align=align)
    found = scores(_Known(cv, values), data)
    components = 3 if kind == "force" else 1
    deviation, promised, said = _standard_deviation(cv, found, components)
    return Judged(
        scores=found,
        standard_deviation=deviation,
        kind=kind,
        uncertainty_kind=cv.kind,
        components=components,
        frames=len(data),
        errors=_errors(values, data),
        promised=promised,
        notes=(*notes, *said),
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
    return _errors(_Values(said.energies.mean(axis=0), said.forces), data)


def crystal_errors(potential: Potential, data: Dataset) -> CrystalErrors:
    """Return the errors of the member mean, those of the stress included.

    Raises
    ------
    DataError
        If energies or forces are missing.
    """
    data.require("energy", "forces")
    said = potential.evaluate(data)
    found = _errors(_Values(said.energies.mean(axis=0), said.forces), data)
    stress = float("nan")
    if data.has("stress") and said.stress is not None:
        stress = EV_PER_ANGSTROM3_IN_GPA * _rms(said.stress - np.asarray(data.stress))
    return CrystalErrors(*found, stress)


class _Values(NamedTuple):
    """The part of a CVResult that is judged."""

    energy: FloatArray
    forces: FloatArray
    atomic_uncertainty: FloatArray = np.zeros((0, 0))
    uncertainty: FloatArray = np.zeros(0)


class _Known:
    """A collective variable whose values are known, as `scores` wants it."""

    def __init__(self, cv: UncertaintyCV, values: _Values) -> None:
        self.kind: Kind = cv.kind
        self.uncertainty: Any = cv.uncertainty
        self.calibrator: Any = cv.calibrator
        self._values = values

    def predict(self, data: Dataset) -> _Values:
        """Return them."""
        return self._values


def _evaluate(
    cv: UncertaintyCV, data: Dataset, progress: Callable[[int, int], None] | None
) -> _Values:
    parts, done = [], 0
    for part in chunks(data):
        said = cv.predict(part)
        parts.append([getattr(said, name) for name in _Values._fields])
        done += len(part)
        if progress is not None:
            progress(done, len(data))
    return _Values(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _aligned(values: _Values, data: Dataset, *, align: bool) -> tuple[_Values, list[str]]:
    """Subtract a constant for each element, or note that it would change much."""
    counts = np.stack([(data.numbers == z).sum(axis=1) for z in data.elements], axis=1)
    error = values.energy - np.asarray(data.energy)
    constants = np.linalg.lstsq(counts.astype(float), error, rcond=None)[0]
    before = 1000.0 * _rms(error / data.frame_atoms)
    after = 1000.0 * _rms((error - counts @ constants) / data.frame_atoms)
    change = f"the energy RMSE is {before:.3g} meV/atom, and {after:.3g} after subtracting"
    if align:
        note = f"energies are aligned: before, {change} a constant for each element"
        return values._replace(energy=values.energy - counts @ constants), [note]
    if len(data) <= 2 * len(constants) or before <= _SHIFTED * after:
        return values, []
    return values, [
        f"energy errors are mostly a constant: {change} one for each element; if the labels have "
        "another reference level, align them (align=True, --align)"
    ]


def _standard_deviation(
    cv: UncertaintyCV, found: Scores, components: int
) -> tuple[FloatArray, float | None, list[str]]:
    """Return standard deviations, the share promised below u, and what was done to u."""
    u = found.uncertainty
    alpha = getattr(cv.calibrator, "alpha", None)
    if alpha is not None:
        width = width_of_level(1.0 - alpha, components)
        note = (
            f"u is a bound for a share {1 - alpha:g} of errors; as a standard deviation it is "
            f"divided by {width:.3g}, the half-width of that interval of a normal distribution"
        )
        return u / width, 1.0 - alpha, [note]
    if cv.kind != residual_kind(cv):
        scale = gaussian_scale(u, found.residual)
        unit = unit_name(residual_kind(cv))
        note = (
            f"u has no unit; as a standard deviation it is multiplied by {scale:.3g} {unit}, the "
            "best scale for these very errors: calibrate it to see its own"
        )
        return u * scale, None, [note]
    return u, level_of_width(1.0, components), []


def _errors(values: _Values, data: Dataset) -> Errors:
    energy = force = float("nan")
    if data.has("energy"):
        energy = 1000.0 * _rms((values.energy - np.asarray(data.energy)) / data.frame_atoms)
    if data.has("forces"):
        force = _rms((values.forces - np.asarray(data.forces))[data.mask])
    return Errors(energy, force)


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))
