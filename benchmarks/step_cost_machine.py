"""What this machine achieves, measured beside the steps: matrix products and memory.

Products are torch's in single precision: one of large square matrices, and those of the networks
at the shapes at hand. Reading is a sum over as many bytes as the weights take, again and again, so
from a cache where they fit in one; copying is of arrays larger than any cache.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from uncv.models import AniPotential

LARGE = 1024
COPIED = 2**26
"""Numbers of each of the two arrays that are copied: 256 MB."""


class Large:
    """The product of two large matrices."""

    operations = 2.0 * LARGE**3

    def __init__(self) -> None:
        self._a, self._b = torch.rand(LARGE, LARGE), torch.rand(LARGE, LARGE)
        self._out = torch.empty(LARGE, LARGE)

    def __call__(self) -> None:
        """Multiply once."""
        torch.mm(self._a, self._b, out=self._out)


class AsNetworks:
    """The products of the networks for so many atoms of each element, forward and backward.

    All members of a layer are one batched product; in the first they share their input.

    Parameters
    ----------
    potential : AniPotential
        Its shapes.
    counts : dict
        Atoms of each element, walkers included.
    """

    def __init__(self, potential: AniPotential, counts: dict[int, int]) -> None:
        self.operations = 0.0
        self._products: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        members, width = potential.members, potential.aev.width
        for z, hidden in zip(potential.elements, potential.settings.hidden, strict=True):
            if not counts[z]:
                continue
            first = members * hidden[0]
            self._add((counts[z], width, first), (counts[z], first, width))
            for below, above in zip(hidden, (*hidden[1:], 1), strict=True):
                up, down = (counts[z], below, above), (counts[z], above, below)
                self._add((members, *up), (members, *down))

    def __call__(self) -> None:
        """Make every product once."""
        for a, b, out in self._products:
            torch.matmul(a, b, out=out)

    def _add(self, *shapes: tuple[int, ...]) -> None:
        for *batch, n, inner, m in shapes:
            a, b = torch.rand(*batch, n, inner), torch.rand(*batch, inner, m)
            self._products.append((a, b, torch.empty(*batch, n, m)))
            self.operations += 2.0 * out_of(batch) * n * inner * m


def out_of(batch: list[int]) -> int:
    """Return how many products a batch is."""
    return batch[0] if batch else 1


def reading(size: float) -> tuple[Callable[[], None], float]:
    """Return a call that reads an array several times, and the bytes that it reads."""
    numbers = torch.rand(int(size) // 4)
    again = max(1, int(4e7 / size))

    def read() -> None:
        for _ in range(again):
            numbers.sum()

    return read, 4.0 * len(numbers) * again


def copying() -> tuple[Callable[[], None], float]:
    """Return a call that copies more than any cache holds, and the bytes read and written."""
    source, target = torch.ones(COPIED), torch.empty(COPIED)

    def copy() -> None:
        target.copy_(source)

    return copy, 8.0 * COPIED
