"""Several biases at once, such as a drive and a wall."""

import numpy as np
import torch
from torch import Tensor, nn

from uncv.bias.base import Bias, FloatArray


class SumBias(Bias):
    """V(u) = Σ V_i(u).

    Parameters
    ----------
    *biases : Bias
        Conservative biases, at least one.

    Raises
    ------
    TypeError
        If one is not a function of u alone.

    Examples
    --------
    >>> from uncv.bias import CeilingBias, LinearBias
    >>> both = SumBias(LinearBias(0.5), CeilingBias(10.0, u_max=1.0))
    >>> both(torch.tensor([1.0, 2.0])).tolist()
    [-0.5, 4.0]
    """

    def __init__(self, *biases: Bias) -> None:
        super().__init__()
        if not biases:
            raise ValueError("there is nothing to add up; give at least one bias")
        for bias in biases:
            if not isinstance(bias, Bias):
                raise TypeError(
                    f"{type(bias).__name__} is not a function of u alone; expected conservative "
                    "biases, such as LinearBias"
                )
        self.biases = nn.ModuleList(biases)

    def forward(self, u: Tensor) -> Tensor:
        """Return V (F,) in eV."""
        total = torch.zeros_like(u)
        for bias in self.biases:
            total = total + bias(u)
        return total

    def written_out(self, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return V and dV/du (F,) in numpy, or by autograd of a part that has neither."""
        parts = [bias.at(u) for bias in self._parts()]
        energies, slopes = zip(*parts, strict=True)
        return np.add.reduce(energies), np.add.reduce(slopes)

    def formula(self, u: str) -> str:
        """Return V as an expression of a term u."""
        return "+".join(f"({bias.formula(u)})" for bias in self._parts())

    def scaled(self, factor: float) -> "SumBias":
        """Return the bias factor · V(u)."""
        return SumBias(*(bias.scaled(factor) for bias in self._parts()))

    def max_slope(self) -> float:
        """Return the sum of the bounds of the parts."""
        return sum(bias.max_slope() for bias in self._parts())

    def __repr__(self) -> str:
        """Return all parts on one line."""
        return f"SumBias({', '.join(map(repr, self._parts()))})"

    def _parts(self) -> list[Bias]:
        return [bias for bias in self.biases if isinstance(bias, Bias)]
