"""The adaptive bias in ASE: forces and stress, each scaled over the same window."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncv.bias import AdaptiveBias
from uncv.cv import check_gradient
from uncv.driver.window import Window
from uncv.step import StepForces, StepGradient

FloatArray = NDArray[np.float64]


class Coefficients(NamedTuple):
    """What the adaptive bias multiplies ∇u by, without its strength; 0 until a window is full.

    Attributes
    ----------
    force : float
        c_F, eV per unit of u.
    stress : float
        c_S, the same; 0 unless all directions are periodic.
    """

    force: float
    stress: float


class AdaptiveForces:
    """Windows of one structure and the forces and stress that follow.

    Parameters
    ----------
    bias : AdaptiveBias
        Strength, weights and length of the windows.
    stress_strength : float
        Size of the bias stress relative to the physical one.
    numbers : numpy.ndarray
        Atomic numbers (A,).
    """

    def __init__(
        self, bias: AdaptiveBias, stress_strength: float, numbers: NDArray[np.int64]
    ) -> None:
        self._strengths = (bias.strength, stress_strength)
        self._force, self._stress = (Window(bias, numbers, 1) for _ in range(2))
        self._checked = False

    def coefficients(self) -> Coefficients:
        """Return c_F and c_S."""
        return Coefficients(*(float(w.coefficient()[0]) for w in (self._force, self._stress)))

    def forces(
        self,
        of_u: StepGradient,
        of_energy: StepGradient,
        *,
        completed: bool = True,
        factor: float = 1.0,
    ) -> StepForces:
        """Return biased forces (1, A, 3) and stress (1, 3, 3).

        Parameters
        ----------
        of_u, of_energy : StepGradient
            Of the present structure.
        completed : bool
            Whether it is that of a new step, which the windows count.
        factor : float
            Of both strengths, where they follow a schedule.

        Raises
        ------
        GradientError
            At the first step, if u does not depend on the positions.
        """
        if not self._checked:
            check_gradient(of_u.positions, of_energy.positions)
            self._checked = True
        active = np.array([completed])
        force, gradient = -of_energy.positions.numpy(), of_u.positions.numpy()
        self._force.push(force, gradient, active)
        c = factor * self._strengths[0] * self._force.coefficient()[0]
        forces = force + c * self._force.weights * gradient
        if of_u.stress is None or of_energy.stress is None:
            return StepForces(forces, None)
        stress, stress_of_u = of_energy.stress.numpy(), of_u.stress.numpy()
        self._stress.push(stress, stress_of_u, active)
        c = factor * self._strengths[1] * self._stress.coefficient()[0]
        return StepForces(forces, stress - c * stress_of_u)
