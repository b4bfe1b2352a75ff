"""The limits of a walker, as they are given."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike

from uncv.errors import ConfigError
from uncv.stopping.checker import StopChecker
from uncv.stopping.crystal import CrystalGeometry
from uncv.stopping.molecule import DistanceFactors, MoleculeGeometry
from uncv.units import Kind, unit_name


@dataclass(frozen=True)
class StopRules:
    """Limits past which a walker is stopped; an energy or force that is not finite always stops.

    Parameters
    ----------
    max_uncertainty : float, optional
        Largest uncertainty of a frame, in the unit of its kind (eV, eV/Å or none).
    max_atomic_uncertainty : float, optional
        Largest uncertainty of an atom, in the same unit.
    min_distance_factor : float, optional
        Shortest distance of two atoms, as a fraction of the sum of their covalent radii.
    min_contact_factor : float, optional
        The same for atoms that are not bonded in the start structure, whose repulsion begins
        further out; about 1.3 is where classical force fields pass 30 eV/Å.
    max_bond_factor : float, optional
        Longest bond, as a multiple of its length in the start structure.
    max_force : float, optional
        Largest force on an atom in eV/Å.
    kind : {'energy', 'force', 'dimensionless'}, optional
        Kind of uncertainty the two thresholds are meant for; another kind is then an error.

    Raises
    ------
    ConfigError
        If a limit is not positive.

    Examples
    --------
    >>> rules = StopRules(min_distance_factor=0.6)
    >>> checker = rules.prepare([1, 1], [[0.0, 0.0, 0.0], [0.0, 0.0, 0.74]])
    >>> close = [[[0.0, 0.0, 0.0], [0.0, 0.0, 0.2]]]
    >>> checker.check(close, [0.0], [0.0], None, [[[0.0] * 3] * 2])
    ['atoms 0 and 1 are 0.200 Å apart, the limit is 0.372 Å']
    """

    max_uncertainty: float | None = None
    max_atomic_uncertainty: float | None = None
    min_distance_factor: float | None = None
    min_contact_factor: float | None = None
    max_bond_factor: float | None = None
    max_force: float | None = None
    kind: Kind | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "kind" and value is not None and not value > 0:
                raise ConfigError(f"{field.name} is {value}; give a positive number or None")

    def prepare(
        self,
        numbers: ArrayLike,
        positions: ArrayLike,
        kind: Kind | None = None,
        *,
        cell: ArrayLike | None = None,
        pbc: ArrayLike | None = None,
    ) -> StopChecker:
        """Return a checker for walkers of one molecule or crystal.

        Parameters
        ----------
        numbers : array_like
            Atomic numbers (A,).
        positions : array_like
            Start structure (A, 3) in Å, which defines the bonds.
        kind : {'energy', 'force', 'dimensionless'}, optional
            Kind of the uncertainty that will be checked.
        cell : array_like, optional
            Cell vectors of the start structure as rows (3, 3) in Å, of any size; distances are
            then those to the nearest images. Without, they know no cell.
        pbc : array_like, optional
            Periodic directions (3,); by default the directions whose cell vector is not zero.

        Raises
        ------
        ConfigError
            If the thresholds are meant for another kind, or the structure is periodic along a
            cell vector that it lacks.
        """
        if self.kind is not None and kind is not None and kind != self.kind:
            raise ConfigError(
                f"the stop thresholds are for an uncertainty of kind {self.kind!r} but this one "
                f"is of kind {kind!r}; give thresholds of its kind"
            )
        unit = unit_name(kind or self.kind or "dimensionless")
        start = np.asarray(positions, dtype=np.float64)
        elements = np.asarray(numbers, dtype=np.int64)
        box = np.zeros((3, 3)) if cell is None else np.array(cell, dtype=np.float64)
        periodic = np.abs(box).sum(axis=1) > 0 if pbc is None else np.array(pbc, dtype=bool)
        if not periodic.any():
            return StopChecker(self, MoleculeGeometry(self._factors(), elements, start), unit)
        if abs(np.linalg.det(np.where(periodic[:, None], box, np.eye(3)))) < 1e-6:
            raise ConfigError(
                f"the start structure is periodic (pbc={periodic.tolist()}) but its cell has no "
                "volume; give its cell, or pbc=[False] * 3"
            )
        geometry = CrystalGeometry(self._factors(), elements, start, box, periodic)
        return StopChecker(self, geometry, unit)

    def _factors(self) -> DistanceFactors:
        nearest = self.min_distance_factor or 0.0
        return DistanceFactors(
            nearest,
            max(nearest, self.min_contact_factor or 0.0),
            np.inf if self.max_bond_factor is None else self.max_bond_factor,
        )
