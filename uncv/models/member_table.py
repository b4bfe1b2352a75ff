"""The members' energies of frames whose neighbours stay, and gradients of any combination of them.

What `Described` and `read_compiled` do, without autograd and with memory of its own: buffers and
arguments of the library's calls are made once for a neighbour list, so that a step is four calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uncv.groups import AtomGroups
from uncv.models import kernel, pairs, readout_kernel
from uncv.models.aev import Aev, Graph
from uncv.models.library import Call
from uncv.models.pairs import Gathered
from uncv.models.readout_kernel import CompiledNetworks, Run

FloatArray = NDArray[np.float64]


class Members(NamedTuple):
    """What gives the energies.

    Attributes
    ----------
    aev : Aev
        The descriptor; on the CPU.
    networks : CompiledNetworks
        Of its width and type.
    scale : float
        From their output to eV.
    """

    aev: Aev
    networks: CompiledNetworks
    scale: float


class _Way(NamedTuple):
    """From K sets of cotangents to gradients by the descriptors, and room for what follows."""

    cotangents: list[FloatArray]  # (M, F, A) each, in the networks' type
    combine: list[Call]
    combined: Tensor
    positions: Tensor
    strain: Tensor | None
    found: Gathered


class _Listed(NamedTuple):
    """Calls that hold while the neighbours stay."""

    graph: Graph
    place: Call
    describe: Call
    back: dict[tuple[int, bool], tuple[Call, Call]]


class MemberTable:
    """Energies of the members and the table of their gradients by the descriptors.

    Parameters
    ----------
    members : Members
        What gives the energies.
    groups : AtomGroups
        Which atoms belong to which element.
    graph : Graph
        The neighbours; `use` takes others.
    """

    def __init__(self, members: Members, groups: AtomGroups, graph: Graph) -> None:
        networks, dtype, shape = members.networks, members.networks.dtype, groups.numbers.shape
        self._members, self._numbers = members, groups.numbers
        self._stays = kernel.constants_stay(members.aev)
        self._positions = torch.zeros((*shape, 3), dtype=torch.float64)
        self._cells = torch.zeros((shape[0], 3, 3), dtype=torch.float64)
        self._here, self._boxes = self._positions.numpy(), self._cells.numpy()
        self._vectors = _Vectors(dtype)
        self._described = torch.empty((shape.numel(), networks.width), dtype=dtype)
        # Zero where nothing is ever written: on padding.
        energies = torch.zeros((networks.members, shape.numel()), dtype=dtype)
        self._gradients = torch.zeros(
            (shape.numel(), networks.members, networks.width), dtype=dtype
        )
        self._said = energies.numpy().reshape(networks.members, *shape)
        self._read = networks.bind(self._described, groups, Run(energies, self._gradients))
        self._ways: dict[tuple[int, bool], _Way] = {}
        self._listed = self._list(graph)

    @property
    def members(self) -> int:
        """Number of members M."""
        return self._members.networks.members

    def is_of(self, members: Members, groups: AtomGroups) -> bool:
        """Return whether it is still that of these members and atoms."""
        aev, networks, scale = self._members
        same = networks is members.networks and aev is members.aev and scale == members.scale
        return same and self._numbers is groups.numbers and self._stays()

    def use(self, graph: Graph) -> None:
        """Take these neighbours from now on."""
        if graph is not self._listed.graph:
            self._listed = self._list(graph)

    def energies(self, positions: FloatArray, cell: FloatArray | None) -> FloatArray:
        """Return the atomic energies of all members (M, F, A), eV.

        Parameters
        ----------
        positions : numpy.ndarray
            (F, A, 3) in Å.
        cell : numpy.ndarray or None
            Of all frames (3, 3), or of each, in Å; None where nothing is periodic.

        Raises
        ------
        MemoryError
        """
        self._here[...] = positions
        if cell is not None:
            self._boxes[...] = cell
        self.describe()
        self.read()
        return np.multiply(self._said, self._members.scale, dtype=np.float64)

    def describe(self) -> None:
        """Take the descriptors of the positions at hand."""
        self._listed.place()
        kernel.finish(self._listed.describe(torch.get_num_threads()))

    def read(self) -> None:
        """Let the networks read the descriptors."""
        readout_kernel.finish(self._read(torch.get_num_threads()))

    def pull_back(self, cotangents: Sequence[FloatArray], *, strain: bool) -> Gathered:
        """Return K gradients by positions and strain, where `energies` was asked last.

        Parameters
        ----------
        cotangents : sequence of numpy.ndarray
            K times those of the atomic energies, of shape (M, F, A) or one that fills it.
        strain : bool
            Whether a strain is wanted too.

        Raises
        ------
        MemoryError
        """
        kind = (len(cotangents), strain)
        way, back = self._ways.get(kind), self._listed.back.get(kind)
        if way is None:
            way = self._ways[kind] = self._way(*kind)
        if back is None:
            back = self._listed.back[kind] = self._back(way)
        for given, place in zip(cotangents, way.cotangents, strict=True):
            np.multiply(given, self._members.scale, out=place, casting="same_kind")
        self.combine(way.combine)
        self.gather(*back)
        by_positions, by_strain = way.found
        return Gathered(by_positions.copy(), None if by_strain is None else by_strain.copy())

    def combine(self, calls: Sequence[Call]) -> None:
        """Add up the members' gradients by the descriptors."""
        for call in calls:
            call()

    def gather(self, pull_back: Call, gather: Call) -> None:
        """Bring gradients by the descriptors to the atoms."""
        kernel.finish(pull_back(torch.get_num_threads()))
        gather()

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        """Travel as nothing: pointers mean nothing elsewhere."""
        return _nothing, ()

    def _list(self, graph: Graph) -> _Listed:
        vectors = self._vectors.of(0, len(graph.other_species))[0]
        place = pairs.bind_vectors(self._positions, self._cells, graph, vectors)
        geometry = kernel.Geometry(vectors, graph.begin, graph.other_species)
        data = [None, self._described]
        describe = kernel.bind(kernel.DESCRIBE, self._members.aev, geometry, 1, data)
        return _Listed(graph, place, describe, {})

    def _way(self, count: int, strain: bool) -> _Way:
        (frames, atoms), networks = self._numbers.shape, self._members.networks
        given = self._gradients.new_zeros((count, networks.members, frames * atoms))
        combined = self._gradients.new_empty((count, frames * atoms, networks.width))
        both = zip(given, combined, strict=True)
        positions = torch.empty((count, frames, atoms, 3), dtype=torch.float64)
        by_strain = torch.empty((count, frames, 3, 3), dtype=torch.float64) if strain else None
        return _Way(
            list(given.numpy().reshape(count, networks.members, frames, atoms)),
            [readout_kernel.bind_combine(one, self._gradients, out) for one, out in both],
            combined,
            positions,
            by_strain,
            Gathered(positions.numpy(), None if by_strain is None else by_strain.numpy()),
        )

    def _back(self, way: _Way) -> tuple[Call, Call]:
        """Return the calls that lead from gradients by the descriptors to the atoms."""
        graph, count = self._listed.graph, len(way.combined)
        number = len(graph.other_species)
        vectors, by_vectors = self._vectors.of(0, number)[0], self._vectors.of(count, number)
        geometry = kernel.Geometry(vectors, graph.begin, graph.other_species)
        data = [way.combined, by_vectors]
        return (
            kernel.bind(kernel.PULL_BACK, self._members.aev, geometry, count, data),
            pairs.bind_gather(by_vectors, vectors, graph, way.positions, way.strain),
        )


class _Vectors:
    """Room for pair vectors and K sets of gradients by these, kept while it is large enough."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._room: dict[int, Tensor] = {}

    def of(self, count: int, number: int) -> Tensor:
        """Return room for K sets of gradients by P vectors (K, P, 3); K = 0 for the vectors."""
        size = max(count, 1) * number * 3
        room = self._room.get(count)
        if room is None or len(room) < size:
            room = self._room[count] = torch.empty(size + size // 8, dtype=self._dtype)
        return room[:size].view(max(count, 1), number, 3)


def _nothing() -> None:
    return None
