"""The compiled networks, differentiable by autograd: `read_compiled` is `AniReadout.read`."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from uncv.groups import AtomGroups
from uncv.models.ani_readout import AniReadout
from uncv.models.readout_kernel import CompiledNetworks, Run, combine
from uncv.protocols import MemberOutput


def read_compiled(
    of: AniReadout, compiled: CompiledNetworks, described: Tensor, groups: AtomGroups, extra: str
) -> MemberOutput:
    """Return what ``of.read`` returns without extras or with 'last_layer', in less time."""

    def plain(x: Tensor) -> Tensor:
        return of.read(x, groups, extra).atomic_energies

    def both(x: Tensor) -> tuple[Tensor, Tensor | None]:
        output = of.read(x, groups, extra)
        return output.atomic_energies, output.last_layer

    if extra == "":
        atomic = NetworkPass.apply(described, Readout(compiled, groups, of.scale, plain))
        return of.answer(atomic, described, groups, None, None, None)
    atomic, last = LastLayerPass.apply(described, Readout(compiled, groups, of.scale, both))
    return of.answer(atomic, described, groups, last, None, None)


class Readout(NamedTuple):
    """What the passes below are given beside descriptors.

    Attributes
    ----------
    compiled : CompiledNetworks
        The networks.
    groups : AtomGroups
        Which atoms belong to which.
    scale : float
        From their output to eV.
    plain : callable
        Returns the same from the descriptors in plain torch, where the backward pass has to be
        differentiated itself (``create_graph``).
    """

    compiled: CompiledNetworks
    groups: AtomGroups
    scale: float
    plain: Any

    def energies(self, found: Run) -> Tensor:
        """Return atomic energies (M, F, A), float64, eV."""
        shape = self.groups.numbers.shape
        return found.energies.to(torch.float64).mul_(self.scale).unflatten(1, shape)

    def pull_back(self, bar: Tensor, gradients: Tensor) -> Tensor:
        """Return the gradient by the descriptors from that by the atomic energies."""
        return combine((bar.flatten(1) * self.scale).to(gradients.dtype), gradients)


class NetworkPass(torch.autograd.Function):
    """Atomic energies (M, F, A) of descriptors (N, D): ``apply(described, readout)``.

    The backward pass is one product.
    """

    @staticmethod
    def forward(ctx: Any, described: Tensor, readout: Readout) -> Tensor:
        """Return the energies."""
        wanted = ctx.needs_input_grad[0]
        found = readout.compiled.run(described, readout.groups, slopes=wanted)
        ctx.save_for_backward(described, found.gradients)
        ctx.readout = readout
        return readout.energies(found)

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor, None]:
        """Return the gradient by the descriptors."""
        described, gradients = ctx.saved_tensors
        if torch.is_grad_enabled():
            said = ctx.readout.plain(described)
            return torch.autograd.grad(said, described, bar, create_graph=True)[0], None
        return ctx.readout.pull_back(bar, gradients), None


class LastLayerPass(torch.autograd.Function):
    """Atomic energies (M, F, A) and the last layer's input times the scale (M, F, A, H)."""

    @staticmethod
    def forward(ctx: Any, described: Tensor, readout: Readout) -> tuple[Tensor, Tensor]:
        """Return both."""
        wanted = ctx.needs_input_grad[0]
        found = readout.compiled.run(described, readout.groups, slopes=wanted, last=True)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(described, found.gradients, found.slopes)
        ctx.readout = readout
        last = cast("Tensor", found.last).mul_(readout.scale)
        return readout.energies(found), last.unflatten(1, readout.groups.numbers.shape)

    @staticmethod
    def backward(ctx: Any, bar: Tensor | None, of_last: Tensor | None) -> tuple[Tensor, None]:
        """Return the gradient by the descriptors."""
        described, gradients, slopes = ctx.saved_tensors
        readout = ctx.readout
        if torch.is_grad_enabled():
            both = zip(readout.plain(described), (bar, of_last), strict=True)
            values, bars = zip(*((v, b) for v, b in both if b is not None), strict=True)
            return torch.autograd.grad(values, described, bars, create_graph=True)[0], None
        if bar is None:
            found = torch.zeros_like(described)
        else:
            found = readout.pull_back(bar, gradients)
        if of_last is not None:
            given = of_last.flatten(1, 2) * readout.scale
            readout.compiled.back(given, slopes, readout.groups, found)
        return found, None
