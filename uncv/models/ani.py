"""ANI-type potentials: environment vectors into networks per element, M members at once.

Source: Smith, Isayev, Roitberg, Chem. Sci. 8, 3192 (2017).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from ase.data import chemical_symbols
from torch import Tensor, nn

from uncv.data import Batch, Dataset
from uncv.errors import ElementError
from uncv.models.aev import Aev, AevSettings, Graph
from uncv.models.derivatives import evaluate_in_chunks, member_gradients
from uncv.models.descriptor import KernelDescriptor
from uncv.models.files import write_file
from uncv.models.neighbours import pair_vectors
from uncv.models.networks import ElementNetwork
from uncv.protocols import Evaluation, MemberOutput

POTENTIAL_FORMAT = "uncv-potential"
POTENTIAL_VERSION = 1


@dataclass(frozen=True)
class AniSettings:
    """Shape of an ANI-type ensemble.

    Parameters
    ----------
    elements : tuple of int
        Atomic numbers, in the order of the descriptor's blocks.
    members : int
        Number of members.
    hidden : tuple of tuple of int
        Widths of the hidden layers, one tuple per element.
    activation : str
        'silu' or 'celu'.
    reference_energies : tuple of float
        Energy of the lone atom of each element in eV, added in float64 at the very end.
    scale : float
        Factor from the output of the networks to eV.
    aev : AevSettings
        Constants of the descriptor.
    """

    elements: tuple[int, ...]
    members: int
    hidden: tuple[tuple[int, ...], ...]
    activation: str = "silu"
    reference_energies: tuple[float, ...] = ()
    scale: float = 1.0
    aev: AevSettings = field(default_factory=AevSettings)

    def __post_init__(self) -> None:
        if len(set(self.elements)) != len(self.elements) or not self.elements:
            raise ValueError(f"elements are {self.elements}; expected distinct atomic numbers")
        if len(self.hidden) != len(self.elements):
            raise ValueError(
                f"hidden layers are given for {len(self.hidden)} elements; "
                f"expected {len(self.elements)}"
            )
        if self.members < 1:
            raise ValueError(f"members is {self.members}; expected at least 1")
        if not self.reference_energies:
            object.__setattr__(self, "reference_energies", (0.0,) * len(self.elements))


class Prepared(NamedTuple):
    """What depends on the species and the neighbours alone, reused while they stay.

    Attributes
    ----------
    graph : Graph
        Neighbours.
    rows : list of torch.Tensor
        Atoms of each element, as indices into the F·A atoms.
    back : torch.Tensor
        Place (F·A,) of each atom in the list of all elements' atoms; padding points past its end.
    """

    graph: Graph
    rows: list[Tensor]
    back: Tensor


class AniPotential(nn.Module):
    """An ensemble of ANI-type potentials; see `AniSettings`.

    Calling it with a `Batch` gives a `MemberOutput`; `evaluate` takes a `Dataset`.
    """

    species_table: Tensor

    def __init__(self, settings: AniSettings) -> None:
        super().__init__()
        self.settings = settings
        self.scale = settings.scale
        self.aev = Aev(len(settings.elements), settings.aev)
        self.networks = nn.ModuleList(
            ElementNetwork(settings.members, self.aev.width, hidden, settings.activation)
            for hidden in settings.hidden
        )
        table = torch.full((119,), -2, dtype=torch.int64)
        table[0] = -1
        for index, number in enumerate(settings.elements):
            table[number] = index
        self.register_buffer("species_table", table, persistent=False)
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
    def dtype(self) -> torch.dtype:
        """Floating-point type of the weights."""
        return next(self.parameters()).dtype

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
        s = self.settings
        return {
            "elements": list(s.elements),
            "members": s.members,
            "hidden": [list(h) for h in s.hidden],
            "activation": s.activation,
            "reference_energies": list(s.reference_energies),
            "scale": s.scale,
            "aev": s.aev.to_dict(),
        }

    @classmethod
    def from_metadata(cls, metadata: dict) -> AniPotential:
        """Make a potential of these settings, weights zero."""
        aev: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in metadata["aev"].items()
        }
        return cls(
            AniSettings(
                elements=tuple(metadata["elements"]),
                members=metadata["members"],
                hidden=tuple(tuple(h) for h in metadata["hidden"]),
                activation=metadata["activation"],
                reference_energies=tuple(metadata["reference_energies"]),
                scale=metadata["scale"],
                aev=AevSettings(**aev),
            )
        )

    def species(self, numbers: Tensor) -> Tensor:
        """Return the index of each atom's element (F, A), −1 on padding.

        Raises
        ------
        ElementError
            If the potential does not know an element.
        """
        species = self.species_table[numbers]
        if bool((species < -1).any()):
            strange = sorted({chemical_symbols[int(z)] for z in numbers[species < -1]})
            known = ", ".join(chemical_symbols[z] for z in self.elements)
            raise ElementError(
                f"the structure contains {', '.join(strange)} but the potential knows {known}; "
                "use a potential trained with these elements"
            )
        return species

    def prepare(self, batch: Batch, skin: float = 0.0) -> Prepared:
        """Return neighbours and rows of a batch, valid until an atom has moved by skin/2 (Å)."""
        species = self.species(batch.numbers)
        return self.arrange(species, batch.positions, batch.cell, batch.pbc, skin)

    def arrange(
        self, species: Tensor, positions: Tensor, cell: Tensor, pbc: Tensor, skin: float
    ) -> Prepared:
        """Return the same from species indices."""
        graph = self.aev.graph(species, positions, cell, pbc, skin)
        flat = species.reshape(-1)
        rows = [(flat == index).nonzero().squeeze(1) for index in range(len(self.networks))]
        order = torch.cat(rows)
        back = torch.full_like(flat, order.shape[0])
        back[order] = torch.arange(order.shape[0], device=flat.device)
        return Prepared(graph, rows, back)

    def forward(
        self, batch: Batch, prepared: Prepared | None = None, *, member_forces: bool = False
    ) -> MemberOutput:
        """Return energies and features of a batch, differentiable in its positions and cell.

        Forces of the members, if asked for, are differentiable too; the batch's positions must
        then require a gradient.
        """
        if prepared is None:
            prepared = self.prepare(batch)
        positions, cell = batch.positions.to(self.dtype), batch.cell.to(self.dtype)
        vectors = pair_vectors(positions, cell, prepared.graph.pairs)
        if member_forces:  # to be differentiated twice more: plain torch throughout
            described = self.aev(vectors, prepared.graph)
        else:
            described = KernelDescriptor.apply(vectors, self.aev, prepared.graph)
        atomic = self.atomic_energies(described, prepared.rows, prepared.back)
        frames, atoms = batch.numbers.shape
        atomic = atomic.view(-1, frames, atoms)
        energies = atomic.sum(dim=2)
        forces = member_gradients(energies, batch.positions) if member_forces else None
        return MemberOutput(energies, atomic, described.view(frames, atoms, -1), forces)

    def atomic_energies(self, described: Tensor, rows: list[Tensor], back: Tensor) -> Tensor:
        """Return the energies of all atoms (M, F·A), float64, eV, from their descriptors."""
        parts = [
            network(described.index_select(0, row))
            for network, row in zip(self.networks, rows, strict=True)
        ]
        parts.append(described.new_zeros((parts[0].shape[0], 1)))  # where padding points to
        return torch.cat(parts, dim=1).index_select(1, back).to(torch.float64) * self.scale

    def reference_energies(self, numbers: Tensor) -> Tensor:
        """Return the sum of atomic reference energies of each frame (F,), float64, eV."""
        table = torch.zeros(119, dtype=torch.float64, device=numbers.device)
        table[list(self.elements)] = torch.tensor(
            self.settings.reference_energies, dtype=torch.float64, device=numbers.device
        )
        return table[numbers].sum(dim=1)

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
