"""Parts of a molecule turn about bonds: bond lengths and angles stay."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from uncv.adversarial.base import Geometry, check_positive
from uncv.adversarial.bonds import Rotor, rotors
from uncv.data import Dataset


@dataclass(frozen=True)
class Torsions:
    """Rotations about bonds; every torsion about such a bond changes by the same angle.

    Parameters
    ----------
    bonds : tuple of (int, int), optional
        Pairs of atoms; by default all bonds outside of rings about which something turns.
    limit : float
        Largest rotation in radians; π, the default, is any.
    size : float
        Standard deviation of a rotation at the start, in radians.
    rate : float
        Step of Adam in radians.
    """

    bonds: tuple[tuple[int, int], ...] | None = None
    limit: float = math.pi
    size: float = 0.1
    rate: float = 0.05

    def __post_init__(self) -> None:
        check_positive(limit=self.limit, size=self.size, rate=self.rate)

    def bound(self, frames: Dataset) -> BoundTorsions:
        """Return the torsions of these structures.

        Raises
        ------
        DataError, ConfigError
            As `uncv.adversarial.bonds.rotors`.
        """
        return BoundTorsions(self.limit, rotors(frames, self.bonds))


class BoundTorsions:
    """Rotations (F, K) about the K bonds of one molecule."""

    def __init__(self, limit: float, found: list[Rotor]) -> None:
        self._limit = limit
        self._rotors = [(r.fixed, r.turning, torch.from_numpy(r.atoms)) for r in found]

    @property
    def shape(self) -> tuple[int, ...]:
        """(K,)."""
        return (len(self._rotors),)

    def moved(self, geometry: Geometry, values: Tensor) -> Geometry:
        """Return the structures turned, about one bond after the other.

        The axis of each is where the bonds before have left it, so the torsions that result do
        not depend on the order.
        """
        positions = geometry.positions
        for k, (fixed, turning, atoms) in enumerate(self._rotors):
            origin = positions[:, turning].unsqueeze(1)
            axis = positions[:, turning] - positions[:, fixed]
            axis = axis / torch.linalg.vector_norm(axis, dim=1, keepdim=True)
            arms = positions.index_select(1, atoms) - origin
            turned = origin + rotated(arms, axis, values[:, k])
            positions = positions.index_copy(1, atoms, turned)
        return geometry._replace(positions=positions)

    def projected(self, values: Tensor) -> Tensor:
        """Return the rotations, cut at the limit; without one, as equal angles within ±π."""
        if self._limit >= math.pi:
            return torch.remainder(values + math.pi, 2.0 * math.pi) - math.pi
        return values.clamp(-self._limit, self._limit)


def rotated(arms: Tensor, axis: Tensor, angle: Tensor) -> Tensor:
    """Return vectors (F, K, 3) turned about unit axes (F, 3) by angles (F,): Rodrigues' formula."""
    along = axis.unsqueeze(1).expand_as(arms)
    cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
    parallel = (arms * along).sum(dim=2, keepdim=True) * along
    return parallel + (arms - parallel) * cosine + torch.linalg.cross(along, arms, dim=2) * sine
