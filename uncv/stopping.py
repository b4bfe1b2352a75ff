"""When a walker has left the region where its potential can be trusted."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.errors import ConfigError
from uncv.units import Kind, unit_name

BOND_FACTOR = 1.2
"""Two atoms of the start structure closer than this times the sum of covalent radii are bonded."""


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
        self, numbers: ArrayLike, positions: ArrayLike, kind: Kind | None = None
    ) -> StopChecker:
        """Return a checker for walkers of one molecule.

        Parameters
        ----------
        numbers : array_like
            Atomic numbers (A,).
        positions : array_like
            Start structure (A, 3) in Å, which defines the bonds; distances know no cell.
        kind : {'energy', 'force', 'dimensionless'}, optional
            Kind of the uncertainty that will be checked.

        Raises
        ------
        ConfigError
            If the thresholds are meant for another kind.
        """
        if self.kind is not None and kind is not None and kind != self.kind:
            raise ConfigError(
                f"the stop thresholds are for an uncertainty of kind {self.kind!r} but this one "
                f"is of kind {kind!r}; give thresholds of its kind"
            )
        unit = unit_name(kind or self.kind or "dimensionless")
        start = np.asarray(positions, dtype=np.float64)
        return StopChecker(self, _limits(self, np.asarray(numbers), start), unit)


class _Limits(NamedTuple):
    """Squared distances (A, A) in Å^2 between which each pair must stay."""

    shortest2: NDArray[np.float64]
    longest2: NDArray[np.float64]
    bonded: NDArray[np.bool_]


def _limits(
    rules: StopRules, numbers: NDArray[np.int64], positions: NDArray[np.float64]
) -> _Limits:
    from ase.data import covalent_radii

    radii = covalent_radii[numbers]
    contact = radii[:, None] + radii[None, :]
    length = np.linalg.norm(positions[:, None] - positions[None, :], axis=2)
    bonded = (length < BOND_FACTOR * contact) & ~np.eye(len(numbers), dtype=bool)
    nearest = rules.min_distance_factor or 0.0
    apart = max(nearest, rules.min_contact_factor or 0.0)
    shortest = np.where(bonded, nearest, apart) * contact
    np.fill_diagonal(shortest, 0.0)
    stretch = np.inf if rules.max_bond_factor is None else rules.max_bond_factor
    longest = np.where(bonded, stretch * np.where(bonded, length, 1.0), np.inf)
    # The square of a distance is a difference of larger numbers and may round below zero.
    shortest2 = np.where(shortest > 0, shortest**2, -1.0)
    return _Limits(shortest2, longest**2, bonded)


class StopChecker:
    """Checks all walkers at once, every step; made by `StopRules.prepare`."""

    def __init__(self, rules: StopRules, limits: _Limits, unit: str) -> None:
        self.rules = rules
        self._limits = limits
        self._unit = f" {unit}" if unit else ""
        self._geometry = any((limits.shortest2 > 0).flat) or bool(
            np.isfinite(limits.longest2).any()
        )
        self._force2 = np.inf if rules.max_force is None else rules.max_force**2

    @property
    def bonds(self) -> NDArray[np.int64]:
        """Bonded pairs of atoms (B, 2) of the start structure, the smaller index first."""
        return np.argwhere(np.triu(self._limits.bonded))

    def check(
        self,
        positions: ArrayLike,
        energies: ArrayLike,
        uncertainty: ArrayLike,
        atomic_uncertainty: ArrayLike | None,
        forces: ArrayLike,
    ) -> list[str]:
        """Return for each walker why it must stop, '' where it may go on.

        Parameters
        ----------
        positions : array_like
            Positions (W, A, 3) in Å, near the origin (each walker centred).
        energies : array_like
            Energies (W,) in eV.
        uncertainty : array_like
            Uncertainties (W,), in the unit of their kind.
        atomic_uncertainty : array_like or None
            Atomic uncertainties (W, A), where the estimator has them.
        forces : array_like
            Forces (W, A, 3) in eV/Å.

        Raises
        ------
        ConfigError
            If a limit on atomic uncertainties is set but there are none.
        """
        positions, energies = np.asarray(positions), np.asarray(energies)
        uncertainty, forces = np.asarray(uncertainty), np.asarray(forces)
        force2 = np.einsum("waj,waj->wa", forces, forces).max(axis=1)
        # A comparison with NaN is False, so what is not finite fails its test here.
        good = (force2 < self._force2) & (np.abs(energies) + np.abs(uncertainty) < np.inf)
        limit = self.rules.max_uncertainty
        good &= uncertainty <= (np.inf if limit is None else limit)
        if self.rules.max_atomic_uncertainty is not None:
            if atomic_uncertainty is None:
                raise ConfigError(
                    "max_atomic_uncertainty is set but this uncertainty has no atomic values; "
                    "use max_uncertainty"
                )
            atomic = np.asarray(atomic_uncertainty)
            good &= atomic.max(axis=1) <= self.rules.max_atomic_uncertainty
        if self._geometry:
            good &= self._within(positions)
        if good.all():
            return [""] * len(good)
        return [
            ""
            if ok
            else self._reason(
                positions[w],
                energies[w],
                uncertainty[w],
                None if atomic_uncertainty is None else np.asarray(atomic_uncertainty)[w],
                forces[w],
            )
            for w, ok in enumerate(good)
        ]

    def _within(self, positions: NDArray[np.float64]) -> NDArray[np.bool_]:
        distance2 = _pair_distance2(positions)
        inside = (distance2 >= self._limits.shortest2) & (distance2 <= self._limits.longest2)
        return np.logical_and.reduce(inside.reshape(len(positions), -1), axis=1)

    def _reason(
        self,
        positions: NDArray[np.float64],
        energy: float,
        uncertainty: float,
        atomic: NDArray[np.float64] | None,
        forces: NDArray[np.float64],
    ) -> str:
        rules, unit = self.rules, self._unit
        if not (np.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(uncertainty)):
            return "energy, force or uncertainty is not finite"
        geometry = self._geometry_reason(positions)
        if geometry:
            return geometry
        force = float(np.sqrt((forces**2).sum(axis=1).max()))
        if rules.max_force is not None and force >= rules.max_force:
            return f"force {force:.3g} eV/Å, the limit is {rules.max_force:g} eV/Å"
        if rules.max_uncertainty is not None and uncertainty > rules.max_uncertainty:
            return f"uncertainty {uncertainty:.3g}{unit}, the limit is {rules.max_uncertainty:g}"
        if atomic is None:
            return "a limit is passed"
        atom = int(np.argmax(atomic))
        return (
            f"uncertainty {atomic[atom]:.3g}{unit} of atom {atom}, "
            f"the limit is {rules.max_atomic_uncertainty:g}"
        )

    def _geometry_reason(self, positions: NDArray[np.float64]) -> str:
        if not self._geometry:
            return ""
        if not np.isfinite(positions).all():
            return "a position is not finite"
        distance2, limits = _pair_distance2(positions[None])[0], self._limits
        short = np.argwhere(np.triu(distance2 < limits.shortest2))
        long = np.argwhere(np.triu(distance2 > limits.longest2))
        if not len(short) and not len(long):
            return ""
        broken, edge, text = short, limits.shortest2, "are"
        if not len(short):
            broken, edge, text = long, limits.longest2, "were bonded and are"
        i, j = broken[0]
        apart = np.sqrt(max(distance2[i, j], 0.0))
        limit = np.sqrt(edge[i, j])
        return f"atoms {i} and {j} {text} {apart:.3f} Å apart, the limit is {limit:.3f} Å"


def _pair_distance2(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    distance2 = positions @ positions.transpose(0, 2, 1)
    distance2 *= -2.0
    norm2 = np.einsum("waj,waj->wa", positions, positions)
    distance2 += norm2[:, :, None]
    distance2 += norm2[:, None, :]
    return distance2
