"""ANI-type potentials: environment vectors into networks per element, M members at once.

Source: Smith, Isayev, Roitberg, Chem. Sci. 8, 3192 (2017).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from uncv.data import Batch, Dataset
from uncv.groups import AtomGroups, FixedGroups, ungroup_members
from uncv.heads import HEADS
from uncv.models.aev import Aev, Graph
from uncv.models.ani_readout import AniReadout, ScriptableAni
from uncv.models.ani_settings import AniSettings
from uncv.models.derivatives import evaluate_in_chunks
from uncv.models.described import Described, FloatArray
from uncv.models.descriptor import KernelDescriptor
from uncv.models.elements import SortedAtoms, species_of, sum_references
from uncv.models.files import POTENTIAL_FORMAT, POTENTIAL_VERSION, write_file
from uncv.models.library import supports
from uncv.models.member_forces import read_with_forces
from uncv.models.member_table import Members, MemberTable
from uncv.models.neighbour_list import ListedGraph
from uncv.models.neighbours import pair_vectors
from uncv.models.networks import ElementNetwork
from uncv.models.readout_kernel import CompiledNetworks
from uncv.models.readout_pass import read_compiled
from uncv.models.tape_pass import NetworkStack, tape_pass
from uncv.protocols import Evaluation, MemberOutput


class Prepared(NamedTuple):
    """What depends on the species and the neighbours alone, reused while they stay.

    Attributes
    ----------
    graph : Graph
        Neighbours, or a `ListedGraph`, which is the same.
    groups : AtomGroups
        Atoms of each element.
    """

    graph: Graph
    groups: AtomGroups


class AniPotential(AniReadout):
    """An ensemble of ANI-type potentials; see `AniSettings`.

    Calling it with a `Batch` gives a `MemberOutput`; `evaluate` takes a `Dataset`.
    """

    def __init__(self, settings: AniSettings) -> None:
        aev = Aev(len(settings.elements), settings.aev)
        outputs = 1 + HEADS[settings.head]
        networks = nn.ModuleList(
            ElementNetwork(settings.members, aev.width, hidden, settings.activation, outputs)
            for hidden in settings.hidden
        )
        super().__init__(aev, networks, settings.scale)
        self._stacked: NetworkStack | None = None
        self._compiled: CompiledNetworks | None = None
        self._sorted = SortedAtoms(settings.elements)
        self.settings = settings
        self.to(torch.get_default_dtype())

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers it was made for."""
        return self.settings.elements

    @property
    def members(self) -> int:
        """Number of members M."""
        return self.settings.members

    @property
    def cutoff(self) -> float:
        """Radial cutoff in Å."""
        return self.settings.aev.radial_cutoff

    @property
    def head(self) -> str:
        """What the networks give beside the energy: '', 'mean_variance' or 'evidential'."""
        return self.settings.head

    @property
    def extras(self) -> tuple[str, ...]:
        """What it can give beside energies and features."""
        always = ("member_forces", "last_layer", "layers")
        return (*always, "heads") if self.settings.head else always

    @property
    def last_bias(self) -> float:
        """Gradient of an atom's energy by the bias of its last layer, eV."""
        return self.scale

    @property
    def smooth(self) -> bool:
        """Whether its networks have continuous second derivatives."""
        return self.settings.activation == "silu"

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the weights."""
        return self.aev.radial_shifts.dtype

    @property
    def fingerprint(self) -> str:
        """SHA-256 (16 hex digits) of settings and weights as float32."""
        digest = hashlib.sha256(json.dumps(self.metadata(), sort_keys=True).encode())
        for name, value in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def metadata(self) -> dict:
        """Return the settings as plain values."""
        return self.settings.to_dict()

    @classmethod
    def from_metadata(cls, metadata: dict) -> AniPotential:
        """Make a potential of these settings, weights zero."""
        return cls(AniSettings.from_dict(metadata))

    def species(self, numbers: Tensor) -> Tensor:
        """Return the index of each atom's element (F, A), −1 on padding.

        Raises
        ------
        ElementError
            If the potential does not know an element.
        """
        return species_of(numbers, self.elements)

    def prepare(self, batch: Batch, skin: float = 0.0) -> Prepared:
        """Return neighbours and groups of a batch, valid until an atom has moved by skin/2 (Å)."""
        species, groups = self._sorted.of(batch.numbers)
        if supports(batch.positions):
            graph = cast("Graph", ListedGraph(self.aev, species, batch, skin))
        else:
            graph = self.aev.graph(species, batch.positions, batch.cell, batch.pbc, skin)
        return Prepared(graph, groups)

    def forward(
        self, batch: Batch, prepared: Prepared | None = None, *, extra: str = ""
    ) -> MemberOutput:
        """Return energies and features of a batch, differentiable in its positions and cell.

        Forces of the members, if asked for, are differentiable too.
        """
        if prepared is None:
            prepared = self.prepare(batch)
        # Rounded as differences, not as positions: as `describe` and the training do.
        vectors = pair_vectors(batch.positions, batch.cell, prepared.graph.pairs).to(self.dtype)
        described = KernelDescriptor.apply(vectors, self.aev, prepared.graph)
        if extra == "member_forces":
            return read_with_forces(self, described, vectors, prepared.graph, prepared.groups)
        return self.read_described(described, prepared.groups, extra)

    def describe(
        self, positions: FloatArray, cells: FloatArray, prepared: Prepared, extra: str
    ) -> Described | None:
        """Return the descriptors as a leaf to differentiate by, None where that does not do.

        It does where compiled code takes the descriptor; not for the forces of members, and not
        for a subclass or a hook that has a say in `forward`.

        Parameters
        ----------
        positions, cells : numpy.ndarray
            (F, A, 3) and (F, 3, 3) in Å, float64.
        prepared : Prepared
            Neighbours and groups.
        extra : str
            What will be asked for beside energies and features.
        """
        if extra == "member_forces" or not self._is_plain():
            return None
        if not supports(self.aev.radial_shifts):
            return None
        return Described(self.aev, prepared.graph, positions, cells)

    def table(self, prepared: Prepared, former: MemberTable | None) -> MemberTable | None:
        """Return the compiled members for these neighbours, None where that does not do.

        It does where `describe` does and the networks are compiled too. A former table of the same
        members and atoms takes the neighbours and is returned.
        """
        compiled = self._packed() if self._is_plain() else None
        if compiled is None:
            return None
        members = Members(self.aev, compiled, self.scale)
        if former is not None and former.is_of(members, prepared.groups):
            former.use(prepared.graph)
            return former
        here = supports(self.aev.radial_shifts)
        if not (here and compiled.fits_in(self.dtype, prepared.graph.atoms)):
            return None
        return MemberTable(members, prepared.groups, prepared.graph)

    def _is_plain(self) -> bool:
        """Return whether neither a subclass nor a hook has a say in `forward`."""
        changed = type(self).forward is not AniPotential.forward or "forward" in self.__dict__
        return not (changed or self._forward_hooks or self._forward_pre_hooks)

    def read_described(self, described: Tensor, groups: AtomGroups, extra: str) -> MemberOutput:
        """Return what the members say of descriptors (F·A, D), as `read` does, in less time."""
        stack = self._stack() if extra == "layers" else None
        if stack is not None:
            return self._read_tape(described, groups, stack)
        compiled = self._packed() if extra in ("", "last_layer") else None
        if compiled is not None and compiled.takes(described):
            return read_compiled(self, compiled, described, groups, extra)
        return self.read(described, groups, extra)

    def _stack(self) -> NetworkStack | None:
        """Return the networks as one stack, or None where they cannot be or are being trained."""
        if self._stacked is None or not self._stacked.is_current():
            networks = cast("list[ElementNetwork]", list(self.networks))
            self._stacked = NetworkStack(networks) if NetworkStack.fits(networks) else None
        return None if self._stacked is None or self._stacked.trained else self._stacked

    def _packed(self) -> CompiledNetworks | None:
        """Return the networks as the library takes them, or None where it cannot."""
        if self._compiled is None or not self._compiled.is_current():
            networks = cast("list[ElementNetwork]", list(self.networks))
            fits = CompiledNetworks.fits(networks)
            self._compiled = CompiledNetworks(networks) if fits else None
        return self._compiled

    def _read_tape(
        self, described: Tensor, groups: AtomGroups, stack: NetworkStack
    ) -> MemberOutput:
        """Return what `read` returns for 'layers', in less time."""
        counts = [len(row) for row in groups.rows]
        x = described.index_select(0, torch.cat(groups.rows))
        outputs, tape = tape_pass(stack, x, counts, self.scale)
        said = ungroup_members([outputs], groups).select(3, 0)
        atomic = said.to(torch.float64) * self.scale
        return self.answer(atomic, described, groups, None, tape, None)

    def scriptable(self, numbers: Tensor, pbc: bool, extra: str) -> nn.Module:
        """Return a module that TorchScript can compile; see `Potential`."""
        groups = FixedGroups(numbers, self.elements)
        return ScriptableAni(self, groups, self.species(numbers), pbc=pbc, extra=extra)

    def reference_energies(self, numbers: Tensor) -> Tensor:
        """Return the sum of atomic reference energies of each frame (F,), float64, eV."""
        return sum_references(numbers, self.elements, self.settings.reference_energies)

    def evaluate(self, data: Dataset, *, member_forces: bool = False) -> Evaluation:
        """Return energies, forces and features of a dataset.

        Parameters
        ----------
        data : Dataset
            F frames.
        member_forces : bool
            Also give the forces of each member.

        Raises
        ------
        ElementError
            If the potential does not know an element.
        """
        return evaluate_in_chunks(self, data, member_forces=member_forces)

    def member(self, index: int) -> AniPotential:
        """Return one member as a potential of its own.

        Parameters
        ----------
        index : int
            From 0 to M − 1.

        Raises
        ------
        IndexError
            If there is no such member.
        """
        if not 0 <= index < self.members:
            raise IndexError(
                f"member {index} was asked for, but the members are 0 to {self.members - 1}"
            )
        alone = AniPotential(replace(self.settings, members=1)).to(self.dtype)
        own = dict(alone.named_parameters())
        with torch.no_grad():
            for name, value in self.named_parameters():
                # The members are the first axis, save where one product serves them all.
                axis = value.dim() - 2 if name.endswith("first.weight") else 0
                own[name].copy_(value.narrow(axis, index, 1))
        return alone.requires_grad_(False)

    def packed(self) -> dict[str, Any]:
        """Return settings and weights as plain values and tensors."""
        return {
            "architecture": "ani",
            "dtype": str(self.dtype).removeprefix("torch."),
            "metadata": json.dumps(self.metadata()),
            "state": {k: v.detach().cpu().clone() for k, v in self.state_dict().items()},
        }

    def save(self, path: str | Path) -> None:
        """Write settings and weights to one file, atomically; `load_potential` reads it."""
        write_file(path, POTENTIAL_FORMAT, POTENTIAL_VERSION, self.packed())
