"""The descriptor and its derivatives by the fastest way there is, differentiable by autograd.

Compiled code (``uncv.models.kernel``) on the CPU, plain torch elsewhere or where the library is
missing; the values are the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from uncv.models import kernel, library
from uncv.models.aev import Aev, Graph


class KernelDescriptor(torch.autograd.Function):
    """Descriptors (N, D) of pair vectors (P, 3): ``KernelDescriptor.apply(vectors, aev, graph)``.

    The backward pass is one product with the transposed Jacobian. If it has to be differentiated
    itself (``create_graph``), ``Aev.forward`` and autograd take over; `PullBack` avoids that. Many
    gradients at once are `PullBack` of many cotangents, not ``is_grads_batched``.
    """

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, aev: Aev, graph: Graph) -> Tensor:
        """Return the descriptors."""
        ctx.save_for_backward(vectors)
        ctx.aev, ctx.graph = aev, graph
        if library.supports(vectors):
            return kernel.describe(aev, vectors, graph.begin, graph.other_species)
        return aev(vectors, graph)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient with respect to the vectors."""
        (vectors,) = ctx.saved_tensors
        if not torch.is_grad_enabled():
            gradients = _pull_back(cotangent.unsqueeze(0), vectors.detach(), ctx.aev, ctx.graph)
            return gradients.squeeze(0), None, None
        described = ctx.aev(vectors, ctx.graph)
        (gradient,) = torch.autograd.grad(described, vectors, cotangent, create_graph=True)
        return gradient, None, None


class PullBack(torch.autograd.Function):
    """Jᵀg (K, P, 3) of K cotangents: ``PullBack.apply(cotangents (K, N, D), vectors, aev, graph)``.

    With forces F = −Jᵀ ∂E/∂descriptor, its backward pass is one product with J, and where the
    vectors require a gradient too, one with the second derivatives of the descriptor. A backward
    pass that has to be differentiated itself takes the latter in plain torch.
    """

    @staticmethod
    def forward(cotangents: Tensor, vectors: Tensor, aev: Aev, graph: Graph) -> Tensor:
        """Return the products."""
        return _pull_back(cotangents, vectors, aev, graph)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Aev, Graph], output: Tensor) -> None:
        """Keep the geometry, and the cotangents if the vectors require a gradient."""
        cotangents, vectors, ctx.aev, ctx.graph = inputs
        ctx.save_for_backward(vectors, *((cotangents,) if ctx.needs_input_grad[1] else ()))

    @staticmethod
    def backward(ctx: Any, tangents: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Return the gradients with respect to the cotangents and the vectors."""
        vectors, *curved = ctx.saved_tensors
        if not curved:
            return PushForward.apply(tangents, vectors, ctx.aev, ctx.graph), None, None, None
        cotangents = curved[0]
        if torch.is_grad_enabled() or not library.supports(vectors):
            return *_plain_slopes(cotangents, vectors, tangents, ctx.aev, ctx.graph), None, None
        pairs = vectors, ctx.graph.begin, ctx.graph.other_species
        wanted = ctx.needs_input_grad[0]
        pushed = kernel.push_forward(ctx.aev, tangents, *pairs) if wanted else None
        return pushed, kernel.curve(ctx.aev, cotangents, tangents, *pairs).sum(dim=0), None, None


class PushForward(torch.autograd.Function):
    """Jv (K, N, D) of K tangents: ``PushForward.apply(tangents (K, P, 3), vectors, aev, graph)``.

    Its backward pass is `PullBack`. It is linear in the tangents, and differentiable by them any
    number of times and by nothing else: the vectors must not require a gradient.
    """

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Aev, Graph], output: Tensor) -> None:
        """Keep the geometry; refuse what would silently lose a part of the derivative.

        Raises
        ------
        ValueError
            If the vectors require a gradient.
        """
        if ctx.needs_input_grad[1]:
            raise ValueError(
                "the product with the descriptor's Jacobian is not differentiable by the pair "
                "vectors, which require a gradient here; detach them, or use KernelDescriptor"
            )
        ctx.save_for_backward(inputs[1])
        ctx.aev, ctx.graph = inputs[2:]

    @staticmethod
    def forward(tangents: Tensor, vectors: Tensor, aev: Aev, graph: Graph) -> Tensor:
        """Return the products."""
        if library.supports(vectors):
            return kernel.push_forward(aev, tangents, vectors, graph.begin, graph.other_species)
        with torch.enable_grad():
            leaf = vectors.detach().requires_grad_()
            described = aev(leaf, graph)
            # Jᵀg is linear in g, so its derivative along g, weighted by v, is Jv for any g.
            probe = torch.zeros_like(described, requires_grad=True)
            (pulled,) = torch.autograd.grad(described, leaf, probe, create_graph=True)
            return _gradients(pulled, probe, tangents)

    @staticmethod
    def backward(ctx: Any, cotangents: Tensor) -> tuple[Tensor, None, None, None]:
        """Return the gradient with respect to the tangents."""
        (vectors,) = ctx.saved_tensors
        return PullBack.apply(cotangents, vectors, ctx.aev, ctx.graph), None, None, None


def _pull_back(cotangents: Tensor, vectors: Tensor, aev: Aev, graph: Graph) -> Tensor:
    if library.supports(vectors):
        return kernel.pull_back(aev, cotangents, vectors, graph.begin, graph.other_species)
    with torch.enable_grad():
        leaf = vectors.detach().requires_grad_()
        return _gradients(aev(leaf, graph), leaf, cotangents)


def _plain_slopes(
    cotangents: Tensor, vectors: Tensor, tangents: Tensor, aev: Aev, graph: Graph
) -> tuple[Tensor, Tensor]:
    """Return the gradients of ⟨Jᵀg, v⟩ by cotangents and vectors, differentiable if those are."""
    further = torch.is_grad_enabled()
    with torch.enable_grad():
        # Tensors of their own, lest the gradient by the vectors hold how cotangents depend on them.
        g, x = (t.view_as(t).requires_grad_() for t in (cotangents, vectors))
        described = aev(x, graph)
        total = 0.0 * (g.sum() + x.sum())
        for weights, along in zip(g, tangents, strict=True):
            (pulled,) = torch.autograd.grad(described, x, weights, create_graph=True)
            total = total + (pulled * along).sum()
        by_cotangents, by_vectors = torch.autograd.grad(total, (g, x), create_graph=further)
    return by_cotangents, by_vectors


def _gradients(value: Tensor, leaf: Tensor, weights: Tensor) -> Tensor:
    rows = [torch.autograd.grad(value, leaf, w, retain_graph=True)[0] for w in weights.detach()]
    return torch.stack(rows) if rows else leaf.new_zeros((0, *leaf.shape))
