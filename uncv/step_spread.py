"""The third way through a step: spreads of compiled members' energies, without autograd.

Energy and u of an ensemble follow from the table of its members' atomic energies by a few sums on
small arrays, and so do their slopes by that table, written out here. What is left is to combine the
members' gradients by these slopes and to bring the result to the atoms, which is compiled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from uncv.cv import Prepared, UncertaintyCV
from uncv.errors import GradientError
from uncv.models import AniPotential
from uncv.models.member_table import MemberTable
from uncv.step_pass import Asked, Gradient, Sum, Values, with_stress
from uncv.step_reduce import known, reduced
from uncv.step_scale import Scaled, has_a_say, scaled
from uncv.uncertainty import EnsembleUncertainty

FloatArray = NDArray[np.float64]


class Spread(NamedTuple):
    """u of the walkers and what its slopes are made of.

    Attributes
    ----------
    value : numpy.ndarray
        u (W,).
    scaled : Scaled
        Calibrated uncertainties, of walkers (W,) or of atoms (W, A).
    reduction : numpy.ndarray or None
        Slopes of u by the atoms' calibrated uncertainties (W, A); None without any.
    slopes : numpy.ndarray
        Of what is calibrated, by the members' energies (M, W) or (M, W, A).
    """

    value: FloatArray
    scaled: Scaled
    reduction: FloatArray | None
    slopes: FloatArray

    def by_members(self, of: Sum) -> FloatArray:
        """Return the slopes of weighted uncertainties by the members' energies (M, W, A or 1)."""
        if self.reduction is None:
            return (self.slopes * self.scaled.back(of.uncertainty))[:, :, None]
        weights: Any = 0.0 if of.atomic is None else of.atomic
        if of.uncertainty is not None:
            weights = weights + of.uncertainty[:, None] * self.reduction
        return self.slopes * self.scaled.back(weights)


class SpreadPass:
    """An evaluation whose slopes are written out down to the members' energies.

    It holds until the table is asked for others.

    Parameters
    ----------
    table : MemberTable
        What gave the energies.
    values : Values
        What the evaluation gave.
    spread : Spread or None
        How u follows from the energies; None if it was not evaluated.
    cell : numpy.ndarray or None
        (3, 3) in Å if a stress is wanted.
    """

    def __init__(
        self, table: MemberTable, values: Values, spread: Spread | None, cell: FloatArray | None
    ) -> None:
        self.values = values
        self._table, self._spread, self._cell = table, spread, cell

    def check_connected(self) -> None:
        """Refuse an uncertainty that was not evaluated, or that no gradient leads through."""
        self._evaluated().scaled.check()

    def gradients(self, sums: Sequence[Sum]) -> list[Gradient]:
        """Return the gradient of each sum, all by one product."""
        slopes = [self._by_members(weighted) for weighted in sums]
        found = self._table.pull_back(slopes, strain=self._cell is not None)
        if found.strain is None or self._cell is None:
            return [Gradient(one, None) for one in found.positions]
        return with_stress(found.positions, found.strain, self._cell)

    def _by_members(self, of: Sum) -> FloatArray:
        members = self._table.members
        shared = 0.0 if of.energy is None else (of.energy / members)[:, None]
        if of.uncertainty is None and of.atomic is None:
            return np.asarray(shared)
        return shared + self._evaluated().by_members(of)

    def _evaluated(self) -> Spread:
        if self._spread is None:
            raise GradientError(
                "the uncertainty is not connected to the positions: it was not evaluated; call "
                "forward with uncertainty=True"
            )
        return self._spread


class _Atoms(NamedTuple):
    """Atomic numbers (W, A), and 1 where there is an atom, 0 on padding."""

    numbers: Tensor
    mask: FloatArray


class SpreadSteps:
    """Evaluates walkers in this way, where nothing else has a say.

    Parameters
    ----------
    cv : UncertaintyCV
        What is evaluated.
    """

    def __init__(self, cv: UncertaintyCV) -> None:
        self._cv = cv
        self._table: MemberTable | None = None
        self._atoms: _Atoms | None = None

    def evaluate(
        self,
        positions: FloatArray,
        cell: FloatArray | None,
        prepared: Prepared,
        asked: Asked,
    ) -> SpreadPass | None:
        """Return the evaluation, or None where another way must be taken.

        Parameters
        ----------
        positions : numpy.ndarray
            (W, A, 3) in Å.
        cell : numpy.ndarray or None
            (3, 3) in Å.
        prepared : Prepared
            Neighbours and groups.
        asked : Asked
            What for.
        """
        potential = self._cv.potential
        written_out = self._written_out() if asked.uncertainty else True
        if not (written_out and isinstance(potential, AniPotential)):
            return None
        table = self._table = potential.table(prepared.potential, self._table)
        if table is None:
            return None
        atomic = table.energies(positions, cell)
        totals = atomic.sum(axis=2)
        energy = totals.sum(axis=0) / len(totals)
        box = cell if asked.stress else None
        if not asked.uncertainty:
            return SpreadPass(table, Values(energy, np.full_like(energy, np.nan), None), None, box)
        spread = self.spread(totals, atomic, prepared)
        of_atoms = None if spread.reduction is None else spread.scaled.values
        return SpreadPass(table, Values(energy, spread.value, of_atoms), spread, box)

    def _written_out(self) -> bool:
        cv = self._cv
        of = cv.uncertainty
        if type(of) is not EnsembleUncertainty or of.of == "forces":
            return False
        if has_a_say(of, EnsembleUncertainty):
            return False
        return not of.per_atom or known(cv.reduce)

    def spread(self, totals: FloatArray, atomic: FloatArray, prepared: Prepared) -> Spread:
        """Return u from the members' energies of walkers (M, W) and atoms (M, W, A), eV."""
        cv, numbers = self._cv, prepared.groups.numbers
        of: Any = cv.uncertainty
        if not of.per_atom:
            sigma, slopes = deviation(totals, of.delta)
            found = scaled(sigma, cv.calibrator, numbers)
            return Spread(found.values, found, None, slopes)
        if self._atoms is None or self._atoms.numbers is not numbers:
            self._atoms = _Atoms(numbers, prepared.groups.mask.numpy().astype(np.float64))
        mask = self._atoms.mask
        sigma, slopes = deviation(atomic, of.delta)
        found = scaled(sigma * mask, cv.calibrator, numbers)
        value, reduction = reduced(found.values, mask, cv.reduce)
        return Spread(value, found, reduction, slopes * mask)


def deviation(values: FloatArray, delta: float) -> tuple[FloatArray, FloatArray]:
    """Return sqrt(var + δ²) over the first axis, of M − 1 degrees of freedom, and its slopes."""
    members = len(values)
    apart = values - values.sum(axis=0) / members
    sigma = np.sqrt((apart * apart).sum(axis=0) / (members - 1) + delta**2)
    return sigma, apart / ((members - 1) * sigma)
