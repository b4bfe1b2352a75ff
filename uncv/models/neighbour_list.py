"""Neighbours of a batch by compiled code: calls ``neighbours.cpp``.

The same pairs in the same order as `Aev.graph`, in time that grows with the atoms, not with their
square. Angles are formed when somebody asks for them: the compiled descriptor does not.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_double, c_int64, c_void_p
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor

from uncv.data import Batch
from uncv.models import library
from uncv.models.aev import Aev, Triples
from uncv.models.neighbours import Pairs


class _Frames(ctypes.Structure):
    """Mirror of ``UncvFrames``."""

    _fields_ = (
        *((name, c_int64) for name in ("frames", "atoms")),
        *((name, c_void_p) for name in ("positions", "cells", "inverses", "periodic", "species")),
    )


class ListedGraph:
    """A `Graph` whose triples are made when first used.

    Parameters
    ----------
    aev : Aev
        The descriptor that it is for.
    species : torch.Tensor
        Index of each atom's element (F, A), −1 on padding.
    batch : Batch
        Positions in float64 or float32, on the CPU.
    skin : float
        In Å; see `Aev.graph`.

    Attributes
    ----------
    pairs, atoms, begin, other_species
        As in `Graph`.
    """

    def __init__(self, aev: Aev, species: Tensor, batch: Batch, skin: float) -> None:
        self._aev, self._skin, self._species = aev, skin, species.reshape(-1)
        self.pairs, self.begin, self._distance = _find(species, batch, aev.radial_cutoff + skin)
        self.atoms = len(self._species)
        self.other_species = self._species.index_select(0, self.pairs.other)

    @cached_property
    def triples(self) -> Triples:
        """Which pairs form angles; see `Graph`."""
        return self._aev.triples(self.pairs, self._species, self._distance, self._skin)


def _find(species: Tensor, batch: Batch, cutoff: float) -> tuple[Pairs, Tensor, Tensor]:
    """Return the pairs, where those of each atom begin (N + 1), and their distances (P)."""
    positions, cell = (t.detach().to(torch.float64) for t in (batch.positions, batch.cell))
    cells = torch.where(batch.pbc.unsqueeze(-1), cell, torch.eye(3, dtype=torch.float64))
    given = (positions, cells, torch.linalg.inv(cells), batch.pbc.to(torch.uint8), species)
    kept = [t.contiguous() for t in given]
    frames, list_of = _Frames(*species.shape, *(t.data_ptr() for t in kept)), c_void_p()
    count = _calls().uncv_neighbours(byref(frames), cutoff, byref(list_of))
    if count < 0:
        raise MemoryError("the neighbour list ran out of memory; evaluate fewer frames at once")
    centre, other = (torch.empty(count, dtype=torch.int64) for _ in range(2))
    shift = torch.empty((count if bool(batch.pbc.any()) else 0, 3), dtype=torch.float64)
    begin = torch.empty(species.numel() + 1, dtype=torch.int64)
    distance = torch.empty(count, dtype=torch.float64)
    places = (centre, other, shift, begin, distance)
    pointers = [t.data_ptr() if t.numel() else None for t in places]
    _calls().uncv_neighbours_take(list_of, *pointers)
    return Pairs(centre, other, shift.to(batch.positions.dtype)), begin, distance


@cache
def _calls() -> Any:
    calls = library.load().calls
    calls.uncv_neighbours.argtypes = (POINTER(_Frames), c_double, POINTER(c_void_p))
    calls.uncv_neighbours.restype = c_int64
    calls.uncv_neighbours_take.argtypes = [c_void_p] * 6
    calls.uncv_neighbours_take.restype = None
    return calls
