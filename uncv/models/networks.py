"""Networks of one chemical element, all members of the ensemble at once.

The members are a leading axis of the weights, so that an ensemble is a few batched matrix
products. In the first layer they share their input, and one matrix product serves them all.
"""

from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn

ACTIVATIONS = ("silu", "celu")
CELU_ALPHA = 0.1


class BatchedLinear(nn.Module):
    """M affine maps, (M, n, in) to (M, n, out)."""

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(members, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(members, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return x W + b of each member."""
        return torch.baddbmm(self.bias, x, self.weight)


class SharedInputLinear(nn.Module):
    """M affine maps of one input, (n, in) to (M, n, out), as one matrix product."""

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(inputs, members, outputs))
        self.bias = nn.Parameter(torch.zeros(members, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return x W + b of each member."""
        together = torch.addmm(self.bias.flatten(), x, self.weight.flatten(1))
        return together.unflatten(1, self.bias.shape).transpose(0, 1)


class ElementNetwork(nn.Module):
    """Multilayer perceptron of one element for M members, (n, D) to atomic energies (M, n).

    Parameters
    ----------
    members, inputs : int
        M and D.
    hidden : tuple of int
        Widths of the hidden layers, at least one.
    activation : str
        'silu' (smooth) or 'celu' (that of ANI-1x, with a jump in its second derivative at 0).
    """

    smooth: Final[bool]

    def __init__(self, members: int, inputs: int, hidden: tuple[int, ...], activation: str) -> None:
        super().__init__()
        if not hidden or min(hidden) < 1:
            raise ValueError(f"hidden layers are {hidden}; expected at least one width above 0")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation {activation!r} is unknown; expected one of {ACTIVATIONS}")
        self.smooth = activation == "silu"
        self.first = SharedInputLinear(members, inputs, hidden[0])
        widths = [*hidden, 1]
        self.rest = nn.ModuleList(BatchedLinear(members, a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of each atom and member (M, n)."""
        z = self.first(x)
        for layer in self.rest:
            z = layer(self._activate(z))
        return z.squeeze(2)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw weights of variance 1/inputs (LeCun), member by member, biases zero."""
        with torch.no_grad():
            for layer in [self.first, *self.rest]:
                inputs = layer.weight.shape[0 if layer is self.first else 1]
                layer.weight.normal_(0.0, inputs**-0.5, generator=generator)
                layer.bias.zero_()

    def _activate(self, z: Tensor) -> Tensor:
        return torch.nn.functional.silu(z) if self.smooth else torch.celu(z, 0.1)
