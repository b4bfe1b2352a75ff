"""One evaluation a step: energy, u and ∇(E + V(u)) from one forward and one backward.

An engine asks in two halves: `FusedStep.forward` gives energy and u; then, when the bias (or
PLUMED) has said how V changes with u, `FusedStep.forces` takes the one vector-Jacobian product
with both cotangents at once. Walkers of one molecule are the frames of one batch. How gradients
come about is a matter of `uncv.step_pass` and `uncv.step_spread`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from uncv.cv import Prepared, UncertaintyCV, check_gradient
from uncv.data import Batch
from uncv.errors import DataError
from uncv.step_pass import Asked, Gradient, Pass, Sum, evaluate
from uncv.step_spread import SpreadSteps

FloatArray = NDArray[np.float64]
SKIN = 0.6
"""Extra distance of the neighbour lists in Å; kept until an atom has moved by half of it."""


class StepValues(NamedTuple):
    """Values of the walkers at one step.

    Attributes
    ----------
    energy : numpy.ndarray
        Total energy of the member mean (W,), eV.
    uncertainty : numpy.ndarray
        (W,), by the kind of the collective variable.
    atomic : numpy.ndarray or None
        Uncertainty of each atom (W, A).
    """

    energy: FloatArray
    uncertainty: FloatArray
    atomic: FloatArray | None


class StepForces(NamedTuple):
    """What drives the walkers at one step.

    Attributes
    ----------
    forces : numpy.ndarray
        (W, A, 3), eV/Å.
    stress : numpy.ndarray or None
        (1/V) dE_total/dε (W, 3, 3), eV/Å^3, tension positive; where `FusedStep.forward` was asked.
    """

    forces: FloatArray
    stress: FloatArray | None


class StepGradient(NamedTuple):
    """How one value of each walker, such as E or u, changes.

    Attributes
    ----------
    positions : torch.Tensor
        By the positions (W, A, 3), per Å.
    stress : torch.Tensor or None
        By a strain of atoms and cell, over the volume (W, 3, 3), per Å^3; where
        `FusedStep.forward` was asked.
    """

    positions: Tensor
    stress: Tensor | None

    @classmethod
    def of(cls, found: Gradient) -> StepGradient:
        """Return the same as tensors."""
        stress = None if found.stress is None else torch.from_numpy(found.stress)
        return cls(torch.from_numpy(found.positions), stress)


class _Listed(NamedTuple):
    """Neighbour lists, and the positions (W, A, 3) and cell (3, 3) or None of their making."""

    positions: FloatArray
    cell: FloatArray | None
    prepared: Prepared


class FusedStep:
    """Evaluates W walkers of one molecule or crystal, step after step.

    Parameters
    ----------
    cv : UncertaintyCV
        The collective variable; its potential gives the energy.
    numbers : array_like
        Atomic numbers (A,).
    walkers : int
        W.
    periodic : bool or sequence of bool
        Whether positions come with a cell, periodic in all directions; or the directions.
    skin : float
        In Å.

    Raises
    ------
    ElementError
        If the potential does not know an element.
    """

    def __init__(
        self,
        cv: UncertaintyCV,
        numbers: ArrayLike,
        walkers: int = 1,
        *,
        periodic: bool | Sequence[bool] = False,
        skin: float = SKIN,
    ) -> None:
        self.cv = cv
        self.skin = skin
        one = torch.as_tensor(np.asarray(numbers, dtype=np.int64))
        self._numbers = one.expand(walkers, -1).contiguous()
        directions = [periodic] * 3 if isinstance(periodic, bool) else list(periodic)
        self._directions = np.array(directions)
        self._pbc = torch.tensor(directions).expand(walkers, 3)
        self._periodic, self._cutoff = any(directions), cv.potential.cutoff
        self._reference = cv.potential.reference_energies(self._numbers).numpy()
        self._spreads = SpreadSteps(cv)
        self._listed: _Listed | None = None
        self._checked = False
        self._pass: Pass | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Travel without the evaluation that came last: much of it is memory of the library."""
        return {**self.__dict__, "_pass": None}

    def forward(
        self,
        positions: FloatArray,
        cell: FloatArray | None = None,
        *,
        uncertainty: bool = True,
        stress: bool = False,
    ) -> StepValues:
        """Return energy and u, keeping the graph for `forces`.

        Parameters
        ----------
        positions : numpy.ndarray
            (W, A, 3) in Å, finite. Without a cell, each walker is moved to the origin first, so
            that drifting apart costs no precision.
        cell : numpy.ndarray, optional
            Cell vectors as rows (3, 3), Å.
        uncertainty : bool
            Without, u is not evaluated and is NaN.
        stress : bool
            Keep the graph for the stress too; periodic in all directions.

        Raises
        ------
        DataError
            If positions are not finite.
        """
        if cell is None:
            positions = positions - positions.sum(axis=1, keepdims=True) / positions.shape[1]
        prepared = self._neighbours(positions, cell)
        asked = Asked(uncertainty, stress)
        found: Pass | None = self._spreads.evaluate(positions, cell, prepared, asked)
        if found is None:
            found = evaluate(self.cv, self._batch(positions, cell), prepared, asked)
        self._pass = found
        energy, u, atomic = found.values
        return StepValues(energy + self._reference, u, atomic)

    def forces(
        self, slope: FloatArray, weight: FloatArray, atomic: FloatArray | None = None
    ) -> FloatArray:
        """Return −∇(weight·E + slope·u) of each walker (W, A, 3), eV/Å, in one backward pass.

        Parameters
        ----------
        slope : numpy.ndarray
            dV/du of each walker (W,).
        weight : numpy.ndarray
            dE_total/dE (W,): 1, or 0 for a walker that is parked.
        atomic : numpy.ndarray, optional
            dV/du of each atom (W, A), for a bias on atomic uncertainties.

        Raises
        ------
        GradientError
            At the first step with a bias, if u does not depend on the positions.
        """
        return self.derivatives(slope, weight, atomic).forces

    def derivatives(
        self, slope: FloatArray, weight: FloatArray, atomic: FloatArray | None = None
    ) -> StepForces:
        """Return the forces, and the stress if `forward` was asked for it, as `forces` does."""
        last = self._last()
        if last.values.atomic is None:
            atomic = None
        biased, driven = bool(slope.any()), atomic is not None and bool(atomic.any())
        if not self._checked and (biased or driven):
            self.gradients_apart()
        (found,) = last.gradients([Sum(weight, slope if biased else None, atomic)])
        return StepForces(-found.positions, found.stress)

    def gradients(self) -> tuple[Tensor, Tensor]:
        """Return ∇u and ∇E (W, A, 3) apart, for biases that rescale one of them."""
        of_u, of_energy = self.gradients_apart()
        return of_u.positions, of_energy.positions

    def gradients_apart(self) -> tuple[StepGradient, StepGradient]:
        """Return the gradients of u and E, with their stress if `forward` was asked for it.

        Raises
        ------
        GradientError
            At the first step, if u does not depend on the positions.
        """
        last = self._last()
        last.check_connected()
        one = np.ones(len(last.values.energy))
        found = last.gradients([Sum(None, one), Sum(one)])
        of_u, of_energy = (StepGradient.of(gradient) for gradient in found)
        if not self._checked:
            check_gradient(of_u.positions, of_energy.positions)
            self._checked = True
        return of_u, of_energy

    def listed_at(self) -> FloatArray | None:
        """Return the positions at which the neighbour lists were made, for a checkpoint."""
        return None if self._listed is None else self._listed.positions.copy()

    def listed_cell(self) -> FloatArray:
        """Return the cell (3, 3) in Å at which the neighbour lists were made; zero without one."""
        listed = self._listed
        return np.zeros((3, 3)) if listed is None or listed.cell is None else listed.cell.copy()

    def list_at(self, positions: FloatArray, cell: FloatArray | None = None) -> None:
        """Make the neighbour lists at these positions, as when a checkpoint was written."""
        self._list(positions, cell)

    def _batch(self, positions: FloatArray, cell: FloatArray | None) -> Batch:
        box = np.zeros((3, 3)) if cell is None else np.array(cell, dtype=np.float64)
        boxes = torch.from_numpy(box).expand(len(positions), 3, 3)
        return Batch(
            self._numbers, torch.from_numpy(np.ascontiguousarray(positions)), boxes, self._pbc
        )

    def _last(self) -> Pass:
        if self._pass is None:
            raise RuntimeError("forces were asked for before energies; call forward first")
        return self._pass

    def _neighbours(self, positions: FloatArray, cell: FloatArray | None) -> Prepared:
        listed = self._listed
        if listed is None or not self._reach(positions, cell, listed):
            return self._list(positions, cell)
        return listed.prepared

    def _reach(self, positions: FloatArray, cell: FloatArray | None, listed: _Listed) -> bool:
        """Return whether every pair within the cutoff was within cutoff and skin when listed.

        A pair of then r is now r F + δ, where F maps the cell of then to the cell of now and δ is
        at most twice the largest move beside that. So r is at most (cutoff + δ) ‖F⁻¹‖.
        """
        expected, stretch = listed.positions, 1.0
        if self._periodic and cell is not None:
            if listed.cell is None:
                return False
            if not np.array_equal(cell, listed.cell):
                directions = self._directions[:, None]
                now, then = (np.where(directions, box, np.eye(3)) for box in (cell, listed.cell))
                mapped = np.linalg.solve(then, now)
                expected = expected @ mapped
                stretch = max(1.0, 1.0 / float(np.linalg.svd(mapped, compute_uv=False)[-1]))
        moves = positions - expected
        moved = float(np.vecdot(moves, moves).max()) ** 0.5
        return (self._cutoff + 2.0 * moved) * stretch < self._cutoff + self.skin

    def _list(self, positions: FloatArray, cell: FloatArray | None) -> Prepared:
        here = np.array(positions, dtype=np.float64)
        finite = np.isfinite(here).all(axis=(1, 2))
        if not finite.all():
            which = ", ".join(map(str, np.flatnonzero(~finite)))
            raise DataError(
                f"positions of walkers {which} are not finite; stop these walkers, or put finite "
                "positions in their place"
            )
        box = None if cell is None else np.array(cell, dtype=np.float64)
        prepared = self.cv.prepare(self._batch(here, box), self.skin)
        self._listed = _Listed(here, box, prepared)
        return prepared
