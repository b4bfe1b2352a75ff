"""The forces of each member of an ensemble, differentiable once more.

A member's energy follows from the descriptors q alone, so its forces are −Jᵀ ∂E_m/∂q with the
Jacobian J of the descriptor. `SlopePass` gives the slopes ∂E_m/∂q and `PullBack` multiplies all of
them by Jᵀ at once; both know their own derivatives, so that no graph is differentiated twice.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from uncv.groups import AtomGroups, ungroup_members
from uncv.models.aev import Aev, Graph
from uncv.models.ani_readout import AniReadout
from uncv.models.descriptor import PullBack
from uncv.models.networks import ElementNetwork
from uncv.models.slope_pass import SlopePass, plain_slopes
from uncv.protocols import MemberOutput


def read_with_forces(
    of: AniReadout, described: Tensor, vectors: Tensor, graph: Graph, groups: AtomGroups
) -> MemberOutput:
    """Return what ``of.read`` says, and the forces of each member.

    Parameters
    ----------
    of : AniReadout
        Networks and descriptor.
    described : torch.Tensor
        Descriptors (F·A, D) of the vectors.
    vectors : torch.Tensor
        Pair vectors (P, 3) in Å.
    graph : Graph
        Neighbours.
    groups : AtomGroups
        Atoms of each element.
    """
    said = energy_slopes(of.networks, described, groups, of.scale)
    atomic = said.outputs.to(torch.float64) * of.scale
    output = of.answer(atomic, described, groups, None, None, None)
    forces = member_forces(said.gradients, vectors, of.aev, graph)
    return output._replace(member_forces=forces.unflatten(1, groups.numbers.shape))


class Slopes(NamedTuple):
    """What members say of each atom, and how it depends on the descriptors.

    Attributes
    ----------
    outputs : torch.Tensor
        Their energies, in units of the output scale (M, F, A).
    gradients : torch.Tensor
        Of these energies in eV, each by the atom's own descriptor (M, F·A, D).
    """

    outputs: Tensor
    gradients: Tensor


def energy_slopes(
    networks: nn.ModuleList, described: Tensor, groups: AtomGroups, scale: float
) -> Slopes:
    """Return energies and slopes of descriptors (F·A, D), differentiable by these and by weights.

    Parameters
    ----------
    networks : torch.nn.ModuleList
        One `ElementNetwork` for each element.
    described : torch.Tensor
        Descriptors.
    groups : AtomGroups
        Atoms of each element.
    scale : float
        Factor from the networks' output to eV.
    """
    trained = any(p.requires_grad for p in networks.parameters())
    said = plain_slopes if trained else SlopePass.apply
    parts = [
        said(described.index_select(0, rows), cast("ElementNetwork", network), scale)
        for rows, network in zip(groups.rows, networks, strict=True)
    ]
    outputs, slopes = (ungroup_members(list(p), groups) for p in zip(*parts, strict=True))
    return Slopes(outputs.select(3, 0), slopes.flatten(1, 2))


def member_forces(gradients: Tensor, vectors: Tensor, aev: Aev, graph: Graph) -> Tensor:
    """Return forces (M, F·A, 3), float64, eV/Å.

    Parameters
    ----------
    gradients : torch.Tensor
        Of the members' energies by the descriptors (M, F·A, D), eV.
    vectors : torch.Tensor
        Pair vectors (P, 3) in Å.
    aev : Aev
        The descriptor.
    graph : Graph
        Neighbours.
    """
    pulled = PullBack.apply(gradients, vectors, aev, graph).to(torch.float64)
    forces = pulled.new_zeros((len(pulled), graph.atoms, 3))
    for atoms, part in ((graph.pairs.centre, pulled), (graph.pairs.other, -pulled)):
        forces = forces.scatter_add(1, atoms[None, :, None].expand_as(part), part)
    return forces
