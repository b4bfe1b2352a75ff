"""Products with the Jacobian of descriptors: dense ones kept from epoch to epoch, or from pairs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from uncv.models.aev import Aev, Graph, Triples
from uncv.models.descriptor import PushForward
from uncv.models.neighbours import Pairs

STRAINS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""Strain components in Voigt's order."""


def dense_jacobian(aev: Aev, vectors: Tensor, graph: Graph, *, strain: bool) -> Tensor:
    """Return ∂descriptor/∂(position, strain) of a frame, (A·D, 3A) or (A·D, 3A + 6).

    One product with the Jacobian for each coordinate, all in one call.

    Parameters
    ----------
    aev : Aev
        The descriptor of width D.
    vectors : torch.Tensor
        Pair vectors (P, 3) in Å of a frame of A atoms.
    graph : Graph
        Its neighbours.
    strain : bool
        Whether to add the six symmetric strains.
    """
    atoms = torch.arange(graph.atoms)[:, None]
    moves = (graph.pairs.other == atoms).to(vectors.dtype)
    moves -= (graph.pairs.centre == atoms).to(vectors.dtype)
    eye = torch.eye(3, dtype=vectors.dtype)
    tangents = torch.einsum("ap,cx->acpx", moves, eye).flatten(0, 1)
    if strain:
        tangents = torch.cat(
            [tangents, torch.stack([_stretched(vectors, a, b) for a, b in STRAINS])]
        )
    with torch.no_grad():
        pushed = PushForward.apply(tangents.contiguous(), vectors, aev, graph)
    return pushed.flatten(1).T.contiguous()


def voigt(gradients: Tensor, vectors: Tensor) -> Tensor:
    """Return ∂E/∂strain of each pair (M, P, 6) from ∂E/∂vector (M, P, 3)."""
    outer = gradients.unsqueeze(3) * vectors.unsqueeze(1)
    return torch.stack([0.5 * (outer[..., a, b] + outer[..., b, a]) for a, b in STRAINS], dim=2)


class DenseProduct(torch.autograd.Function):
    """Jᵀg of frames with kept Jacobians, side by side: (M, Σ columns).

    ``DenseProduct.apply(slopes (M, N, D), jacobians [(A·D, columns)], counts [A])``. A loop over
    frames, since putting Jacobians into a batch would copy them.
    """

    @staticmethod
    def forward(ctx: Any, slopes: Tensor, jacobians: list[Tensor], counts: list[int]) -> Tensor:
        """Return the products."""
        ctx.jacobians, ctx.counts, ctx.width = jacobians, counts, slopes.shape[2]
        blocks = slopes.split(counts, dim=1)
        return torch.cat([b.flatten(1) @ j for b, j in zip(blocks, jacobians, strict=True)], dim=1)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient with respect to the slopes."""
        parts = cotangent.split([j.shape[1] for j in ctx.jacobians], dim=1)
        blocks = [
            (p @ j.T).unflatten(1, (n, ctx.width))
            for p, j, n in zip(parts, ctx.jacobians, ctx.counts, strict=True)
        ]
        return torch.cat(blocks, dim=1), None, None


def join_graphs(aev: Aev, graphs: list[Graph]) -> Graph:
    """Return the graph of the atoms of several frames, one frame after the other.

    It has no periodic shifts: the pair vectors are known already.
    """
    atoms = torch.tensor([0, *(g.atoms for g in graphs)]).cumsum(0).tolist()
    pairs = torch.tensor([0, *(len(g.other_species) for g in graphs)]).cumsum(0).tolist()

    def joined(parts: list[Tensor], offsets: list[int], factor: int = 1) -> Tensor:
        return torch.cat([p + factor * o for p, o in zip(parts, offsets[:-1], strict=True)])

    triples = [g.triples for g in graphs]
    return Graph(
        Pairs(
            joined([g.pairs.centre for g in graphs], atoms),
            joined([g.pairs.other for g in graphs], atoms),
            graphs[0].pairs.shift[:0],
        ),
        Triples(
            joined([t.first for t in triples], pairs),
            joined([t.second for t in triples], pairs),
            joined([t.radial_slot for t in triples], atoms, aev.species),
            joined([t.angular_slot for t in triples], atoms, aev.species_pairs),
        ),
        atoms[-1],
        torch.cat([joined([g.begin[:-1] for g in graphs], pairs), torch.tensor(pairs[-1:])]),
        torch.cat([g.other_species for g in graphs]),
    )


def _stretched(vectors: Tensor, a: int, b: int) -> Tensor:
    """Return the change of vectors (P, 3) with the symmetric strain ab."""
    change = torch.zeros_like(vectors)
    change[:, a] += 0.5 * vectors[:, b]
    change[:, b] += 0.5 * vectors[:, a]
    return change
