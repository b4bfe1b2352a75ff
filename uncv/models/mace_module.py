"""A MACE model as the module that `ModulePotential` asks, in TorchScript's subset of Python.

Source: Batatia et al., Advances in Neural Information Processing Systems 35 (2022). What follows
from mace-torch's own code: a model gives ``node_energy`` and ``node_feats``, the features of all
interactions side by side; readout k is linear in the features of interaction k, the last one a
network of one hidden layer.
"""

from typing import Dict, List, Optional, Tuple  # noqa: UP035  TorchScript wants typing's names

import torch
from torch import Tensor, nn


class LinearInput(nn.Module):
    """What goes into a linear readout: features of one interaction."""

    def forward(self, features: Tensor) -> Tensor:
        """Return them."""
        return features


class HiddenInput(nn.Module):
    """What goes into the output layer of a readout network: its hidden layer.

    Parameters
    ----------
    layers : list of torch.nn.Module
        Compiled layers before the output.
    """

    def __init__(self, layers: List[nn.Module]) -> None:  # noqa: UP006
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, features: Tensor) -> Tensor:
        """Return the hidden layer (N, width)."""
        for layer in self.layers:
            features = layer(features)
        return features


class OutputWeights(nn.Module):
    """Gradient of an atom's energy by the weights of one output layer.

    Weight k multiplies one input, ``rows[k]``, by a constant, ``factors[k]``.

    Parameters
    ----------
    before : torch.nn.Module
        From the features of an interaction to the input of the output layer.
    start, width : int
        Where these features are among those of all interactions.
    rows, factors : torch.Tensor
        (H,); the factors include the scale of the model, eV.
    """

    rows: Tensor
    factors: Tensor

    def __init__(
        self, before: nn.Module, start: int, width: int, rows: Tensor, factors: Tensor
    ) -> None:
        super().__init__()
        self.before = before
        self.start = start
        self.width = width
        self.register_buffer("rows", rows)
        self.register_buffer("factors", factors)

    def forward(self, features: Tensor) -> Tensor:
        """Return the gradients (N, H) from the features of all interactions."""
        x = self.before(features.narrow(1, self.start, self.width))
        return x.index_select(1, self.rows) * self.factors


class MaceEnergies(nn.Module):
    """One MACE model: atomic energies and features.

    Parameters
    ----------
    model : torch.nn.Module
        Compiled, its energies of lone atoms zero.
    scalars : torch.Tensor
        Which of its node features are scalars (D,).
    elements, head : int
        Number of its elements, and which of its heads is asked.
    """

    scalars: Tensor

    def __init__(self, model: nn.Module, scalars: Tensor, elements: int, head: int) -> None:
        super().__init__()
        self.model = model
        self.elements = elements
        self.head = head
        self.register_buffer("scalars", scalars)

    def ask(
        self, species: Tensor, centre: Tensor, other: Tensor, vectors: Tensor
    ) -> Tuple[Tensor, Tensor]:  # noqa: UP006
        """Return atomic energies (N,) and the features of all interactions (N, width).

        The model subtracts positions and adds shifts: with all atoms at zero the shifts are the
        vectors, from sender to receiver.
        """
        count = species.shape[0]
        data: Dict[str, Tensor] = {  # noqa: UP006
            "positions": vectors.new_zeros([count, 3]),
            "cell": vectors.new_zeros([3, 3]),
            "shifts": -vectors,
            "unit_shifts": torch.zeros_like(vectors),
            "edge_index": torch.stack([other, centre]),
            "node_attrs": nn.functional.one_hot(species, self.elements).to(vectors.dtype),
            "batch": torch.zeros_like(species),
            "ptr": torch.tensor([0, count], device=species.device),
            "head": torch.full([1], self.head, dtype=torch.int64, device=species.device),
        }
        answer: Dict[str, Optional[Tensor]] = self.model(data, compute_force=False)  # noqa: UP006, UP045
        energies, features = answer["node_energy"], answer["node_feats"]
        if energies is None or features is None:
            raise ValueError("the MACE model gives no atomic energies or no features")
        return energies, features

    def forward(
        self, species: Tensor, frame: Tensor, centre: Tensor, other: Tensor, vectors: Tensor
    ) -> Tuple[Tensor, Tensor]:  # noqa: UP006
        """Return atomic energies (1, N) and scalar features (N, D); see docs/potentials.md."""
        energies, features = self.ask(species, centre, other, vectors)
        return energies.unsqueeze(0), features.index_select(1, self.scalars)


class MaceReadouts(MaceEnergies):
    """The same with the gradients by the weights of the output layers.

    Parameters
    ----------
    outputs : list of OutputWeights
        The output layers of the model.
    """

    def __init__(
        self,
        model: nn.Module,
        scalars: Tensor,
        elements: int,
        head: int,
        outputs: List[OutputWeights],  # noqa: UP006
    ) -> None:
        super().__init__(model, scalars, elements, head)
        self.outputs = nn.ModuleList(outputs)

    def forward(  # type: ignore[override]
        self, species: Tensor, frame: Tensor, centre: Tensor, other: Tensor, vectors: Tensor
    ) -> Tuple[Tensor, Tensor, Tensor]:  # noqa: UP006
        """Return the same and the gradients (1, N, H)."""
        energies, features = self.ask(species, centre, other, vectors)
        slopes: List[Tensor] = []  # noqa: UP006
        for output in self.outputs:
            slopes.append(output(features))  # noqa: PERF401  TorchScript cannot otherwise
        last = torch.cat(slopes, dim=1).unsqueeze(0)
        return energies.unsqueeze(0), features.index_select(1, self.scalars), last
