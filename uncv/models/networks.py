"""Networks of one chemical element, all members of the ensemble at once.

The members are a leading axis of the weights, so that an ensemble is a few batched matrix
products. In the first layer they share their input, and one matrix product serves them all.
"""

from itertools import pairwise
from typing import Final, Tuple  # noqa: UP035  TorchScript wants typing's names

import torch
from torch import Tensor, nn

from uncv.protocols import LayerTape

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
    outputs : int
        1 + K: the energy, and what a head beside it gives, a layer of its own on the last hidden
        one.
    """

    smooth: Final[bool]

    def __init__(
        self,
        members: int,
        inputs: int,
        hidden: tuple[int, ...],
        activation: str,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        if not hidden or min(hidden) < 1:
            raise ValueError(f"hidden layers are {hidden}; expected at least one width above 0")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation {activation!r} is unknown; expected one of {ACTIVATIONS}")
        self.smooth = activation == "silu"
        self.outputs = outputs
        self.first = SharedInputLinear(members, inputs, hidden[0])
        widths = [*hidden, 1]
        self.rest = nn.ModuleList(BatchedLinear(members, a, b) for a, b in pairwise(widths))
        heads = [BatchedLinear(members, hidden[-1], outputs - 1)] if outputs > 1 else []
        self.head = nn.ModuleList(heads)

    def forward(self, x: Tensor) -> Tensor:
        """Return the energy of each atom and member (M, n), in units of the output scale."""
        return self.run(x)[0].select(2, 0)

    def run(self, x: Tensor) -> Tuple[Tensor, Tensor]:  # noqa: UP006
        """Return all outputs (M, n, 1 + K) and the input of the last layer (M, n, H)."""
        z, activated = self.first(x), x
        for layer in self.rest:
            activated = self._activate(z)
            z = layer(activated)
        for head in self.head:
            z = torch.cat([z, head(activated)], dim=2)
        return z, activated

    def tape(self, x: Tensor, scale: float) -> Tuple[Tensor, LayerTape]:  # noqa: UP006
        """Return all outputs (M, n, 1 + K), and what each layer takes and does to the energy.

        The slopes δ of the energy, times the scale, go down δ_l = (δ_(l+1) W_(l+1)ᵀ) ∘ σ'(z_l);
        all of it is differentiable in x once more.
        """
        z = self.first(x)
        inputs, before, weights = [x.unsqueeze(0)], [z], [z]
        for layer in self.rest:
            inputs.append(self._activate(z))
            z = layer(inputs[-1])
            before.append(z)
            weights.append(layer.weight)
        delta = torch.full_like(z, scale)
        weight = weights[-1]
        deltas = [delta]
        for depth in range(len(weights) - 2, -1, -1):
            delta = torch.matmul(delta, weight.transpose(1, 2)) * self._slope(before[depth])
            deltas.append(delta)
            weight = weights[depth]
        deltas.reverse()
        for head in self.head:
            z = torch.cat([z, head(inputs[-1])], dim=2)
        return z, LayerTape(inputs, deltas)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw weights of variance 1/inputs (LeCun), member by member, biases zero."""
        with torch.no_grad():
            for layer in [self.first, *self.rest, *self.head]:
                inputs = layer.weight.shape[0 if layer is self.first else 1]
                layer.weight.normal_(0.0, inputs**-0.5, generator=generator)
                layer.bias.zero_()

    def _activate(self, z: Tensor) -> Tensor:
        return torch.nn.functional.silu(z) if self.smooth else torch.celu(z, 0.1)

    def _slope(self, z: Tensor) -> Tensor:
        if self.smooth:
            share = torch.sigmoid(z)
            return share * (1.0 + z * (1.0 - share))
        return torch.exp(z.clamp(max=0.0) / 0.1)
