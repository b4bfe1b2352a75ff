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
    itself (``create_graph``), ``Aev.forward`` and autograd take over; `PullBack` and
    `PushForward` avoid that where vectors need no second derivative. Many gradients at once are
    `PullBack` of many cotangents, not ``is_grads_batched``.
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


class _Product(torch.autograd.Function):
    """A product with the Jacobian J or its transpose, linear in its first argument.

    Each is the backward pass of the other, so both can be differentiated any number of times
    by the first argument and by nothing else: the vectors must not require a gradient.
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
                "products with the descriptor's Jacobian are not differentiable by the pair "
                "vectors, which require a gradient here; detach them, or use KernelDescriptor"
            )
        ctx.save_for_backward(inputs[1])
        ctx.aev, ctx.graph = inputs[2:]


class PullBack(_Product):
    """Jᵀg (K, P, 3) of K cotangents: ``PullBack.apply(cotangents (K, N, D), vectors, aev, graph)``.

    With forces F = −Jᵀ ∂E/∂descriptor, its backward pass is one product with J: training on forces
    without a second derivative of the descriptor.
    """

    @staticmethod
    def forward(cotangents: Tensor, vectors: Tensor, aev: Aev, graph: Graph) -> Tensor:
        """Return the products."""
        return _pull_back(cotangents, vectors, aev, graph)

    @staticmethod
    def backward(ctx: Any, tangents: Tensor) -> tuple[Tensor, None, None, None]:
        """Return the gradient with respect to the cotangents."""
        (vectors,) = ctx.saved_tensors
        return PushForward.apply(tangents, vectors, ctx.aev, ctx.graph), None, None, None


class PushForward(_Product):
    """Jv (K, N, D) of K tangents: ``PushForward.apply(tangents (K, P, 3), vectors, aev, graph)``.

    Its backward pass is `PullBack`.
    """

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


def _gradients(value: Tensor, leaf: Tensor, weights: Tensor) -> Tensor:
    rows = [torch.autograd.grad(value, leaf, w, retain_graph=True)[0] for w in weights.detach()]
    return torch.stack(rows) if rows else leaf.new_zeros((0, *leaf.shape))
