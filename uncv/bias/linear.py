"""The bias of hyperactive learning: a constant drive towards high uncertainty."""

import numpy as np
from torch import Tensor

from uncv.bias.base import Bias, FloatArray, finite


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
    grows without bound: add a `CeilingBias` or a stop rule.

    Examples
    --------
    >>> import torch
    >>> float(LinearBias(strength=0.5)(torch.tensor(2.0)))
    -1.0
    """

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = finite("strength", strength)

    def forward(self, u: Tensor) -> Tensor:
        """Return V (F,) in eV."""
        return -self.strength * u

    def written_out(self, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return V and dV/du (F,) in numpy."""
        return -self.strength * u, np.full_like(u, -self.strength)

    def formula(self, u: str) -> str:
        """Return V as an expression of a term u."""
        return f"{-self.strength!r}*{u}"

    def scaled(self, factor: float) -> "LinearBias":
        """Return the bias factor · V(u)."""
        return LinearBias(factor * self.strength)

    def max_slope(self) -> float:
        """Return |strength|."""
        return abs(self.strength)

    def extra_repr(self) -> str:
        """Return the settings in words."""
        return f"strength={self.strength}"
