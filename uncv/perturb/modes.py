"""Normal modes with their thermal amplitudes, from forces alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from uncv.data import Dataset
from uncv.errors import ConfigError, DataError
from uncv.perturb.geometry import FloatArray, Geometry
from uncv.units import KB_IN_EV_PER_K, ROOT_CURVATURE_IN_CM

Forces = Callable[[Dataset], FloatArray]
"""Gives the forces (F, A, 3) in eV/Å of a dataset, such as ``lambda d: oracle.label(d).forces``."""


@dataclass(frozen=True, eq=False)
class NormalModes:
    """Atoms move along their normal modes, as they do in classical harmonic motion; see `of`.

    Parameters
    ----------
    modes : numpy.ndarray
        Displacement by one standard deviation of each mode (K, A, 3), Å.
    wavenumbers : numpy.ndarray
        (K,), cm⁻¹, ascending.
    temperature : float
        In K.
    """

    modes: FloatArray
    wavenumbers: FloatArray
    temperature: float

    @classmethod
    def of(
        cls,
        frame: Dataset,
        forces: Forces,
        temperature: float = 300.0,
        *,
        lowest: float = 50.0,
        width: float = 0.01,
    ) -> NormalModes:
        """Return the modes of a structure at a minimum of the energy.

        Parameters
        ----------
        frame : Dataset
            One frame.
        forces : callable
            Gives the forces (F, A, 3) in eV/Å of a dataset.
        temperature : float
            In K. A mode of angular frequency ω has the mean square k_BT/ω² in mass-weighted
            coordinates.
        lowest : float
            Modes below this wavenumber in cm⁻¹ are left out: translations, rotations, and what
            is so soft that the harmonic amplitude would lead astray.
        width : float
            Displacement of the central differences in Å.

        Raises
        ------
        DataError
            If there is another number of frames, a mode with a wavenumber below −lowest, which
            tells that this is no minimum, or no mode at all.
        """
        if not temperature > 0 or not lowest > 0:
            raise ConfigError(
                f"temperature is {temperature} K and lowest {lowest} cm⁻¹; expected both positive"
            )
        curvature = hessian(frame, forces, width)
        weights = 1.0 / np.sqrt(np.repeat(_masses(frame), 3))
        values, vectors = np.linalg.eigh(weights[:, None] * curvature * weights)
        wavenumbers = np.sign(values) * np.sqrt(np.abs(values)) * ROOT_CURVATURE_IN_CM
        if wavenumbers[0] < -lowest:
            raise DataError(
                f"{(wavenumbers < -lowest).sum()} modes are imaginary, down to "
                f"{-wavenumbers[0]:.0f}i cm⁻¹: this is no minimum of the energy; relax it first"
            )
        kept = wavenumbers >= lowest
        if not kept.any():
            raise DataError(
                f"no mode is above {lowest:g} cm⁻¹, the highest is {wavenumbers[-1]:.3g} cm⁻¹; "
                "lower lowest, or use Rattle"
            )
        sizes = np.sqrt(KB_IN_EV_PER_K * temperature / values[kept])
        modes = (vectors[:, kept] * sizes * weights[:, None]).T.reshape(kept.sum(), -1, 3)
        return cls(modes, wavenumbers[kept], temperature)

    def __str__(self) -> str:
        return f"normal modes {self.temperature:g} K"

    def displaced(self, geometry: Geometry, random: np.random.Generator) -> Geometry:
        """Return the geometry with its atoms moved.

        Raises
        ------
        DataError
            If the modes are of another number of atoms.
        """
        if self.modes.shape[1:] != geometry.positions.shape:
            raise DataError(
                f"the modes are of {self.modes.shape[1]} atoms but the structure has "
                f"{len(geometry.positions)}; make the modes of this structure"
            )
        amplitudes = random.normal(size=len(self.modes))
        moved = geometry.positions + np.tensordot(amplitudes, self.modes, axes=1)
        return geometry._replace(positions=moved)


def hessian(frame: Dataset, forces: Forces, width: float = 0.01) -> FloatArray:
    """Return the second derivatives (3A, 3A) of the energy in eV/Å^2 by central differences.

    Parameters
    ----------
    frame : Dataset
        One frame of A atoms.
    forces : callable
        Gives the forces (F, A, 3) in eV/Å of a dataset.
    width : float
        Displacement in Å.

    Raises
    ------
    DataError
        If there is another number of frames, or a force is not finite.
    """
    if len(frame) != 1:
        raise DataError(f"modes are of one structure, found {len(frame)} frames; give data[i]")
    atoms = int(frame.frame_atoms[0])
    start = frame.positions[0, :atoms].ravel()
    shifts = width * np.eye(3 * atoms)
    moved = np.concatenate([start + shifts, start - shifts]).reshape(-1, atoms, 3)
    asked = Dataset(frame.numbers[0, :atoms], moved, cell=frame.cell[0], pbc=frame.pbc[0])
    found = np.asarray(forces(asked), dtype=np.float64).reshape(2, 3 * atoms, 3 * atoms)
    if not np.isfinite(found).all():
        raise DataError("forces around the structure are missing, NaN or infinite; check it first")
    slope = -(found[0] - found[1]) / (2 * width)
    return 0.5 * (slope + slope.T)


def _masses(frame: Dataset) -> FloatArray:
    from ase.data import atomic_masses

    return np.asarray(atomic_masses[frame.numbers[0][frame.mask[0]]], dtype=np.float64)
