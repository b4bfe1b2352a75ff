"""Labels of frames as tensors, zero where unknown, with marks of what is known."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from uncv.data import Dataset
from uncv.models import AniPotential
from uncv.training.jacobian import STRAINS


class Labels(NamedTuple):
    """Labels of B frames of N atoms together, without the atomic reference energies.

    Attributes
    ----------
    energy, has_energy : torch.Tensor
        (B,) in eV, and 1 or 0.
    forces, has_forces : torch.Tensor
        (N, 3) in eV/Å, and (B,).
    stress, has_stress : torch.Tensor
        (B, 6) in eV/Å³, Voigt's order, and (B,).
    """

    energy: Tensor
    has_energy: Tensor
    forces: Tensor
    has_forces: Tensor
    stress: Tensor
    has_stress: Tensor

    def select(self, frames: Tensor, atoms: Tensor) -> Labels:
        """Return the labels of some frames and of their atoms."""
        return Labels(
            self.energy[frames],
            self.has_energy[frames],
            self.forces[atoms],
            self.has_forces[frames],
            self.stress[frames],
            self.has_stress[frames],
        )


def read_labels(potential: AniPotential, data: Dataset) -> Labels:
    """Return the labels of a dataset in the floating-point type of a potential.

    The atomic reference energies are taken off in float64. A frame of which one force is unknown
    counts as one without forces; stress counts for frames periodic in all directions.
    """
    lone = potential.reference_energies(torch.as_tensor(data.numbers)).numpy()
    nothing = np.full((len(data), 3, 3), np.nan)
    energy = np.full(len(data), np.nan) if data.energy is None else data.energy - lone
    forces = np.full(data.positions.shape, np.nan) if data.forces is None else data.forces
    stress = nothing if data.stress is None else data.stress
    voigt = np.stack([stress[:, a, b] for a, b in STRAINS], axis=1)
    known = np.all(np.isfinite(forces).all(axis=2) | ~data.mask, axis=1)
    periodic = np.all(data.pbc, axis=1) & np.all(np.isfinite(voigt), axis=1)
    marks = np.isfinite(energy), known, periodic
    values = energy, np.where(known[:, None, None], forces, 0.0)[data.mask], voigt
    has = [torch.as_tensor(m).to(potential.dtype) for m in marks]
    filled = [torch.as_tensor(np.nan_to_num(v, nan=0.0)).to(potential.dtype) for v in values]
    return Labels(filled[0], has[0], filled[1], has[1], filled[2], has[2])
