"""The limits applied to walkers, every step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.errors import ConfigError
from uncv.stopping.crystal import CrystalGeometry
from uncv.stopping.molecule import MoleculeGeometry

if TYPE_CHECKING:
    from uncv.stopping.rules import StopRules


class StopChecker:
    """Checks all walkers at once, every step; made by `StopRules.prepare`."""

    def __init__(
        self, rules: StopRules, geometry: MoleculeGeometry | CrystalGeometry, unit: str
    ) -> None:
        self.rules = rules
        self._geometry = geometry
        self._unit = f" {unit}" if unit else ""
        self._force2 = np.inf if rules.max_force is None else rules.max_force**2

    @property
    def bonds(self) -> NDArray[np.int64]:
        """Bonded pairs of atoms (B, 2) of the start structure, the smaller index first.

        In a crystal a pair is there once for each of its images that is bonded, and an atom may
        be bonded to an image of itself.
        """
        return self._geometry.bonds

    def check(
        self,
        positions: ArrayLike,
        energies: ArrayLike,
        uncertainty: ArrayLike,
        atomic_uncertainty: ArrayLike | None,
        forces: ArrayLike,
        *,
        cell: ArrayLike | None = None,
    ) -> list[str]:
        """Return for each walker why it must stop, '' where it may go on.

        Parameters
        ----------
        positions : array_like
            Positions (W, A, 3) in Å; those of molecules near the origin (each walker centred).
        energies : array_like
            Energies (W,) in eV.
        uncertainty : array_like
            Uncertainties (W,), in the unit of their kind.
        atomic_uncertainty : array_like or None
            Atomic uncertainties (W, A), where the estimator has them.
        forces : array_like
            Forces (W, A, 3) in eV/Å.
        cell : array_like, optional
            The present cell of a crystal, of all walkers (3, 3) or of each (W, 3, 3), in Å; by
            default that of the start structure. A checker of molecules does not look at it.

        Raises
        ------
        ConfigError
            If a limit on atomic uncertainties is set but there are none.
        """
        positions, energies = np.asarray(positions), np.asarray(energies)
        uncertainty, forces = np.asarray(uncertainty), np.asarray(forces)
        cells = None if cell is None else np.asarray(cell, dtype=np.float64)
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
        if self._geometry.limited:
            good &= self._geometry.within(positions, cells)
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
                cells if cells is None or cells.ndim == 2 else cells[w],
            )
            for w, ok in enumerate(good)
        ]

    def _reason(
        self,
        positions: NDArray[np.float64],
        energy: float,
        uncertainty: float,
        atomic: NDArray[np.float64] | None,
        forces: NDArray[np.float64],
        cell: NDArray[np.float64] | None,
    ) -> str:
        rules, unit = self.rules, self._unit
        if not (np.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(uncertainty)):
            return "energy, force or uncertainty is not finite"
        geometry = self._geometry_reason(positions, cell)
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

    def _geometry_reason(
        self, positions: NDArray[np.float64], cell: NDArray[np.float64] | None
    ) -> str:
        if not self._geometry.limited:
            return ""
        if not np.isfinite(positions).all():
            return "a position is not finite"
        return self._geometry.reason(positions, cell)
