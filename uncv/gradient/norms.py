"""|W_e φ + w_e| of many rows, with e the element of each, and its derivative written out.

Each norm comes as a plain function, in the subset of Python that TorchScript compiles, and as a
Function of autograd, which is quicker: it takes the slopes at once, while W is near at hand, and
from tables in the order that a product wants.
"""

from typing import Any, List, NamedTuple  # noqa: UP035  TorchScript wants typing's names

import torch
from torch import Tensor

TINY = 1e-30
"""Norms below this have no slope."""


class NormTables(NamedTuple):
    """W of all elements in three orders.

    Attributes
    ----------
    weight : torch.Tensor
        Transposed W (E, D, K).
    flat : torch.Tensor
        The same as (D, E·K).
    back : torch.Tensor
        The same as (E·K, D).
    """

    weight: Tensor
    flat: Tensor
    back: Tensor


def norms_of_places(features: Tensor, own: Tensor, flat: Tensor, offset: Tensor) -> Tensor:
    """Return the norms (n,), float64, of rows that are of any element or of none.

    Rows are multiplied by the W of all elements: more work, but less time where W is small.

    Parameters
    ----------
    features : torch.Tensor
        φ (n, D).
    own : torch.Tensor
        1 for the element of a row, otherwise 0 (n, E, 1); the norm is 0 where all are 0.
    flat : torch.Tensor
        Transposed W (D, E·K).
    offset : torch.Tensor
        w (E, K).
    """
    every = torch.addmm(offset.flatten(), features, flat)
    chosen = every.view(own.shape[0], own.shape[1], -1) * own
    return _lengths(chosen.flatten(1)).to(torch.float64)


def norms_of_rows(
    features: Tensor,
    counts: List[int],  # noqa: UP006
    weight: Tensor,
    offset: Tensor,
) -> Tensor:
    """Return the norms (n,), float64, of rows that come element after element.

    Parameters
    ----------
    features : torch.Tensor
        φ (n, D).
    counts : list of int
        Rows of each element.
    weight : torch.Tensor
        Transposed W (E, D, K).
    offset : torch.Tensor
        w (E, K).
    """
    parts: List[Tensor] = []  # noqa: UP006
    for element, rows in enumerate(torch.split(features, counts)):
        parts.append(torch.addmm(offset[element], rows, weight[element]))
    return _lengths(torch.cat(parts)).to(torch.float64)


def _lengths(rows: Tensor) -> Tensor:
    """Return |row| (n,), whose first and second derivatives are 0 where it is 0."""
    squares = rows.square().sum(dim=1)
    zero = squares == 0.0
    return squares.masked_fill(zero, 1.0).sqrt().masked_fill(zero, 0.0)


class NormsOfPlaces(torch.autograd.Function):
    """`norms_of_places`: ``NormsOfPlaces.apply(features, own, tables, offset)``."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, own: Tensor, tables: NormTables, offset: Tensor
    ) -> Tensor:
        """Return the norms, keeping their slopes."""
        every = torch.addmm(offset.flatten(), features, tables.flat)
        every.view(own.shape[0], own.shape[1], -1).mul_(own)
        norms = torch.linalg.vector_norm(every, dim=1)
        if ctx.needs_input_grad[0]:
            unit = every.div_(norms.clamp(min=TINY).unsqueeze(1))
            ctx.save_for_backward(features, own, offset, torch.mm(unit, tables.back))
            ctx.tables = tables
        return norms.to(torch.float64)

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor, None, None, None]:
        """Return the gradient by the features."""
        features, own, offset, slopes = ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated once more
            norms = norms_of_places(features, own, ctx.tables.flat, offset)
            (gradient,) = torch.autograd.grad(norms, features, bar, create_graph=True)
            return gradient, None, None, None
        return slopes * bar.to(slopes.dtype).unsqueeze(1), None, None, None


class NormsOfRows(torch.autograd.Function):
    """`norms_of_rows` of symmetric W: ``NormsOfRows.apply(features, counts, weight, offset)``."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, counts: list[int], weight: Tensor, offset: Tensor
    ) -> Tensor:
        """Return the norms, keeping their slopes."""
        mapped, slopes = torch.empty_like(features), torch.empty_like(features)
        begin = 0
        for element, count in enumerate(counts):
            own, begin = slice(begin, begin + count), begin + count
            matrix = weight[element].t()  # the same, but quicker for few rows
            torch.addmm(offset[element], features[own], matrix, out=mapped[own])
            if ctx.needs_input_grad[0]:  # now, while W is in the processor's cache
                torch.mm(mapped[own], matrix, out=slopes[own])
        norms = torch.linalg.vector_norm(mapped, dim=1)
        if ctx.needs_input_grad[0]:
            slopes.div_(norms.clamp(min=TINY).unsqueeze(1))
            ctx.save_for_backward(features, weight, offset, slopes)
            ctx.counts = counts
        return norms.to(torch.float64)

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor, None, None, None]:
        """Return the gradient by the features."""
        features, weight, offset, slopes = ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated once more
            norms = norms_of_rows(features, ctx.counts, weight, offset)
            (gradient,) = torch.autograd.grad(norms, features, bar, create_graph=True)
            return gradient, None, None, None
        return slopes * bar.to(slopes.dtype).unsqueeze(1), None, None, None
