"""What the rooms of uncv expect of each other, as protocols."""

from typing import Any, List, NamedTuple, Optional, Protocol, Self, runtime_checkable  # noqa: UP035

import numpy as np
import torch
from numpy.typing import NDArray

from uncv.data import Batch, Dataset
from uncv.units import Kind

EXTRAS = ("member_forces", "last_layer", "layers", "heads")
"""What a potential may give beside energies and features; see `MemberOutput`."""


class LayerTape(NamedTuple):
    """The readout networks of N atoms, layer by layer, from the first to the output.

    The gradient of an atom's energy by the weights of layer l is the outer product of the two.
    Where the atoms are of several elements, they come in the order of `AtomGroups.rows`, with zeros
    past the width and the number of layers of an element's own network.

    Attributes
    ----------
    inputs : list of torch.Tensor
        Inputs x of the layers (M, N, in), (1, N, in) where the members share them.
    deltas : list of torch.Tensor
        Slopes δ = ∂E_i/∂z by what comes out of each layer before activation (M, N, out), eV.
    """

    inputs: List[torch.Tensor]  # noqa: UP006
    deltas: List[torch.Tensor]  # noqa: UP006


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
        Forces of each member (M, F, A, 3), float64, eV/Å, themselves differentiable.
    last_layer : torch.Tensor or None
        Input of each member's last linear layer times the scale of its output (M, F, A, H): the
        gradient of an atom's energy by that layer's weights, eV; zero on padding and past the
        width of an element's own layer.
    layers : LayerTape or None
        The readout networks of all atoms, the elements one after the other.
    heads : torch.Tensor or None
        What the networks give beside the energy (M, F, A, K), as it leaves their last layer.

    The last four are there on request: ``extra`` names at most one of `EXTRAS`.
    """

    energies: torch.Tensor
    atomic_energies: torch.Tensor
    features: torch.Tensor
    member_forces: Optional[torch.Tensor] = None  # noqa: UP045  TorchScript wants Optional
    last_layer: Optional[torch.Tensor] = None  # noqa: UP045
    layers: Optional[LayerTape] = None  # noqa: UP045
    heads: Optional[torch.Tensor] = None  # noqa: UP045


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

    @property
    def extras(self) -> tuple[str, ...]:
        """Which of `EXTRAS` it can give."""

    @property
    def head(self) -> str:
        """What ``MemberOutput.heads`` are for: 'mean_variance', 'evidential', or '' without any."""

    @property
    def smooth(self) -> bool:
        """Whether energies have continuous second derivatives."""

    @property
    def last_bias(self) -> float:
        """Gradient of an atom's energy by the bias of its last layer, eV; 0 where there is none."""

    def prepare(self, batch: Batch, skin: float = 0.0) -> Any:
        """Return what holds until an atom has moved by skin/2 (Å): neighbours and the like."""

    def __call__(self, batch: Batch, prepared: Any = None, *, extra: str = "") -> MemberOutput:
        """Return what the members say, differentiable in ``batch.positions`` and ``batch.cell``.

        ``extra`` names what is wanted beside energies and features: one of ``extras``, or ''.
        """

    def scriptable(self, numbers: torch.Tensor, pbc: bool, extra: str) -> torch.nn.Module:
        """Return a module that TorchScript can compile, for atoms that never change.

        It takes positions (W, A, 3) in Å and cells (W, 3, 3) in Å, both float64, and gives the
        `MemberOutput` of W frames with these atomic numbers (W, A), without member forces.
        """

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
