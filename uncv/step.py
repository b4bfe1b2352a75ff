"""One evaluation a step: energy, u and ∇(E + V(u)) from one forward and one backward.

An engine asks in two halves: `FusedStep.forward` gives energy and u; then, when the bias (or
PLUMED) has said how V changes with u, `FusedStep.forces` takes the one vector-Jacobian product
with both cotangents at once. Walkers of one molecule are the frames of one batch. How gradients
come about is a matter of `uncv.step_pass`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from uncv.cv import Prepared, UncertaintyCV, check_connected, check_gradient
from uncv.data import Batch
from uncv.step_pass import Pass, StepGradient, Weighted, evaluate

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
        self._reference = cv.potential.reference_energies(self._numbers)
        self._listed: Batch | None = None
        self._prepared: Prepared | None = None
        self._checked = False
        self._pass: Pass | None = None

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
        """
        if cell is None:
            positions = positions - positions.mean(axis=1, keepdims=True)
        batch = self._batch(positions, cell)
        prepared = self._neighbours(batch)
        self._pass = evaluate(self.cv, batch, prepared, uncertainty=uncertainty, stress=stress)
        out = self._pass.output
        return StepValues(
            (out.energy.detach() + self._reference).numpy(),
            out.uncertainty.detach().numpy(),
            None if out.atomic is None else out.atomic.detach().numpy(),
        )

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
        out = last.output
        biased = np.any(slope) or (atomic is not None and np.any(atomic))
        if not self._checked and biased:
            self.gradients_apart()
        heads = [Weighted(out.energy, torch.from_numpy(weight))]
        if np.any(slope):
            heads.append(Weighted(out.uncertainty, torch.from_numpy(slope)))
        if atomic is not None and out.atomic is not None:
            heads.append(Weighted(out.atomic, torch.from_numpy(atomic)))
        (found,) = last.gradients([heads])
        stress = None if found.stress is None else found.stress.numpy()
        return StepForces(-found.positions.numpy(), stress)

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
        out = last.output
        check_connected(out.uncertainty)
        one = torch.ones(len(out.energy), dtype=torch.float64)
        of_u, of_energy = last.gradients(
            [[Weighted(h, one)] for h in (out.uncertainty, out.energy)]
        )
        if not self._checked:
            check_gradient(of_u.positions, of_energy.positions)
            self._checked = True
        return of_u, of_energy

    def listed_at(self) -> FloatArray | None:
        """Return the positions at which the neighbour lists were made, for a checkpoint."""
        return None if self._listed is None else self._listed.positions.numpy().copy()

    def listed_cell(self) -> FloatArray:
        """Return the cell (3, 3) in Å at which the neighbour lists were made; zero without one."""
        return np.zeros((3, 3)) if self._listed is None else self._listed.cell[0].numpy().copy()

    def list_at(self, positions: FloatArray, cell: FloatArray | None = None) -> None:
        """Make the neighbour lists at these positions, as when a checkpoint was written."""
        self._list(self._batch(np.array(positions, dtype=np.float64), cell))

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

    def _neighbours(self, batch: Batch) -> Prepared:
        if self._prepared is None or self._listed is None or not self._reach(batch, self._listed):
            return self._list(batch)
        return self._prepared

    def _reach(self, batch: Batch, listed: Batch) -> bool:
        """Return whether every pair within the cutoff was within cutoff and skin when listed.

        A pair of then r is now r F + δ, where F maps the cell of then to the cell of now and δ is
        at most twice the largest move beside that. So r is at most (cutoff + δ) ‖F⁻¹‖.
        """
        positions, expected, stretch = batch.positions.numpy(), listed.positions.numpy(), 1.0
        cells = batch.cell[0].numpy(), listed.cell[0].numpy()
        if self._directions.any() and not np.array_equal(*cells):
            now, then = (np.where(self._directions[:, None], cell, np.eye(3)) for cell in cells)
            mapped = np.linalg.solve(then, now)
            expected = expected @ mapped
            stretch = max(1.0, 1.0 / float(np.linalg.svd(mapped, compute_uv=False)[-1]))
        moves = positions - expected
        moved = float(np.einsum("wax,wax->wa", moves, moves).max()) ** 0.5
        cutoff = self.cv.potential.cutoff
        return (cutoff + 2.0 * moved) * stretch < cutoff + self.skin

    def _list(self, batch: Batch) -> Prepared:
        self._listed = batch._replace(positions=batch.positions.clone(), cell=batch.cell.clone())
        self._prepared = self.cv.prepare(self._listed, self.skin)
        return self._prepared
