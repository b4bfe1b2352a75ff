"""Atoms of a batch by element: where each network, mixture or posterior finds its own.

Written in the subset of Python that TorchScript compiles, because exported models run it too.
"""

from collections.abc import Sequence
from typing import List, NamedTuple  # noqa: UP035  TorchScript wants typing's names

import torch
from torch import Tensor, nn


class AtomGroups(NamedTuple):
    """Which atoms of a batch belong to which element of a potential.

    Attributes
    ----------
    numbers : torch.Tensor
        Atomic numbers (F, A), 0 on padding.
    mask : torch.Tensor
        True on atoms (F, A).
    rows : list of torch.Tensor
        For each element of the potential, in its order, the indices (n_e,) of its atoms among
        all F·A.
    back : torch.Tensor
        Place (F·A,) of each atom in the list of all elements' atoms; padding points past its end.
    """

    numbers: Tensor
    mask: Tensor
    rows: List[Tensor]  # noqa: UP006
    back: Tensor


def group_atoms(numbers: Tensor, elements: Sequence[int]) -> AtomGroups:
    """Return the groups of a batch.

    Parameters
    ----------
    numbers : torch.Tensor
        Atomic numbers (F, A), 0 on padding; each among the elements.
    elements : sequence of int
        Atomic numbers that the potential knows, in its order.
    """
    flat = numbers.reshape(-1)
    rows = [(flat == element).nonzero().squeeze(1) for element in elements]
    order = torch.cat(rows)
    back = torch.full_like(flat, order.shape[0])
    back[order] = torch.arange(order.shape[0], device=flat.device)
    return AtomGroups(numbers, numbers > 0, rows, back)


def ungroup(parts: List[Tensor], groups: AtomGroups) -> Tensor:  # noqa: UP006
    """Return values of the atoms of each element (n_e, ...) as (F, A, ...), zero on padding."""
    joined = torch.cat(parts)
    past_end = torch.zeros_like(joined[:1]) if joined.shape[0] > 0 else _row(parts[0], 0)
    together = torch.cat([joined, past_end]).index_select(0, groups.back)
    return together.unflatten(0, [groups.numbers.shape[0], groups.numbers.shape[1]])


def ungroup_members(parts: List[Tensor], groups: AtomGroups) -> Tensor:  # noqa: UP006
    """Return values of each member (M, n_e, ...) as (M, F, A, ...), zero on padding."""
    joined = torch.cat(parts, dim=1)
    past_end = torch.zeros_like(joined[:, :1]) if joined.shape[1] > 0 else _row(parts[0], 1)
    together = torch.cat([joined, past_end], dim=1).index_select(1, groups.back)
    return together.unflatten(1, [groups.numbers.shape[0], groups.numbers.shape[1]])


def _row(like: Tensor, dim: int) -> Tensor:
    shape = list(like.shape)
    shape[dim] = 1
    return torch.zeros(shape, dtype=like.dtype, device=like.device)


class FixedGroups(nn.Module):
    """The groups of a batch whose atoms never change, as buffers of an exported module.

    Parameters
    ----------
    numbers : torch.Tensor
        Atomic numbers (F, A).
    elements : sequence of int
        Atomic numbers that the potential knows, in its order.
    """

    numbers: Tensor
    order: Tensor
    back: Tensor

    def __init__(self, numbers: Tensor, elements: Sequence[int]) -> None:
        super().__init__()
        groups = group_atoms(numbers, elements)
        self.counts: List[int] = [len(row) for row in groups.rows]  # noqa: UP006
        self.register_buffer("numbers", numbers)
        self.register_buffer("order", torch.cat(groups.rows))
        self.register_buffer("back", groups.back)

    def forward(self) -> AtomGroups:
        """Return the groups."""
        rows = list(torch.split(self.order, self.counts))
        return AtomGroups(self.numbers, self.numbers > 0, rows, self.back)
