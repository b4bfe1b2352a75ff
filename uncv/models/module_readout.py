"""From a module that speaks of one list of atoms and pairs to the members of a potential.

Written in the subset of Python that TorchScript compiles: `ModulePotential` is one of these, and
`ScriptableModules` is another, for exported files. The module is called with ``(species, frame,
centre, other, vectors)`` and returns ``(atomic_energies, features)`` or ``(atomic_energies,
features, last_layer)``; docs/potentials.md says what each of them is.
"""

from typing import List, NamedTuple  # noqa: UP035  TorchScript wants typing's names

import torch
from torch import Tensor, nn

from uncv.models.neighbours import Pairs, find_pairs, pair_vectors
from uncv.protocols import MemberOutput


class AtomList(NamedTuple):
    """The N atoms of a padded batch as one list.

    Attributes
    ----------
    species : torch.Tensor
        Index of the element of each atom (N,).
    frame : torch.Tensor
        Frame of each atom (N,), ascending.
    back : torch.Tensor
        Place of each of the F·A atoms in the list (F, A); padding points past its end.
    """

    species: Tensor
    frame: Tensor
    back: Tensor


def list_atoms(species: Tensor) -> AtomList:
    """Return the list of the atoms of a batch from their species (F, A), −1 on padding."""
    flat = species.reshape(-1)
    rows = (flat >= 0).nonzero().squeeze(1)
    back = torch.full_like(flat, rows.shape[0])
    back[rows] = torch.arange(rows.shape[0], device=flat.device)
    frame = torch.div(rows, max(1, species.shape[1]), rounding_mode="floor")
    return AtomList(flat.index_select(0, rows), frame, back.view(species.shape))


class ModuleReadout(nn.Module):
    """Modules, asked one after the other, as the members of one potential.

    Parameters
    ----------
    models : torch.nn.ModuleList
        Compiled modules.
    cutoff : float
        In Å.
    dtype : torch.dtype
        Of the vectors that the modules are given.
    last_layer : bool
        Whether they return three tensors instead of two.
    """

    lowest: Tensor
    __constants__ = ("last_layer",)  # TorchScript then compiles one branch of `read` alone

    def __init__(
        self, models: nn.ModuleList, cutoff: float, dtype: torch.dtype, *, last_layer: bool
    ) -> None:
        super().__init__()
        self.models = models
        self.reach = float(cutoff)
        self.last_layer = last_layer
        self.register_buffer("lowest", torch.zeros(0, dtype=dtype), persistent=False)

    def read(
        self, positions: Tensor, cell: Tensor, atoms: AtomList, pairs: Pairs, extra: str
    ) -> MemberOutput:
        """Return what the modules say of positions (F, A, 3) in cells (F, 3, 3), Å.

        The pairs may be more than those within the cutoff; the modules get those alone.
        """
        dtype = self.lowest.dtype
        vectors = pair_vectors(positions.to(dtype), cell.to(dtype), pairs)
        near = vectors.detach().square().sum(dim=1) < self.reach * self.reach
        chosen = near.nonzero().squeeze(1)
        flat = atoms.back.reshape(-1)
        centre = flat.index_select(0, pairs.centre.index_select(0, chosen))
        other = flat.index_select(0, pairs.other.index_select(0, chosen))
        vectors = vectors.index_select(0, chosen)
        energies: List[Tensor] = []  # noqa: UP006
        features: List[Tensor] = []  # noqa: UP006
        lasts: List[Tensor] = []  # noqa: UP006
        for model in self.models:
            if self.last_layer:
                energy, feature, last = model(atoms.species, atoms.frame, centre, other, vectors)
                lasts.append(last)
            else:
                energy, feature = model(atoms.species, atoms.frame, centre, other, vectors)
            energies.append(energy)
            features.append(feature)
        atomic = pad_atoms(torch.cat(energies).to(torch.float64), atoms)
        return MemberOutput(
            atomic.sum(dim=2),
            atomic,
            pad_atoms(features[0].unsqueeze(0), atoms).squeeze(0),
            None,
            pad_atoms(torch.cat(lasts), atoms) if extra == "last_layer" else None,
            None,
            None,
        )


def pad_atoms(values: Tensor, atoms: AtomList) -> Tensor:
    """Return values of listed atoms (M, N, ...) as (M, F, A, ...), zero on padding."""
    shape = list(values.shape)
    shape[1] = 1
    past_end = torch.zeros(shape, dtype=values.dtype, device=values.device)
    padded = torch.cat([values, past_end], dim=1).index_select(1, atoms.back.reshape(-1))
    return padded.unflatten(1, [atoms.back.shape[0], atoms.back.shape[1]])


class ScriptableModules(ModuleReadout):
    """The same for W frames of atoms that never change.

    Parameters
    ----------
    potential : ModuleReadout
        Its modules are shared, not copied.
    species : torch.Tensor
        Indices of the elements (W, A), −1 on padding.
    pbc : bool
        Whether the frames are periodic.
    extra : str
        What is wanted beside energies and features.
    """

    species: Tensor
    frame: Tensor
    back: Tensor
    pbc: Tensor
    mask: Tensor

    def __init__(self, potential: ModuleReadout, species: Tensor, *, pbc: bool, extra: str) -> None:
        super().__init__(
            potential.models,
            potential.reach,
            potential.lowest.dtype,
            last_layer=potential.last_layer,
        )
        self.extra = extra
        atoms = list_atoms(species)
        self.register_buffer("species", atoms.species)
        self.register_buffer("frame", atoms.frame)
        self.register_buffer("back", atoms.back)
        self.register_buffer("mask", species >= 0)
        self.register_buffer("pbc", torch.full((len(species), 3), pbc))

    def forward(self, positions: Tensor, cell: Tensor) -> MemberOutput:
        """Return what the modules say of positions (W, A, 3) in cells (W, 3, 3), Å."""
        pairs = find_pairs(positions, cell, self.pbc, self.mask, self.reach)
        atoms = AtomList(self.species, self.frame, self.back)
        return self.read(positions, cell, atoms, pairs, self.extra)
