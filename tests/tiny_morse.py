"""A metal of Morse pairs with members that differ: a crystal that holds together, for dynamics."""

from __future__ import annotations

from typing import Tuple  # noqa: UP035  TorchScript wants typing's names

import torch
from ase import Atoms
from ase.build import bulk
from torch import Tensor, nn

from uncv.cv import UncertaintyCV
from uncv.models import ModulePotential
from uncv.uncertainty import EnsembleUncertainty

CUTOFF = 5.0


class Morse(nn.Module):
    """Members with their own depth and length of the bond; smooth at the cutoff."""

    def __init__(self, members: int = 3) -> None:
        super().__init__()
        steps = torch.linspace(-1.0, 1.0, members, dtype=torch.float64)
        self.register_buffer("depth", 0.30 * (1.0 + 0.08 * steps).unsqueeze(1))
        self.register_buffer("length", 2.70 * (1.0 + 0.02 * steps.flip(0) ** 3).unsqueeze(1))

    def forward(
        self, species: Tensor, frame: Tensor, centre: Tensor, other: Tensor, vectors: Tensor
    ) -> Tuple[Tensor, Tensor]:  # noqa: UP006
        distance = vectors.square().sum(dim=1).sqrt()
        window = (1.0 - (distance / 5.0) ** 2) ** 3
        closer = torch.exp(-1.4 * (distance - self.length))
        pair = 0.5 * self.depth * (closer * closer - 2.0 * closer) * window
        energies = torch.zeros(
            self.depth.shape[0], species.shape[0], dtype=vectors.dtype, device=vectors.device
        ).index_add(1, centre, pair)
        features = torch.zeros(species.shape[0], dtype=vectors.dtype).index_add(0, centre, window)
        return energies, features.unsqueeze(1)


def cv(of: str = "energy", reduce: str = "mean") -> UncertaintyCV:
    """The uncertainty of copper made of Morse pairs."""
    potential = ModulePotential(Morse(), [29], CUTOFF, dtype=torch.float64)
    return UncertaintyCV(potential, EnsembleUncertainty(of), reduce)


def crystal(rattle: float = 0.05, seed: int = 0) -> Atoms:
    """Four atoms of copper in a cell below twice the cutoff, sheared and rattled."""
    atoms = bulk("Cu", "fcc", a=3.75, cubic=True)
    atoms.set_cell(atoms.cell.array @ [[1.02, 0.03, -0.02], [0, 0.98, 0.04], [0, 0, 1]], True)
    atoms.rattle(rattle, seed=seed)
    return atoms
