"""One evaluation a step: energy, u and ∇(E + V(u)) from one forward and one backward.

An engine asks in two halves: `FusedStep.forward` gives energy and u; then, when the bias (or
PLUMED) has said how V changes with u, `FusedStep.forces` takes the one vector-Jacobian product
with both cotangents at once. Walkers of one molecule are the frames of one batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from uncv.cv import CVOutput, Prepared, UncertaintyCV, check_gradient, gradient_of_uncertainty
from uncv.data import Batch

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
    periodic : bool
        Whether positions come with a cell, periodic in all directions.
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
        periodic: bool = False,
        skin: float = SKIN,
    ) -> None:
        self.cv = cv
        self.skin = skin
        one = torch.as_tensor(np.asarray(numbers, dtype=np.int64))
        self._numbers = one.expand(walkers, -1).contiguous()
        self._pbc = torch.full((walkers, 3), periodic)
        self._reference = cv.potential.reference_energies(self._numbers)
        self._listed: Batch | None = None
        self._prepared: Any = None
        self._checked = False
        self._output: CVOutput | None = None
        self._leaf: Tensor | None = None

    def forward(
        self, positions: FloatArray, cell: FloatArray | None = None, *, uncertainty: bool = True
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
        """
        if cell is None:
            positions = positions - positions.mean(axis=1, keepdims=True)
        leaf = torch.from_numpy(np.ascontiguousarray(positions)).requires_grad_()
        box = (
            torch.zeros(3, 3, dtype=torch.float64)
            if cell is None
            else torch.from_numpy(np.ascontiguousarray(cell, dtype=np.float64))
        )
        batch = Batch(self._numbers, leaf, box.expand(len(leaf), 3, 3), self._pbc)
        prepared = self._neighbours(batch)
        out = self.cv(batch, prepared) if uncertainty else self._energy(batch, prepared)
        self._output, self._leaf = out, leaf
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
        out, leaf = self._last()
        biased = np.any(slope) or (atomic is not None and np.any(atomic))
        if not self._checked and biased:
            check_gradient(*self.gradients())
            self._checked = True
        heads, cotangents = [out.energy], [torch.from_numpy(weight)]
        if np.any(slope):
            heads.append(out.uncertainty)
            cotangents.append(torch.from_numpy(slope))
        if atomic is not None and out.atomic is not None:
            heads.append(out.atomic)
            cotangents.append(torch.from_numpy(atomic))
        (gradient,) = torch.autograd.grad(heads, leaf, cotangents, retain_graph=True)
        return -gradient.numpy()

    def gradients(self) -> tuple[Tensor, Tensor]:
        """Return ∇u and ∇E (W, A, 3) apart, for biases that rescale one of them."""
        out, leaf = self._last()
        (of_energy,) = torch.autograd.grad(out.energy.sum(), leaf, retain_graph=True)
        (of_u,) = gradient_of_uncertainty(out.uncertainty, (leaf,))
        return of_u, of_energy

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

    def _last(self) -> tuple[CVOutput, Tensor]:
        if self._output is None or self._leaf is None:
            raise RuntimeError("forces were asked for before energies; call forward first")
        return self._output, self._leaf

    def _neighbours(self, batch: Batch) -> Any:
        listed = self._listed
        if listed is not None:
            moved = (batch.positions.detach() - listed.positions).square().sum(dim=2).max()
            same_cell = not bool(self._pbc[0, 0]) or torch.equal(batch.cell, listed.cell)
            if same_cell and float(moved) < (0.5 * self.skin) ** 2:
                return self._prepared
        self._list(batch)
        return self._prepared

    def _list(self, batch: Batch) -> None:
        self._listed = batch._replace(positions=batch.positions.detach().clone())
        self._prepared = self.cv.prepare(self._listed, self.skin)
