"""A crystal's cell and atoms follow a symmetric strain."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from uncv.adversarial.base import Geometry, check_positive
from uncv.data import Dataset
from uncv.errors import ConfigError, DataError


@dataclass(frozen=True)
class Strain:
    """Strain of atoms and cell, x (1 + ε) and a (1 + ε), ε symmetric.

    Parameters
    ----------
    limit : float
        Largest principal strain, below 0.5.
    size : float
        Standard deviation of a component at the start.
    rate : float
        Step of Adam.
    """

    limit: float = 0.1
    size: float = 0.002
    rate: float = 0.002

    def __post_init__(self) -> None:
        check_positive(limit=self.limit, size=self.size, rate=self.rate)
        if self.limit >= 0.5:
            raise ConfigError(f"limit is {self.limit}; expected a strain below 0.5")

    def bound(self, frames: Dataset) -> BoundStrain:
        """Return the strain of these structures.

        Raises
        ------
        DataError
            If one is not periodic in all directions.
        """
        if not frames.pbc.all():
            bad = int((~frames.pbc.all(axis=1)).argmax())
            raise DataError(
                "strain needs a cell that is periodic in all directions, found "
                f"pbc={frames.pbc[bad].tolist()} in attack {bad}; leave Strain out for a molecule "
                "or slab"
            )
        return BoundStrain(self.limit)


class BoundStrain:
    """Strains (F, 3, 3) of F structures, of which the symmetric part counts."""

    shape: tuple[int, ...] = (3, 3)

    def __init__(self, limit: float) -> None:
        self._limit = limit

    def moved(self, geometry: Geometry, values: Tensor) -> Geometry:
        """Return the structures strained."""
        strain = 0.5 * (values + values.transpose(1, 2))
        positions = geometry.positions + torch.matmul(geometry.positions, strain)
        return Geometry(positions, geometry.cell + torch.matmul(geometry.cell, strain))

    def projected(self, values: Tensor) -> Tensor:
        """Return symmetric strains, their principal values cut at the limit."""
        lengths, axes = torch.linalg.eigh(0.5 * (values + values.transpose(1, 2)))
        cut = lengths.clamp(-self._limit, self._limit)
        return torch.matmul(axes * cut.unsqueeze(1), axes.transpose(1, 2))
