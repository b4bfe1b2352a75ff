"""Biases that hold u: a spring around a value, and a wall above one."""

import math

import numpy as np
import torch
from torch import Tensor

from uncv.bias.base import Bias, FloatArray, finite, number, positive


class Spring(Bias):
    """Base: a function of d, by how far u is from where it should be.

    V = strength · d² / (1 + sqrt(1 + (strength · d / max_slope)²)), the pseudo-Huber function: it
    is strength/2 · d² for small d, and its slope approaches ``max_slope`` for large d. Without a
    ``max_slope`` it is strength/2 · d² throughout.
    """

    def __init__(self, strength: float, max_slope: float | None) -> None:
        super().__init__()
        self.strength = finite("strength", strength)
        if self.strength < 0.0:
            raise ValueError(
                f"strength is {strength}; expected a number that is not negative: a negative one "
                "has no lower bound (LinearBias drives towards high u)"
            )
        self.limit = math.inf if max_slope is None else positive("max_slope", max_slope)

    def of_displacement(self, d: Tensor) -> Tensor:
        """Return V (F,) in eV."""
        bent = self.strength / self.limit * d
        return self.strength * d * d / (1.0 + torch.sqrt(1.0 + bent * bent))

    def written_out_at(self, d: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return V and dV/dd (F,) in numpy; dV/dd is strength · d / sqrt(1 + (…)²)."""
        bent, pull = self.strength / self.limit * d, self.strength * d
        root = np.sqrt(1.0 + bent * bent)
        return pull * d / (1.0 + root), pull / root

    def formula_of(self, d: str) -> str:
        """Return V as an expression of a term d."""
        if math.isinf(self.limit):
            return f"{0.5 * self.strength!r}*{d}^2"
        bent = f"{self.strength / self.limit!r}*{d}"
        return f"{self.strength!r}*{d}^2/(1+sqrt(1+({bent})^2))"

    def max_slope(self) -> float:
        """Return the slope that is approached far away."""
        return self.limit

    def settings(self, factor: float) -> tuple[float, float | None]:
        """Return the strength and max_slope of factor · V."""
        limit = None if math.isinf(self.limit) else factor * self.limit
        return factor * self.strength, limit

    def words(self) -> str:
        """Return max_slope in words, if there is one."""
        return "" if math.isinf(self.limit) else f", max_slope={self.limit}"


class HarmonicBias(Spring):
    """V(u) = strength/2 · (u − centre)²: holds u near a value.

    Parameters
    ----------
    strength : float
        Force constant in eV per squared unit of u, not negative.
    centre : float
        In the unit of u.
    max_slope : float, optional
        |dV/du| that is approached far from the centre, in eV per unit of u: V is then the
        pseudo-Huber function and as conservative as before.

    Notes
    -----
    Without max_slope it is PLUMED's RESTRAINT with AT=centre and KAPPA=strength, both in PLUMED's
    units.

    Examples
    --------
    >>> float(HarmonicBias(strength=2.0, centre=0.5)(torch.tensor(1.5)))
    1.0
    """

    def __init__(self, strength: float, centre: float, max_slope: float | None = None) -> None:
        super().__init__(strength, max_slope)
        self.centre = finite("centre", centre)

    def forward(self, u: Tensor) -> Tensor:
        """Return V (F,) in eV."""
        return self.of_displacement(u - self.centre)

    def written_out(self, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return V and dV/du (F,) in numpy."""
        return self.written_out_at(u - self.centre)

    def formula(self, u: str) -> str:
        """Return V as an expression of a term u."""
        return self.formula_of(f"({u}-{number(self.centre)})")

    def scaled(self, factor: float) -> "HarmonicBias":
        """Return the bias factor · V(u)."""
        strength, limit = self.settings(factor)
        return HarmonicBias(strength, self.centre, limit)

    def extra_repr(self) -> str:
        """Return the settings in words."""
        return f"strength={self.strength}, centre={self.centre}{self.words()}"


class CeilingBias(Spring):
    """V(u) = strength/2 · (u − u_max)² above u_max, 0 below: keeps a run where u can be trusted.

    Parameters
    ----------
    strength : float
        Force constant in eV per squared unit of u, not negative.
    u_max : float
        Where the wall begins, in the unit of u.
    max_slope : float, optional
        As of `HarmonicBias`.

    Notes
    -----
    Without max_slope it is PLUMED's UPPER_WALLS with AT=u_max, EXP=2 and KAPPA=strength/2 (PLUMED's
    walls have no factor ½), in PLUMED's units.

    Examples
    --------
    >>> CeilingBias(strength=2.0, u_max=1.0)(torch.tensor([0.5, 1.0, 3.0])).tolist()
    [0.0, 0.0, 4.0]
    """

    def __init__(self, strength: float, u_max: float, max_slope: float | None = None) -> None:
        super().__init__(strength, max_slope)
        self.u_max = finite("u_max", u_max)

    def forward(self, u: Tensor) -> Tensor:
        """Return V (F,) in eV."""
        return self.of_displacement(torch.relu(u - self.u_max))

    def written_out(self, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return V and dV/du (F,) in numpy."""
        return self.written_out_at(np.maximum(u - self.u_max, 0.0))

    def formula(self, u: str) -> str:
        """Return V as an expression of a term u."""
        return self.formula_of(f"max({u}-{number(self.u_max)},0)")

    def scaled(self, factor: float) -> "CeilingBias":
        """Return the bias factor · V(u)."""
        strength, limit = self.settings(factor)
        return CeilingBias(strength, self.u_max, limit)

    def extra_repr(self) -> str:
        """Return the settings in words."""
        return f"strength={self.strength}, u_max={self.u_max}{self.words()}"
