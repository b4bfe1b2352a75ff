"""Perturbations that need no potential: rattle, random strain, sine waves."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from uncv.errors import ConfigError, DataError
from uncv.perturb.geometry import FloatArray, Geometry


@dataclass(frozen=True)
class Rattle:
    """Each coordinate of each atom moves by a Gaussian number.

    Parameters
    ----------
    size : float
        Standard deviation in Å.
    """

    size: float = 0.05

    def __post_init__(self) -> None:
        _positive("size", self.size)

    def __str__(self) -> str:
        return f"rattle {self.size:g} Å"

    def displaced(self, geometry: Geometry, random: np.random.Generator) -> Geometry:
        """Return the geometry with its atoms moved."""
        noise = self.size * random.normal(size=geometry.positions.shape)
        return geometry._replace(positions=geometry.positions + noise)


@dataclass(frozen=True)
class Strain:
    """Atoms and cell follow a symmetric strain, x (1 + ε) and a (1 + ε).

    Parameters
    ----------
    size : float
        Each of the six components of ε is uniform between −size and size; below 0.5.
    """

    size: float = 0.03

    def __post_init__(self) -> None:
        _positive("size", self.size)
        if self.size >= 0.5:
            raise ConfigError(f"size is {self.size}; expected a strain below 0.5")

    def __str__(self) -> str:
        return f"strain {self.size:g}"

    def displaced(self, geometry: Geometry, random: np.random.Generator) -> Geometry:
        """Return the geometry with atoms and cell strained.

        Raises
        ------
        DataError
            If it is not periodic in all directions.
        """
        if not geometry.pbc.all():
            raise DataError(
                f"strain needs a cell that is periodic in all directions, found pbc="
                f"{geometry.pbc.tolist()}; leave Strain out for a molecule or slab"
            )
        strain = np.zeros((3, 3))
        strain[np.triu_indices(3)] = random.uniform(-self.size, self.size, 6)
        scale = np.eye(3) + strain + np.triu(strain, 1).T
        return Geometry(geometry.positions @ scale, geometry.cell @ scale, geometry.pbc)


@dataclass(frozen=True)
class SineWave:
    """Atoms move by amplitude·e·sin(k·x + φ): neighbours move together, as in a slow phonon.

    The direction e, the phase φ and the wave vector k are random; k fits the cell. Along directions
    without a period the extent of the atoms counts as the cell's.

    Parameters
    ----------
    amplitude : float
        In Å.
    waves : int
        Most waves along a cell vector.
    """

    amplitude: float = 0.2
    waves: int = 2

    def __post_init__(self) -> None:
        _positive("amplitude", self.amplitude)
        if self.waves < 1:
            raise ConfigError(f"waves is {self.waves}; expected at least 1")

    def __str__(self) -> str:
        return f"sine wave {self.amplitude:g} Å"

    def displaced(self, geometry: Geometry, random: np.random.Generator) -> Geometry:
        """Return the geometry with its atoms moved."""
        counts = [n for n in itertools.product(range(-self.waves, self.waves + 1), repeat=3)
                  if any(n)]  # fmt: skip
        count = np.array(counts[random.integers(len(counts))])
        direction = random.normal(size=3)
        direction /= np.linalg.norm(direction)
        turns = geometry.positions @ np.linalg.inv(_box(geometry)) @ count
        wave = np.sin(2 * np.pi * (turns + random.random()))
        moved = geometry.positions + self.amplitude * wave[:, None] * direction
        return geometry._replace(positions=moved)


def _box(geometry: Geometry) -> FloatArray:
    """Return the cell with the extent of the atoms, 1 Å at least, where it has no period."""
    extent = np.maximum(np.ptp(geometry.positions, axis=0), 1.0)
    return np.where(geometry.pbc[:, None], geometry.cell, np.diag(extent))


def _positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"{name} is {value}; expected a positive number")
