"""What the rooms of uncv expect of each other, as protocols."""

from typing import Any, NamedTuple, Optional, Protocol, Self, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from uncv.data import Batch, Dataset
from uncv.units import Kind


class MemberOutput(NamedTuple):
    """What the members of a potential say of a batch, differentiable in positions and cell.

    Attributes
    ----------
    energies : torch.Tensor
        Interaction energies (M, F), float64, eV: without the atomic reference energies, whose
        size would drown the spread of the members in rounding.
    atomic_energies : torch.Tensor
        The same, atom by atom (M, F, A), float64, eV; zero on padding.
    features : torch.Tensor
        Rotation invariant features of each atom (F, A, D).
    member_forces : torch.Tensor or None
        Forces of each member (M, F, A, 3), float64, eV/Å, themselves differentiable; on request.
    """

    energies: torch.Tensor
    atomic_energies: torch.Tensor
    features: torch.Tensor
    member_forces: Optional[torch.Tensor] = None  # noqa: UP045  TorchScript wants Optional


class Evaluation(NamedTuple):
    """What a potential says of a dataset.

    Attributes
    ----------
    energies : numpy.ndarray
        Total energies of the members (M, F), eV.
    forces : numpy.ndarray
        Forces of the member mean (F, A, 3), eV/Å.
    features : numpy.ndarray
        Features of each atom (F, A, D).
    stress : numpy.ndarray or None
        Stress of the member mean (F, 3, 3), eV/Å^3, where every frame is fully periodic.
    member_forces : numpy.ndarray or None
        Forces of each member (M, F, A, 3), eV/Å, on request.
    """

    energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    features: NDArray[np.float64]
    stress: NDArray[np.float64] | None = None
    member_forces: NDArray[np.float64] | None = None


@runtime_checkable
class Potential(Protocol):
    """An ensemble of M interatomic potentials (M = 1 for a single one)."""

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers it was made for."""

    @property
    def cutoff(self) -> float:
        """Largest distance in Å at which two atoms see each other."""

    @property
    def members(self) -> int:
        """Number of members M."""

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the weights."""

    @property
    def fingerprint(self) -> str:
        """A hash of everything that determines its values."""

    def prepare(self, batch: Batch, skin: float = 0.0) -> Any:
        """Return what holds until an atom has moved by skin/2 (Å): neighbours and the like."""

    def __call__(
        self, batch: Batch, prepared: Any = None, *, member_forces: bool = False
    ) -> MemberOutput:
        """Return what the members say, differentiable in ``batch.positions`` and ``batch.cell``."""

    def reference_energies(self, numbers: torch.Tensor) -> torch.Tensor:
        """Return the sum of atomic reference energies of each frame (F,), float64, eV."""

    def packed(self) -> dict[str, Any]:
        """Return everything that a file must hold, as plain values and tensors."""

    def evaluate(self, data: Dataset, *, member_forces: bool = False) -> Evaluation:
        """Return energies, forces and features of a dataset."""


class Oracle(Protocol):
    """A reference that labels structures."""

    def label(self, frames: Dataset) -> Dataset:
        """Return the frames with energy (eV) and forces (eV/Å); failed as NaN with a reason."""


class Uncertainty(Protocol):
    """An uncertainty of a potential."""

    kind: Kind

    def fit(self, potential: Potential, data: Dataset) -> Self:
        """Fit to the training data of the potential and return self."""
