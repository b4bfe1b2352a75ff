"""One evaluation a step: energy, u and ∇(E + V(u)) from one forward and one backward.

An engine asks in two halves: `FusedStep.forward` gives energy and u; then, when the bias (or
PLUMED) has said how V changes with u, `FusedStep.forces` takes the one vector-Jacobian product
with both cotangents at once. Walkers of one molecule are the frames of one batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from uncv.cv import CVOutput, Prepared, UncertaintyCV, check_gradient, gradient_of_uncertainty
from uncv.data import Batch
from uncv.models.derivatives import Strained, differentiable, stress_of

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
    """How one value of each walker, E or u, changes.

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
        self._pbc = torch.tensor(directions).expand(walkers, 3)
        self._reference = cv.potential.reference_energies(self._numbers)
        self._listed: Batch | None = None
        self._prepared: Any = None
        self._checked = False
        self._output: CVOutput | None = None
        self._strained: Strained | None = None

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
        box = np.zeros((3, 3)) if cell is None else np.ascontiguousarray(cell, dtype=np.float64)
        boxes = torch.from_numpy(box).expand(len(positions), 3, 3)
        leaf = torch.from_numpy(np.ascontiguousarray(positions))
        strained = differentiable(Batch(self._numbers, leaf, boxes, self._pbc), strain=stress)
        prepared = self._neighbours(strained.batch)
        out = (self.cv if uncertainty else self._energy)(strained.batch, prepared)
        self._output, self._strained = out, strained
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
        out, strained = self._last()
        biased = np.any(slope) or (atomic is not None and np.any(atomic))
        if not self._checked and biased:
            self.gradients_apart()
        heads, cotangents = [out.energy], [torch.from_numpy(weight)]
        if np.any(slope):
            heads.append(out.uncertainty)
            cotangents.append(torch.from_numpy(slope))
        if atomic is not None and out.atomic is not None:
            heads.append(out.atomic)
            cotangents.append(torch.from_numpy(atomic))
        found = _gradient(
            torch.autograd.grad(heads, strained.leaves, cotangents, retain_graph=True), strained
        )
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
        out, strained = self._last()
        of_energy = torch.autograd.grad(out.energy.sum(), strained.leaves, retain_graph=True)
        of_u = gradient_of_uncertainty(out.uncertainty, strained.leaves)
        if not self._checked:
            check_gradient(of_u[0], of_energy[0])
            self._checked = True
        return _gradient(of_u, strained), _gradient(of_energy, strained)

    def listed_at(self) -> FloatArray | None:
        """Return the positions at which the neighbour lists were made, for a checkpoint."""
        return None if self._listed is None else self._listed.positions.numpy().copy()

    def listed_cell(self) -> FloatArray:
        """Return the cell (3, 3) in Å at which the neighbour lists were made; zero without one."""
        return np.zeros((3, 3)) if self._listed is None else self._listed.cell[0].numpy().copy()

    def list_at(self, positions: FloatArray, cell: FloatArray | None = None) -> None:
        """Make the neighbour lists at these positions, as when a checkpoint was written."""
        box = np.zeros((3, 3)) if cell is None else cell
        leaf = torch.from_numpy(np.array(positions, dtype=np.float64))
        cells = torch.from_numpy(np.array(box, dtype=np.float64)).expand(len(leaf), 3, 3)
        self._list(Batch(self._numbers, leaf, cells, self._pbc))

    def _energy(self, batch: Batch, prepared: Prepared) -> CVOutput:
        energy = self.cv.potential(batch, prepared.potential).energies.mean(dim=0)
        return CVOutput(energy, torch.full_like(energy.detach(), torch.nan), None)

    def _last(self) -> tuple[CVOutput, Strained]:
        if self._output is None or self._strained is None:
            raise RuntimeError("forces were asked for before energies; call forward first")
        return self._output, self._strained

    def _neighbours(self, batch: Batch) -> Any:
        if self._listed is None or not self._reach(batch, self._listed):
            self._list(batch)
        return self._prepared

    def _reach(self, batch: Batch, listed: Batch) -> bool:
        """Return whether every pair within the cutoff was within cutoff and skin when listed.

        A pair of then r is now r F + δ, where F maps the cell of then to the cell of now and δ is
        at most twice the largest move beside that. So r is at most (cutoff + δ) ‖F⁻¹‖.
        """
        positions, expected, stretch = batch.positions.detach(), listed.positions, 1.0
        if bool(self._pbc[0].any()) and not torch.equal(batch.cell, listed.cell):
            eye = torch.eye(3, dtype=batch.cell.dtype)
            now, then = (
                torch.where(self._pbc[0, :, None], b.cell[0].detach(), eye) for b in (batch, listed)
            )
            mapped = torch.linalg.solve(then, now)
            expected = expected @ mapped
            stretch = max(1.0, 1.0 / float(torch.linalg.svdvals(mapped)[-1]))
        moved = float((positions - expected).square().sum(dim=2).max()) ** 0.5
        cutoff = self.cv.potential.cutoff
        return (cutoff + 2.0 * moved) * stretch < cutoff + self.skin

    def _list(self, batch: Batch) -> None:
        self._listed = batch._replace(
            positions=batch.positions.detach().clone(), cell=batch.cell.detach()
        )
        self._prepared = self.cv.prepare(self._listed, self.skin)


def _gradient(found: tuple[Tensor, ...], strained: Strained) -> StepGradient:
    if strained.strain is None:
        return StepGradient(found[0], None)
    return StepGradient(found[0], stress_of(found[1], strained.batch.cell.detach()))
