"""One evaluation of a batch, and the gradients of what it gave: two ways, the same numbers.

Where the potential's descriptor is compiled, everything else is differentiated by the descriptor,
and one product with its Jacobian brings all gradients back to the atoms. Elsewhere autograd goes
all the way, once for each gradient. `uncv.step_spread` knows a third way, without autograd.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uncv.cv import CVOutput, Prepared, UncertaintyCV, check_connected
from uncv.data import Batch
from uncv.models import AniPotential
from uncv.models.derivatives import Strained, differentiable, stress_of
from uncv.models.described import Described
from uncv.protocols import MemberOutput

FloatArray = NDArray[np.float64]


class Asked(NamedTuple):
    """What an evaluation is for.

    Attributes
    ----------
    uncertainty : bool
        Without, u is not evaluated and is NaN.
    stress : bool
        Whether gradients have a stress.
    """

    uncertainty: bool
    stress: bool


class Values(NamedTuple):
    """Energy (W,) in eV without reference energies, u (W,), and u of each atom (W, A) or None."""

    energy: FloatArray
    uncertainty: FloatArray
    atomic: FloatArray | None


class Sum(NamedTuple):
    """A sum of weighted values; None for what has no part in it.

    Attributes
    ----------
    energy, uncertainty : numpy.ndarray or None
        Weights of E and u of each walker (W,).
    atomic : numpy.ndarray or None
        Weights of the atoms' uncertainties (W, A).
    """

    energy: FloatArray | None
    uncertainty: FloatArray | None = None
    atomic: FloatArray | None = None


class Gradient(NamedTuple):
    """How one value of each walker, such as E or u, changes.

    Attributes
    ----------
    positions : numpy.ndarray
        By the positions (W, A, 3), per Å.
    stress : numpy.ndarray or None
        By a strain of atoms and cell, over the volume (W, 3, 3), per Å^3; where the evaluation was
        asked.
    """

    positions: FloatArray
    stress: FloatArray | None


class Pass(Protocol):
    """An evaluation that can be differentiated."""

    @property
    def values(self) -> Values:
        """Energy and uncertainty."""

    def check_connected(self) -> None:
        """Refuse an uncertainty that no gradient leads through.

        Raises
        ------
        GradientError
        """

    def gradients(self, sums: Sequence[Sum]) -> list[Gradient]:
        """Return the gradient of each sum of weighted values; may be asked again."""


def evaluate(cv: UncertaintyCV, batch: Batch, prepared: Prepared, asked: Asked) -> Pass:
    """Evaluate a batch for any potential and uncertainty.

    Parameters
    ----------
    cv : UncertaintyCV
        What is evaluated.
    batch : Batch
        W frames of the same atoms.
    prepared : Prepared
        Their neighbours and groups.
    asked : Asked
        What for.
    """
    uncertainty, stress = asked
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


class AutogradPass:
    """What autograd differentiates, wherever it goes back to.

    Parameters
    ----------
    output : CVOutput
        What the evaluation gave.
    """

    def __init__(self, output: CVOutput) -> None:
        self._output = output

    @property
    def values(self) -> Values:
        """Energy and uncertainty."""
        energy, uncertainty, atomic = self._output
        return Values(
            energy.detach().numpy(),
            uncertainty.detach().numpy(),
            None if atomic is None else atomic.detach().numpy(),
        )

    def check_connected(self) -> None:
        """Refuse an uncertainty that no gradient leads through."""
        check_connected(self._output.uncertainty)

    def _by(self, of: Sum, leaves: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        values, weights = [], []
        for value, weight in zip(self._output, of, strict=True):
            if value is not None and weight is not None:
                values.append(value)
                weights.append(torch.from_numpy(weight))
        return torch.autograd.grad(values, leaves, weights, retain_graph=True)


class GraphPass(AutogradPass):
    """An evaluation that autograd follows from the positions on.

    Parameters
    ----------
    output : CVOutput
        What the evaluation gave.
    strained : Strained
        Of which positions and cells.
    """

    def __init__(self, output: CVOutput, strained: Strained) -> None:
        super().__init__(output)
        self._strained = strained

    def gradients(self, sums: Sequence[Sum]) -> list[Gradient]:
        """Return the gradient of each sum, by as many products."""
        found = [self._by(weighted, self._strained.leaves) for weighted in sums]
        if self._strained.strain is None:
            return [Gradient(by_positions.numpy(), None) for (by_positions,) in found]
        cell = self._strained.batch.cell.detach()
        return [Gradient(one.numpy(), stress_of(virial, cell).numpy()) for one, virial in found]


class DescriptorPass(AutogradPass):
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
        super().__init__(output)
        self._described = described
        self._cell = cell

    def gradients(self, sums: Sequence[Sum]) -> list[Gradient]:
        """Return the gradient of each sum, all by one product."""
        by_descriptor = [self._by(weighted, (self._described.leaf,))[0] for weighted in sums]
        found = self._described.pull_back(by_descriptor, strain=self._cell is not None)
        if found.strain is None or self._cell is None:
            return [Gradient(one, None) for one in found.positions]
        return with_stress(found.positions, found.strain, self._cell.numpy())


def with_stress(positions: FloatArray, strain: FloatArray, cell: FloatArray) -> list[Gradient]:
    """Return gradients by positions (K, W, A, 3) and strain (K, W, 3, 3) in cells (..., 3, 3)."""
    stresses = strain / np.abs(np.linalg.det(cell))[..., None, None]
    return [Gradient(*both) for both in zip(positions, stresses, strict=True)]


def _output(
    cv: UncertaintyCV, said: MemberOutput, prepared: Prepared, uncertainty: bool
) -> CVOutput:
    if uncertainty:
        return cv.of_output(said, prepared.groups)
    energy = said.energies.mean(dim=0)
    return CVOutput(energy, torch.full_like(energy.detach(), torch.nan), None)
