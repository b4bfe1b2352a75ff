"""Forces and stress of any potential by one vector-Jacobian product."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from uncv.data import Batch, Dataset
from uncv.protocols import Evaluation, Potential

CHUNK_ATOMS = 2000


class Strained(NamedTuple):
    """A batch whose positions and cells follow a strain: x (1 + ε), a (1 + ε).

    Attributes
    ----------
    batch : Batch
        Differentiable in ``positions`` and ``strain``.
    positions : torch.Tensor
        Leaf (F, A, 3).
    strain : torch.Tensor or None
        Leaf (F, 3, 3), zero; None if no strain was asked for.
    """

    batch: Batch
    positions: Tensor
    strain: Tensor | None

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        """What to differentiate by."""
        return (self.positions,) if self.strain is None else (self.positions, self.strain)


def differentiable(batch: Batch, *, strain: bool) -> Strained:
    """Return the batch with leaves for forces and, if asked, for the virial."""
    positions = batch.positions.detach().clone().requires_grad_()
    if not strain:
        return Strained(batch._replace(positions=positions), positions, None)
    epsilon = torch.zeros_like(batch.cell).requires_grad_()
    symmetric = 0.5 * (epsilon + epsilon.transpose(1, 2))
    moved = positions + torch.matmul(positions, symmetric)
    cell = batch.cell + torch.matmul(batch.cell, symmetric)
    return Strained(batch._replace(positions=moved, cell=cell), positions, epsilon)


def stress_of(virial: Tensor, cell: Tensor) -> Tensor:
    """Return (1/V) ∂E/∂ε (F, 3, 3), tension positive, from ∂E/∂ε."""
    return virial / torch.linalg.det(cell).abs()[:, None, None]


def chunks(data: Dataset) -> list[Dataset]:
    """Cut a dataset into parts of about CHUNK_ATOMS atoms."""
    size = max(1, CHUNK_ATOMS // max(1, data.positions.shape[1]))
    return [data[i : i + size] for i in range(0, len(data), size)]


def evaluate_in_chunks(
    potential: Potential, data: Dataset, *, member_forces: bool = False
) -> Evaluation:
    """Evaluate a dataset of any size; see `Evaluation`."""
    parts = [_evaluate(potential, part, member_forces) for part in chunks(data)]
    if not parts:
        parts = [_empty(potential, data, member_forces)]
    joined: list[Any] = []
    for name in Evaluation._fields:
        values = [getattr(p, name) for p in parts]
        axis = 1 if name in ("energies", "member_forces") else 0
        joined.append(None if values[0] is None else np.concatenate(values, axis=axis))
    return Evaluation(*joined)


def _evaluate(potential: Potential, data: Dataset, member_forces: bool) -> Evaluation:
    strain = bool(data.pbc.all())
    strained = differentiable(data.to_batch(), strain=strain)
    out = potential(strained.batch, extra="member_forces" if member_forces else "")
    totals = out.energies + potential.reference_energies(strained.batch.numbers)
    per_member = None if out.member_forces is None else out.member_forces.detach().numpy()
    gradients = torch.autograd.grad(out.energies.mean(dim=0).sum(), strained.leaves)
    stress = stress_of(gradients[1], strained.batch.cell).detach().numpy() if strain else None
    return Evaluation(
        totals.detach().numpy(),
        -gradients[0].numpy(),
        out.features.detach().to(torch.float64).numpy(),
        stress,
        per_member,
    )


def _empty(potential: Potential, data: Dataset, member_forces: bool) -> Evaluation:
    atoms = data.positions.shape[1]
    return Evaluation(
        np.zeros((potential.members, 0)),
        np.zeros((0, atoms, 3)),
        np.zeros((0, atoms, 0)),
        None,
        np.zeros((potential.members, 0, atoms, 3)) if member_forces else None,
    )
