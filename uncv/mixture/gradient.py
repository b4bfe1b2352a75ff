"""u of a mixture and its gradient, for all elements at once: the way taken at every step of a run.

The atoms of the elements are laid side by side, as many places for each as the most frequent one
needs, so that a step is a few batched products whatever the number of elements and components.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from uncv.groups import AtomGroups


class Parameters(NamedTuple):
    """Mixtures of the elements E, as `uncv.mixture.Mixtures` keeps them."""

    axes: Tensor
    origin: Tensor
    factors: Tensor
    offsets: Tensor
    log_weights: Tensor
    slope: Tensor
    shift: Tensor


class Layout(NamedTuple):
    """Atoms side by side by element, for the elements that are there.

    Attributes
    ----------
    atoms : torch.Tensor
        Which atom stands at each place (E·n,); any atom where a place is empty.
    places : torch.Tensor
        Where each atom stands (F·A,); any place for padding.
    padding : torch.Tensor or None
        True on padding (F·A,); None without padding.
    of : Parameters
        Of these elements, with an axis of length 1 for the atoms.
    axes_back, factors_back : torch.Tensor
        Transposed (E, d, D) and (E, K·d, d).
    """

    atoms: Tensor
    places: Tensor
    padding: Tensor | None
    of: Parameters
    axes_back: Tensor
    factors_back: Tensor


class MixtureUncertainty(torch.autograd.Function):
    """Features (F, A, D) to softplus((−log p − q) / s) + δ (F, A), float64, 0 on padding.

    With the shares r_k of the components in p, ∂(−log p)/∂z = Σ_k r_k P_k y_k.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, layout: Layout, delta: float) -> Tensor:
        """Return u."""
        of, shape = layout.of, features.shape
        x = features.reshape(-1, shape[2]).index_select(0, layout.atoms).to(torch.float64)
        z = torch.baddbmm(of.origin, x.view(of.axes.shape[0], -1, shape[2]), of.axes)
        y = torch.baddbmm(of.offsets, z, of.factors)
        y = y.view(z.shape[0], z.shape[1], -1, z.shape[2])
        exponents = torch.sub(of.log_weights, y.square().sum(dim=3), alpha=0.5)
        log_shares = torch.log_softmax(exponents, dim=2)
        total = exponents.select(2, 0) - log_shares.select(2, 0)
        steps = torch.addcmul(of.shift, of.slope, total, value=-1.0)
        ctx.of = (features.dtype, shape, layout, y, log_shares, steps)
        u = torch.nn.functional.softplus(steps).add_(delta).view(-1)
        u = u.index_select(0, layout.places)
        return _cleared(u, layout.padding).view(shape[:2])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient by the features, in their own type."""
        dtype, shape, layout, y, log_shares, steps = ctx.of
        outer = cotangent.reshape(-1).index_select(0, layout.atoms).view_as(steps)
        outer = (outer * layout.of.slope).mul_(torch.sigmoid(steps))
        shares = log_shares.exp().mul_(outer.unsqueeze(2))
        of_z = torch.bmm((y * shares.unsqueeze(3)).flatten(2), layout.factors_back)
        of_x = torch.bmm(of_z, layout.axes_back).view(-1, shape[2])
        of_x = _cleared(of_x.index_select(0, layout.places), layout.padding)
        return of_x.to(dtype).view(shape), None, None


class LastLayout:
    """The layout of the last batch, for as long as its groups and the mixtures stay."""

    def __init__(self) -> None:
        self._groups: Tensor | None = None
        self._axes: Tensor | None = None
        self._layout: Layout | None = None

    def holds(self, groups: AtomGroups, axes: Tensor) -> bool:
        """Return whether it is that of these groups and of mixtures with these axes."""
        return self._groups is groups.back and self._axes is axes

    def make(self, groups: AtomGroups, parameters: Parameters) -> None:
        """Lay out another batch."""
        atoms = bool(groups.mask.any())
        self._layout = _lay_out(groups, parameters) if atoms else None
        self._groups, self._axes = groups.back, parameters.axes

    def uncertainty(self, features: Tensor, delta: float) -> Tensor:
        """Return u (F, A) of features (F, A, D), float64, 0 on padding."""
        if self._layout is None:
            return 0.0 * features.sum(dim=2).to(torch.float64)
        return cast("Tensor", MixtureUncertainty.apply(features, self._layout, delta))


def _cleared(values: Tensor, padding: Tensor | None) -> Tensor:
    if padding is not None:
        values[padding] = 0.0
    return values


def _lay_out(groups: AtomGroups, parameters: Parameters) -> Layout:
    there = [index for index, row in enumerate(groups.rows) if len(row) > 0]
    most = max(len(groups.rows[index]) for index in there)
    atoms = torch.zeros(len(there), most, dtype=torch.int64, device=groups.back.device)
    places = torch.zeros_like(groups.back)
    for place, index in enumerate(there):
        row = groups.rows[index]
        atoms[place, : len(row)] = row
        places[row] = place * most + torch.arange(len(row), device=row.device)
    axes, origin, factors, offsets, log_weights, slope, shift = (p[there] for p in parameters)
    own = Parameters(
        axes,
        origin.unsqueeze(1),
        factors,
        offsets.unsqueeze(1),
        log_weights.unsqueeze(1),
        slope.unsqueeze(1),
        shift.unsqueeze(1),
    )
    padding = None if bool(groups.mask.all()) else ~groups.mask.flatten()
    return Layout(
        atoms.flatten(),
        places,
        padding,
        own,
        axes.transpose(1, 2).contiguous(),
        factors.transpose(1, 2).contiguous(),
    )
