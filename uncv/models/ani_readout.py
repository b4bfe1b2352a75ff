"""From descriptors to energies, in the subset of Python that TorchScript compiles.

`AniPotential` is one of these, with the compiled descriptor before it; `ScriptableAni` is another,
with the descriptor in plain torch, for exported files.
"""

from typing import List, Optional  # noqa: UP035  TorchScript wants typing's names

import torch
from torch import Tensor, nn

from uncv.groups import AtomGroups, FixedGroups, ungroup_members
from uncv.models.aev import Aev
from uncv.models.neighbours import pair_vectors
from uncv.protocols import LayerTape, MemberOutput


class AniReadout(nn.Module):
    """Networks per element behind one descriptor.

    Parameters
    ----------
    aev : Aev
        The descriptor.
    networks : torch.nn.ModuleList
        One `ElementNetwork` for each element.
    scale : float
        Factor from their output to eV.
    """

    def __init__(self, aev: Aev, networks: nn.ModuleList, scale: float) -> None:
        super().__init__()
        self.aev = aev
        self.networks = networks
        self.scale = float(scale)

    def read(self, described: Tensor, groups: AtomGroups, extra: str) -> MemberOutput:
        """Return what the members say of descriptors (F·A, D); see `MemberOutput`."""
        outputs: List[Tensor] = []  # noqa: UP006
        hidden: List[Tensor] = []  # noqa: UP006
        tapes: List[LayerTape] = []  # noqa: UP006
        for index, network in enumerate(self.networks):
            x = described.index_select(0, groups.rows[index])
            if extra == "layers":
                output, tape = network.tape(x, self.scale)
                tapes.append(tape)
            else:
                output, last = network.run(x)
                hidden.append(last)
            outputs.append(output)
        said = ungroup_members(outputs, groups)
        last = self._last_layer(hidden, groups) if extra == "last_layer" else None
        tape = join_tapes(tapes) if extra == "layers" else None
        heads = said[:, :, :, 1:] if extra == "heads" else None
        atomic = said.select(3, 0).to(torch.float64) * self.scale
        return self.answer(atomic, described, groups, last, tape, heads)

    def answer(
        self,
        atomic: Tensor,
        described: Tensor,
        groups: AtomGroups,
        last: Optional[Tensor],  # noqa: UP045
        tape: Optional[LayerTape],  # noqa: UP045
        heads: Optional[Tensor],  # noqa: UP045
    ) -> MemberOutput:
        """Return what the members say from their atomic energies (M, F, A), float64, eV."""
        features = described.unflatten(0, [groups.numbers.shape[0], groups.numbers.shape[1]])
        return MemberOutput(atomic.sum(dim=2), atomic, features, None, last, tape, heads)

    def _last_layer(self, hidden: List[Tensor], groups: AtomGroups) -> Tensor:  # noqa: UP006
        width = 0
        for part in hidden:
            width = max(width, part.shape[2])
        wide: List[Tensor] = []  # noqa: UP006
        for part in hidden:
            missing = width - part.shape[2]
            wide.append(torch.nn.functional.pad(part, [0, missing]) if missing else part)
        return ungroup_members(wide, groups) * self.scale


def join_tapes(tapes: List[LayerTape]) -> LayerTape:  # noqa: UP006
    """Return the tapes of all elements as one; see `LayerTape`."""
    depth = 0
    for tape in tapes:
        depth = max(depth, len(tape.inputs))
    inputs: List[Tensor] = []  # noqa: UP006
    deltas: List[Tensor] = []  # noqa: UP006
    for layer in range(depth):
        inputs.append(_side_by_side([tape.inputs for tape in tapes], layer))
        deltas.append(_side_by_side([tape.deltas for tape in tapes], layer))
    return LayerTape(inputs, deltas)


def _side_by_side(parts: List[List[Tensor]], layer: int) -> Tensor:  # noqa: UP006
    width = 0
    for part in parts:
        if layer < len(part):
            width = max(width, part[layer].shape[2])
    wide: List[Tensor] = []  # noqa: UP006
    for part in parts:
        if layer < len(part):
            wide.append(torch.nn.functional.pad(part[layer], [0, width - part[layer].shape[2]]))
        else:
            last = part[-1]
            wide.append(last.new_zeros([last.shape[0], last.shape[1], width]))
    return torch.cat(wide, dim=1)


class ScriptableAni(AniReadout):
    """An ANI-type ensemble for W frames of atoms that never change.

    Parameters
    ----------
    potential : AniReadout
        Its networks and descriptor are shared, not copied.
    groups : FixedGroups
        The atoms of each element.
    species : torch.Tensor
        Indices of the elements (W, A).
    pbc : bool
        Whether the frames are periodic.
    extra : str
        What is wanted beside energies and features.
    """

    species: Tensor
    pbc: Tensor
    lowest: Tensor

    def __init__(
        self,
        potential: AniReadout,
        groups: FixedGroups,
        species: Tensor,
        *,
        pbc: bool,
        extra: str,
    ) -> None:
        super().__init__(potential.aev, potential.networks, potential.scale)
        self.groups = groups
        self.extra = extra
        dtype = next(potential.parameters()).dtype
        self.register_buffer("species", species)
        self.register_buffer("pbc", torch.full((len(species), 3), pbc))
        self.register_buffer("lowest", torch.zeros(0, dtype=dtype))

    def forward(self, positions: Tensor, cell: Tensor) -> MemberOutput:
        """Return what the members say of positions (W, A, 3) in cells (W, 3, 3), Å."""
        x, box = positions.to(self.lowest.dtype), cell.to(self.lowest.dtype)
        graph = self.aev.graph(self.species, x, box, self.pbc, 0.0)
        described = self.aev(pair_vectors(x, box, graph.pairs), graph)
        return self.read(described, self.groups(), self.extra)
