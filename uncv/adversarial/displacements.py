"""Each atom moves by itself, up to a trust radius."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from uncv.adversarial.base import Geometry, check_positive
from uncv.data import Dataset


@dataclass(frozen=True)
class Displacements:
    """Displacements δ of all atoms.

    Parameters
    ----------
    limit : float
        Trust radius: the largest |δ_i| of an atom in Å.
    size : float
        Standard deviation of each component at the start, in Å.
    rate : float
        Step of Adam in Å.
    """

    limit: float = 0.5
    size: float = 0.01
    rate: float = 0.01

    def __post_init__(self) -> None:
        check_positive(limit=self.limit, size=self.size, rate=self.rate)

    def bound(self, frames: Dataset) -> BoundDisplacements:
        """Return the displacements of these structures."""
        return BoundDisplacements(self.limit, torch.from_numpy(frames.mask))


class BoundDisplacements:
    """Displacements (F, A, 3) of F structures; padding stays where it is."""

    def __init__(self, limit: float, mask: Tensor) -> None:
        self._limit = limit
        self._real = mask.unsqueeze(2).to(torch.float64)

    @property
    def shape(self) -> tuple[int, ...]:
        """(A, 3)."""
        return (self._real.shape[1], 3)

    def moved(self, geometry: Geometry, values: Tensor) -> Geometry:
        """Return the structures with their atoms moved."""
        return geometry._replace(positions=geometry.positions + values * self._real)

    def projected(self, values: Tensor) -> Tensor:
        """Return the displacements, those longer than the limit shortened to it."""
        length = torch.linalg.vector_norm(values, dim=2, keepdim=True)
        return values * (self._limit / length.clamp(min=self._limit))
