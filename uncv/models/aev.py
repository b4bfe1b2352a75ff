"""Atomic environment vectors: the rotation invariant descriptors of ANI potentials.

Source: Smith, Isayev, Roitberg, Chem. Sci. 8, 3192 (2017). The numbers are TorchANI's (the tests
compare them). ``Aev.forward`` is plain torch: differentiable any number of times, on any device,
and compilable by TorchScript. ``uncv.models.descriptor`` gives the same values and first
derivatives by compiled code where that is there.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from uncv.models.neighbours import Pairs, find_pairs, pair_vectors

FIRST_SHIFT = 0.9
"""Centre of the first Gaussian, Å."""


@dataclass(frozen=True)
class AevSettings:
    """Constants of the descriptor; the default is that of ANI-1x.

    Parameters
    ----------
    radial_cutoff, angular_cutoff : float
        In Å.
    radial_eta, angular_eta : float
        Widths of the Gaussians, in Å^-2.
    radial_shifts, angular_shifts : tuple of float
        Centres of the Gaussians, in Å.
    zeta : float
        Sharpness in angle.
    angle_shifts : tuple of float
        Centres in angle, in radians.
    """

    radial_cutoff: float = 5.2
    angular_cutoff: float = 3.5
    radial_eta: float = 16.0
    angular_eta: float = 8.0
    radial_shifts: tuple[float, ...] = tuple(0.9 + 0.26875 * k for k in range(16))
    angular_shifts: tuple[float, ...] = (0.9, 1.55, 2.2, 2.85)
    zeta: float = 32.0
    angle_shifts: tuple[float, ...] = tuple((2 * k + 1) * math.pi / 16 for k in range(8))

    def __post_init__(self) -> None:
        if not 0 < self.angular_cutoff <= self.radial_cutoff:
            raise ValueError(
                f"cutoffs are {self.angular_cutoff} (angular) and {self.radial_cutoff} (radial) Å; "
                "expected 0 < angular <= radial"
            )

    def to_dict(self) -> dict:
        """Return the constants as plain values."""
        return asdict(self)

    @classmethod
    def evenly(
        cls,
        radial_cutoff: float = 5.2,
        angular_cutoff: float = 3.5,
        *,
        radial: int = 16,
        angular: int = 4,
        angles: int = 8,
        **widths: float,
    ) -> Self:
        """Return constants with Gaussians evenly from 0.9 Å to the cutoffs, and from 0 to π.

        Parameters
        ----------
        radial_cutoff, angular_cutoff : float
            In Å.
        radial, angular, angles : int
            Number of Gaussians in the distance of a pair, in the mean distance of an angle's pairs,
            and in the angle.
        **widths : float
            ``radial_eta``, ``angular_eta`` (Å^-2) and ``zeta``; by default those of ANI-1x.

        Raises
        ------
        ValueError
            If a number is below 1, or a cutoff not above 0.9 Å.

        Examples
        --------
        >>> AevSettings.evenly(angular_cutoff=3.7).angular_shifts
        (0.9, 1.6, 2.3, 3.0)
        """
        if min(radial, angular, angles) < 1 or min(radial_cutoff, angular_cutoff) <= FIRST_SHIFT:
            raise ValueError(
                f"{radial}, {angular} and {angles} functions within {radial_cutoff} and "
                f"{angular_cutoff} Å; expected at least one of each, and cutoffs above "
                f"{FIRST_SHIFT} Å"
            )
        steps = (radial_cutoff - FIRST_SHIFT) / radial, (angular_cutoff - FIRST_SHIFT) / angular
        return cls(
            radial_cutoff,
            angular_cutoff,
            radial_shifts=tuple(round(FIRST_SHIFT + steps[0] * k, 9) for k in range(radial)),
            angular_shifts=tuple(round(FIRST_SHIFT + steps[1] * k, 9) for k in range(angular)),
            angle_shifts=tuple((2 * k + 1) * math.pi / (2 * angles) for k in range(angles)),
            **widths,
        )


class Triples(NamedTuple):
    """Which pairs form angles, and where their terms are added.

    Attributes
    ----------
    first, second : torch.Tensor
        Indices (T,) of two pairs with one centre.
    radial_slot, angular_slot : torch.Tensor
        Row of the descriptor, (P,) and (T,): centre·species + species of the other atom, and
        centre·species pairs + pair of species.
    """

    first: Tensor
    second: Tensor
    radial_slot: Tensor
    angular_slot: Tensor


class Graph(NamedTuple):
    """Neighbours of a batch of frames, ready for the descriptor.

    Attributes
    ----------
    pairs : Pairs
        P directed pairs, sorted by centre.
    triples : Triples
        T angles.
    atoms : int
        Number N of rows of the descriptor, F·A.
    begin : torch.Tensor
        The pairs of atom i are ``begin[i]`` to ``begin[i + 1]``, int64 (N + 1).
    other_species : torch.Tensor
        Index of the element of each pair's other atom, int64 (P).
    """

    pairs: Pairs
    triples: Triples
    atoms: int
    begin: Tensor
    other_species: Tensor


class Aev(nn.Module):
    """Descriptor of F frames of A atoms, (F·A, D).

    Parameters
    ----------
    species : int
        Number of chemical elements it tells apart.
    settings : AevSettings
        Its constants.
    """

    radial_shifts: Tensor
    angular_shifts: Tensor
    angle_cos: Tensor
    angle_sin: Tensor
    species_pair: Tensor
    __jit_ignored_attributes__ = ("_exact",)

    def __init__(self, species: int, settings: AevSettings) -> None:
        super().__init__()
        self.species = species
        self.species_pairs = species * (species + 1) // 2
        self.radial_cutoff = settings.radial_cutoff
        self.angular_cutoff = settings.angular_cutoff
        self.radial_eta = settings.radial_eta
        self.angular_eta = settings.angular_eta
        self.zeta = settings.zeta
        angles = torch.tensor(settings.angle_shifts, dtype=torch.float64)
        self.radial_width = len(settings.radial_shifts)
        self.angular_width = len(settings.angular_shifts) * len(settings.angle_shifts)
        self.width = species * self.radial_width + self.species_pairs * self.angular_width
        self._exact = {
            "radial_shifts": torch.tensor(settings.radial_shifts, dtype=torch.float64),
            "angular_shifts": torch.tensor(settings.angular_shifts, dtype=torch.float64),
            "angle_cos": angles.cos(),
            "angle_sin": angles.sin(),
        }
        for name, value in self._exact.items():
            self.register_buffer(name, value.clone(), persistent=False)
        self.register_buffer("species_pair", _species_pairs(species), persistent=False)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Convert the module; the constants are rounded once, not by each type in between."""
        super()._apply(fn, recurse)
        for name, exact in self._exact.items():
            converted = getattr(self, name)
            setattr(self, name, exact.to(converted.device, converted.dtype))
        return self

    def graph(
        self, species: Tensor, positions: Tensor, cell: Tensor, pbc: Tensor, skin: float
    ) -> Graph:
        """Return the neighbours of a batch.

        Parameters
        ----------
        species : torch.Tensor
            Index of each atom's element (F, A), −1 on padding.
        positions, cell, pbc : torch.Tensor
            (F, A, 3) and (F, 3, 3) in Å, (F, 3).
        skin : float
            Extra distance in Å within which pairs are kept, so that the graph stays valid until
            an atom has moved by half of it.
        """
        mask = species >= 0
        pairs = find_pairs(positions, cell, pbc, mask, self.radial_cutoff + skin)
        distance = pair_vectors(positions.detach(), cell.detach(), pairs).square().sum(dim=1).sqrt()
        flat = species.reshape(-1)
        begin = torch.searchsorted(
            pairs.centre, torch.arange(flat.shape[0] + 1, device=flat.device)
        )
        other = flat.index_select(0, pairs.other)
        return Graph(pairs, self.triples(pairs, flat, distance, skin), flat.shape[0], begin, other)

    def triples(self, pairs: Pairs, species: Tensor, distance: Tensor, skin: float) -> Triples:
        """Return the angles of pairs at these distances (P,) in Å, of atoms of species (N,)."""
        near = (distance < self.angular_cutoff + skin).nonzero().squeeze(1)
        first, second = _combine(pairs.centre.index_select(0, near), species.shape[0])
        first, second = near.index_select(0, first), near.index_select(0, second)
        other = species.index_select(0, pairs.other)
        centre = pairs.centre.index_select(0, first)
        kind = self.species_pair[other.index_select(0, first), other.index_select(0, second)]
        return Triples(
            first, second, pairs.centre * self.species + other, centre * self.species_pairs + kind
        )

    def forward(self, vectors: Tensor, graph: Graph) -> Tensor:
        """Return the descriptors (F·A, D) of pair vectors (P, 3) in Å, in plain torch."""
        triples = graph.triples
        distance = vectors.square().sum(dim=1).sqrt()
        switch = self._switch(distance, self.radial_cutoff).unsqueeze(1)
        offset = distance.unsqueeze(1) - self.radial_shifts
        radial_terms = 0.25 * torch.exp(-self.radial_eta * offset.square()) * switch
        zeros = vectors.new_zeros((graph.atoms * self.species, self.radial_width))
        radial = zeros.index_add(0, triples.radial_slot, radial_terms)

        d1 = distance.index_select(0, triples.first)
        d2 = distance.index_select(0, triples.second)
        v1 = vectors.index_select(0, triples.first)
        v2 = vectors.index_select(0, triples.second)
        cosine = 0.95 * (v1 * v2).sum(dim=1) / (d1 * d2)
        sine = torch.sqrt(1.0 - cosine.square())
        half = 0.5 * (
            1.0 + cosine.unsqueeze(1) * self.angle_cos + sine.unsqueeze(1) * self.angle_sin
        )
        switch = self._switch(d1, self.angular_cutoff) * self._switch(d2, self.angular_cutoff)
        mean = (0.5 * (d1 + d2)).unsqueeze(1) - self.angular_shifts
        shell = 2.0 * torch.exp(-self.angular_eta * mean.square()) * switch.unsqueeze(1)
        angular_terms = shell.unsqueeze(2) * half.pow(self.zeta).unsqueeze(1)
        zeros = vectors.new_zeros((graph.atoms * self.species_pairs, self.angular_width))
        angular = zeros.index_add(0, triples.angular_slot, angular_terms.flatten(1))
        return torch.cat([radial.view(graph.atoms, -1), angular.view(graph.atoms, -1)], dim=1)

    def _switch(self, distance: Tensor, cutoff: float) -> Tensor:
        inside = 0.5 * torch.cos(distance * (math.pi / cutoff)) + 0.5
        return torch.where(distance < cutoff, inside, torch.zeros_like(inside))


def _combine(centre: Tensor, atoms: int) -> tuple[Tensor, Tensor]:
    """Return all pairs p < q of entries of a sorted list that have equal values."""
    count = centre.shape[0]
    here = torch.arange(count, device=centre.device)
    numbers = torch.bincount(centre, minlength=atoms)
    end = numbers.cumsum(0).index_select(0, centre)
    partners = end - here - 1
    first = torch.repeat_interleave(here, partners)
    begin = torch.repeat_interleave(partners.cumsum(0) - partners, partners)
    second = first + 1 + torch.arange(first.shape[0], device=centre.device) - begin
    return first, second


def _species_pairs(species: int) -> Tensor:
    table = torch.zeros((species, species), dtype=torch.int64)
    upper = torch.triu_indices(species, species)
    table[upper[0], upper[1]] = torch.arange(upper.shape[1])
    return torch.maximum(table, table.T)
