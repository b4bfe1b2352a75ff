"""The model's particles in an engine, and what is known of the walkers at one evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncv.errors import EngineError
from uncv.step import StepValues

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Region:
    """Which particles of an engine the model acts on.

    Parameters
    ----------
    numbers : numpy.ndarray
        Atomic numbers (A,) of one walker.
    particles : int
        Number of particles of the engine's system.
    walkers : int
        Copies of the molecule; above 1 they fill the system.
    atoms : numpy.ndarray or None
        Indices (A,) of the model's atoms in the system, in the order of ``numbers``; None if the
        walkers fill the system.
    periodic : bool
        Whether the box counts.
    """

    numbers: NDArray[np.int64]
    particles: int
    walkers: int = 1
    atoms: NDArray[np.int64] | None = None
    periodic: bool = False

    def split(self, positions: FloatArray) -> FloatArray:
        """Return the model's positions (W, A, 3) from those of all particles (n, 3)."""
        if len(positions) != self.particles:
            raise EngineError(
                f"the System has {len(positions)} particles but the force was made for "
                f"{self.particles}; make it from the topology of this System"
            )
        chosen = positions if self.atoms is None else positions[self.atoms]
        return chosen.reshape(self.walkers, -1, 3)

    def join(self, forces: FloatArray) -> FloatArray:
        """Return forces on all particles (n, 3) from those of the model (W, A, 3)."""
        if self.atoms is None:
            return forces.reshape(-1, 3)
        everywhere = np.zeros((self.particles, 3))
        everywhere[self.atoms] = forces.reshape(-1, 3)
        return everywhere


class Frame(NamedTuple):
    """The walkers at one evaluation.

    Attributes
    ----------
    step : int
        Completed steps.
    positions : numpy.ndarray
        (W, A, 3), Å; centred where there is no cell.
    cell : numpy.ndarray or None
        Of all walkers (3, 3) or of each (W, 3, 3), Å.
    values : StepValues
        Energies (eV), uncertainties.
    bias : numpy.ndarray
        Bias energy (W,), eV, of the native bias and PLUMED together.
    active : numpy.ndarray
        False for parked walkers (W,).
    coefficient : numpy.ndarray or None
        c of the adaptive bias for each walker (W,), 0 until its window is full.
    """

    step: int
    positions: FloatArray
    cell: FloatArray | None
    values: StepValues
    bias: FloatArray
    active: NDArray[np.bool_]
    coefficient: FloatArray | None = None


class StopEvent(NamedTuple):
    """Why and where a walker stopped; its cell (3, 3) in Å if it had one."""

    walker: int
    step: int
    reason: str
    positions: FloatArray
    energy: float
    uncertainty: float
    bias: float
    cell: FloatArray | None = None
