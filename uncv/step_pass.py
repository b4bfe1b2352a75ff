"""One evaluation of a batch, and the gradients of what it gave: two ways, the same numbers.

Where the potential's descriptor is compiled, everything else is differentiated by the descriptor,
and one product with its Jacobian brings all gradients back to the atoms. Elsewhere autograd goes
all the way, once for each gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from uncv.cv import CVOutput, Prepared, UncertaintyCV
from uncv.data import Batch
from uncv.models import AniPotential
from uncv.models.derivatives import Strained, differentiable, stress_of
from uncv.models.described import Described
from uncv.protocols import MemberOutput


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


class Weighted(NamedTuple):
    """A value of the evaluation, and by what it is multiplied in a sum (of its shape)."""

    value: Tensor
    weight: Tensor


class Pass(Protocol):
    """An evaluation that can be differentiated."""

    @property
    def output(self) -> CVOutput:
        """Energy and uncertainty."""

    def gradients(self, sums: Sequence[Sequence[Weighted]]) -> list[StepGradient]:
        """Return the gradient of each sum of weighted values; may be asked again."""


def evaluate(
    cv: UncertaintyCV, batch: Batch, prepared: Prepared, *, uncertainty: bool, stress: bool
) -> Pass:
    """Evaluate a batch in the quickest way there is.

    Parameters
    ----------
    cv : UncertaintyCV
        What is evaluated.
    batch : Batch
        W frames of the same atoms.
    prepared : Prepared
        Their neighbours and groups.
    uncertainty : bool
        Without, u is not evaluated and is NaN.
    stress : bool
        Whether gradients have a stress.
    """
    extra, potential = cv.uncertainty.extra if uncertainty else "", cv.potential
    if isinstance(potential, AniPotential):
        positions, cell = batch.positions.numpy(), batch.cell.numpy()
        described = potential.describe(positions, cell, prepared.potential, extra)
        if described is not None:
            said = potential.read_described(described.leaf, prepared.groups, extra)
            output = _output(cv, said, prepared, uncertainty)
            return DescriptorPass(output, described, batch.cell if stress else None)
    strained = differentiable(batch, strain=stress)
    said = potential(strained.batch, prepared.potential, extra=extra)
    return GraphPass(_output(cv, said, prepared, uncertainty), strained)


class GraphPass:
    """An evaluation that autograd follows from the positions on.

    Parameters
    ----------
    output : CVOutput
        What the evaluation gave.
    strained : Strained
        Of which positions and cells.
    """

    def __init__(self, output: CVOutput, strained: Strained) -> None:
        self.output = output
        self._strained = strained

    def gradients(self, sums: Sequence[Sequence[Weighted]]) -> list[StepGradient]:
        """Return the gradient of each sum, by as many products."""
        found = [_gradient(weighted, self._strained.leaves) for weighted in sums]
        if self._strained.strain is None:
            return [StepGradient(by_positions, None) for (by_positions,) in found]
        cell = self._strained.batch.cell.detach()
        return [StepGradient(one, stress_of(virial, cell)) for one, virial in found]


class DescriptorPass:
    """An evaluation that autograd follows from the descriptors on.

    Parameters
    ----------
    output : CVOutput
        What the evaluation gave.
    described : Described
        Of which descriptors.
    cell : torch.Tensor or None
        Cells (W, 3, 3) in Å if a stress is wanted.
    """

    def __init__(self, output: CVOutput, described: Described, cell: Tensor | None) -> None:
        self.output = output
        self._described = described
        self._cell = cell

    def gradients(self, sums: Sequence[Sequence[Weighted]]) -> list[StepGradient]:
        """Return the gradient of each sum, all by one product."""
        by_descriptor = [_gradient(weighted, (self._described.leaf,))[0] for weighted in sums]
        found = self._described.pull_back(by_descriptor, strain=self._cell is not None)
        by_positions = torch.from_numpy(found.positions)
        if found.strain is None or self._cell is None:
            return [StepGradient(one, None) for one in by_positions]
        volumes = np.abs(np.linalg.det(self._cell.numpy()))[:, None, None]
        stresses = torch.from_numpy(found.strain / volumes)
        return [StepGradient(*both) for both in zip(by_positions, stresses, strict=True)]


def _output(
    cv: UncertaintyCV, said: MemberOutput, prepared: Prepared, uncertainty: bool
) -> CVOutput:
    if uncertainty:
        return cv.of_output(said, prepared.groups)
    energy = said.energies.mean(dim=0)
    return CVOutput(energy, torch.full_like(energy.detach(), torch.nan), None)


def _gradient(weighted: Sequence[Weighted], leaves: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    values, weights = zip(*weighted, strict=True)
    return torch.autograd.grad(values, leaves, weights, retain_graph=True)
