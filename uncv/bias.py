"""Bias energies V(u) that are added to the potential: forces are −∇(E + V).

Each conservative bias is a small torch module from u (F,) to V (F,) in eV; u is in eV, eV/Å or
without unit, by the kind of the collective variable. Exploration needs dV/du < 0.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


class Bias(nn.Module):
    """Base of the conservative biases: V depends on u alone, so runs can be reweighted."""

    def energy_and_slope(self, uncertainty: Tensor) -> tuple[Tensor, Tensor]:
        """Return V (F,) in eV and dV/du (F,), detached."""
        with torch.enable_grad():
            u = uncertainty.detach().requires_grad_()
            energy = self(u)
            (slope,) = torch.autograd.grad(energy.sum(), u)
        return energy.detach(), slope


class LinearBias(Bias):
    """V(u) = −strength · u.

    Parameters
    ----------
    strength : float
        Energy per unit of u: dimensionless for an energy uncertainty, Å for a force uncertainty,
        eV for a dimensionless one. Positive drives towards high uncertainty.

    Notes
    -----
    Source: van der Oord et al., npj Comput. Mater. 9, 168 (2023). V is unbounded below where u
    grows without bound; add a stop rule.

    Examples
    --------
    >>> float(LinearBias(strength=0.5)(torch.tensor(2.0)))
    -1.0
    """

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = _finite("strength", strength)

    def forward(self, u: Tensor) -> Tensor:
        """Return V (F,) in eV."""
        return -self.strength * u

    def extra_repr(self) -> str:
        """Return the settings in words."""
        return f"strength={self.strength}"


class HarmonicBias(Bias):
    """V(u) = strength/2 · (u − centre)²: holds u near a value.

    Parameters
    ----------
    strength : float
        Force constant in eV per squared unit of u, not negative.
    centre : float
        In the unit of u.

    Notes
    -----
    Equal to PLUMED's RESTRAINT with AT=centre and KAPPA=strength, both in PLUMED's units.

    Examples
    --------
    >>> float(HarmonicBias(strength=2.0, centre=0.5)(torch.tensor(1.5)))
    1.0
    """

    def __init__(self, strength: float, centre: float) -> None:
        super().__init__()
        self.strength = _finite("strength", strength)
        self.centre = _finite("centre", centre)
        if self.strength < 0.0:
            raise ValueError(
                f"strength is {strength}; expected a number that is not negative: a negative one "
                "has no lower bound (LinearBias drives towards high u)"
            )

    def forward(self, u: Tensor) -> Tensor:
        """Return V (F,) in eV."""
        return 0.5 * self.strength * (u - self.centre) * (u - self.centre)

    def extra_repr(self) -> str:
        """Return the settings in words."""
        return f"strength={self.strength}, centre={self.centre}"


@dataclass(frozen=True)
class AdaptiveBias:
    """Bias force of fixed size relative to the physical force; exploration only.

    F_i = F̄_i + strength · c · a_i · ∇_i u, with c = sqrt(⟨Σ|F|²⟩ / ⟨Σ|∇u|²⟩) over the last
    ``window`` steps of the walker; no bias until the window is full. It has no potential: runs
    cannot be reweighted and energy is not conserved. c ∇u does not change when u is rescaled.

    Parameters
    ----------
    strength : float
        Size of the bias force relative to the physical one.
    hydrogen : float
        Weight a of hydrogen; all other elements have 1. The default 0 leaves fast modes alone.
    window : int
        Steps.

    Notes
    -----
    Source: Zaverkin et al., npj Comput. Mater. 10, 83 (2024).
    """

    strength: float = 0.25
    hydrogen: float = 0.0
    window: int = 100

    def __post_init__(self) -> None:
        _finite("strength", self.strength)
        _finite("hydrogen", self.hydrogen)
        if self.window < 1:
            raise ValueError(f"window is {self.window} steps; expected at least 1")


def _finite(name: str, value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}; expected a finite number")
    return float(value)
