"""Collective variables of frames: torsions, angles, distances, the volume, and stored columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from uncv.analysis.dihedrals import as_trajectory, check_atoms, dihedrals
from uncv.analysis.space import Axis
from uncv.data import Dataset
from uncv.errors import DataError
from uncv.units import ANGSTROM_IN_NM

if TYPE_CHECKING:
    import mdtraj

FloatArray = NDArray[np.float64]
Limits = tuple[float, float]


class Variable(Protocol):
    """What a variable is: a name, its axis, and its value of each frame."""

    @property
    def name(self) -> str:
        """As it is reported."""

    @property
    def limits(self) -> Limits | None:
        """The range of its axis; None to take it from the values."""

    def axis(self, limits: Limits) -> Axis:
        """Return the axis of a range."""

    def values(self, data: Dataset | mdtraj.Trajectory) -> FloatArray:
        """Return the value of each frame (F,), in the unit of the axis."""


@dataclass(frozen=True)
class Torsion:
    """A torsion of four atoms, counted from 0: radians, [−π, π).

    Parameters
    ----------
    atoms : tuple of int
        The four.
    name : str
        As it is reported; the atoms by default.
    """

    atoms: tuple[int, ...]
    name: str = ""

    def __post_init__(self) -> None:
        _named(self, "torsion", 4)

    @property
    def limits(self) -> Limits:
        """The full circle."""
        return (-np.pi, np.pi)

    def axis(self, limits: Limits) -> Axis:
        """Return the circle."""
        return Axis(self.name, *limits)

    def values(self, data: Dataset | mdtraj.Trajectory) -> FloatArray:
        """Return the torsion of each frame (F,)."""
        return dihedrals(data, self.atoms, periodic=True)[:, 0]


@dataclass(frozen=True)
class Angle:
    """The angle of three atoms, counted from 0, at the second: radians, 0 to π."""

    atoms: tuple[int, ...]
    name: str = ""
    limits: Limits | None = (0.0, np.pi)

    def __post_init__(self) -> None:
        _named(self, "angle", 3)

    def axis(self, limits: Limits) -> Axis:
        """Return the axis."""
        return Axis(self.name, *limits, periodic=False)

    def values(self, data: Dataset | mdtraj.Trajectory) -> FloatArray:
        """Return the angle of each frame (F,)."""
        import mdtraj

        check_atoms(data, self.atoms)
        if len(data) == 0:
            return np.zeros(0)
        found = mdtraj.compute_angles(as_trajectory(data, self.atoms[0]), [self.atoms])
        return np.asarray(found[:, 0], dtype=np.float64)


@dataclass(frozen=True)
class Distance:
    """The distance of two atoms, counted from 0, in Å; of the nearest images in a periodic cell."""

    atoms: tuple[int, ...]
    name: str = ""
    limits: Limits | None = None

    def __post_init__(self) -> None:
        _named(self, "distance", 2)

    def axis(self, limits: Limits) -> Axis:
        """Return the axis."""
        return Axis(self.name, *limits, periodic=False, unit="Å")

    def values(self, data: Dataset | mdtraj.Trajectory) -> FloatArray:
        """Return the distance in each frame (F,)."""
        import mdtraj

        check_atoms(data, self.atoms)
        if len(data) == 0:
            return np.zeros(0)
        found = mdtraj.compute_distances(as_trajectory(data, self.atoms[0]), [self.atoms])
        return np.asarray(found[:, 0], dtype=np.float64) / ANGSTROM_IN_NM


@dataclass(frozen=True)
class Volume:
    """The volume of the cell, Å^3."""

    name: str = "volume"
    limits: Limits | None = None

    def axis(self, limits: Limits) -> Axis:
        """Return the axis."""
        return Axis(self.name, *limits, periodic=False, unit="Å^3")

    def values(self, data: Dataset | mdtraj.Trajectory) -> FloatArray:
        """Return the volume of each frame (F,)."""
        if isinstance(data, Dataset):
            cell = data.cell
        elif data.unitcell_vectors is None:
            raise DataError("the trajectory has no cell, and so no volume")
        else:
            cell = np.asarray(data.unitcell_vectors, dtype=np.float64) / ANGSTROM_IN_NM
        volume = np.abs(np.linalg.det(cell))
        if not volume.all():
            raise DataError("the frames have no cell, and so no volume")
        return np.asarray(volume)


@dataclass(frozen=True)
class Column:
    """A number stored with each frame, such as ``uncertainty``, in whatever unit it has."""

    column: str
    name: str = ""
    limits: Limits | None = None
    unit: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.column)

    def axis(self, limits: Limits) -> Axis:
        """Return the axis."""
        return Axis(self.name, *limits, periodic=False, unit=self.unit)

    def values(self, data: Dataset | mdtraj.Trajectory) -> FloatArray:
        """Return the number of each frame (F,)."""
        if not isinstance(data, Dataset):
            raise DataError(
                f"a trajectory of MDTraj has no column '{self.column}'; give frames of uncv or a "
                "COLVAR file"
            )
        if self.column not in data.info:
            known = ", ".join(sorted(data.info)) or "none"
            raise DataError(f"the frames have no column '{self.column}', only {known}")
        values = data.info[self.column]
        if values.ndim != 1 or values.dtype.kind not in "iuf":
            raise DataError(f"column '{self.column}' of the frames is not one number a frame")
        found = np.asarray(values, dtype=np.float64)
        bad = ~np.isfinite(found)
        if bad.any():
            raise DataError(
                f"column '{self.column}' of the frames is NaN or infinite in {int(bad.sum())} of "
                f"{len(found)}; leave these frames out"
            )
        return found


def limited(variable: Variable, limits: Limits) -> Variable:
    """Return the variable with other limits.

    Raises
    ------
    DataError
        If it is a torsion, whose limits are the circle.
    """
    if isinstance(variable, Torsion):
        raise DataError(f"{variable.name} is a torsion: its limits are the circle; leave them out")
    return replace(variable, limits=limits)  # type: ignore[type-var]


def _named(variable: Torsion | Angle | Distance, kind: str, number: int) -> None:
    atoms = tuple(int(atom) for atom in variable.atoms)
    if len(atoms) != number or len(set(atoms)) != number:
        raise DataError(
            f"{kind} {','.join(map(str, variable.atoms))} is no {kind}: expected {number} "
            "different atoms, counted from 0"
        )
    object.__setattr__(variable, "atoms", atoms)
    name = variable.name or f"{kind} {','.join(map(str, atoms))}"
    object.__setattr__(variable, "name", name)
