"""Pair vectors of a batch and their gradients' way back to atoms, compiled: calls ``pairs.cpp``."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_int, c_int64, c_void_p
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uncv.models import library
from uncv.models.aev import Graph
from uncv.models.library import Call

FloatArray = NDArray[np.float64]


class _Pairs(ctypes.Structure):
    """Mirror of ``UncvPairs``."""

    _fields_ = (
        *((name, c_int64) for name in ("atoms", "atoms_in_frame")),
        *((name, c_void_p) for name in ("begin", "other", "shift")),
    )


class Gathered(NamedTuple):
    """K gradients.

    Attributes
    ----------
    positions : numpy.ndarray
        By the positions (K, F, A, 3).
    strain : numpy.ndarray or None
        By a symmetric strain of atoms and cell (K, F, 3, 3).
    """

    positions: FloatArray
    strain: FloatArray | None


def bind_vectors(positions: Tensor, cells: Tensor, graph: Graph, out: Tensor) -> Call:
    """Return the call that writes the vectors (P, 3) from centre to other, without derivatives.

    It holds for as long as the tensors are what they are.

    Parameters
    ----------
    positions, cells : torch.Tensor
        (F, A, 3) and (F, 3, 3) in Å, float64, one piece of memory each.
    graph : Graph
        Their neighbours.
    out : torch.Tensor
        The vectors; differences are taken in float64.
    """
    pairs, kept = _pairs(positions.shape[1], graph)
    pointers = (t.data_ptr() for t in (positions, cells, out))
    arguments = (byref(pairs), out.dtype is torch.float64, *pointers)
    return Call(_calls().uncv_pair_vectors, arguments, (*kept, positions, cells, out))


def bind_gather(
    gradients: Tensor, vectors: Tensor, graph: Graph, positions: Tensor, strain: Tensor | None
) -> Call:
    """Return the call that brings gradients by the vectors to positions and strain.

    Parameters
    ----------
    gradients, vectors : torch.Tensor
        (K, P, 3) and (P, 3), of one type, one piece of memory each.
    graph : Graph
        The neighbours.
    positions, strain : torch.Tensor, torch.Tensor or None
        Where the results (K, F, A, 3) and (K, F, 3, 3) go, float64.
    """
    pairs, kept = _pairs(positions.shape[2], graph)
    pointers = (
        *(t.data_ptr() for t in (vectors, gradients, positions)),
        None if strain is None else strain.data_ptr(),
    )
    arguments = (byref(pairs), vectors.dtype is torch.float64, len(gradients), *pointers)
    everything = (*kept, gradients, vectors, positions, strain)
    return Call(_calls().uncv_pair_gather, arguments, everything)


def vectors_of(
    positions: FloatArray, cells: FloatArray, graph: Graph, dtype: torch.dtype
) -> Tensor:
    """Return the vectors (P, 3) from centre to other, without derivatives.

    Parameters
    ----------
    positions, cells : numpy.ndarray
        (F, A, 3) and (F, 3, 3) in Å, float64, one piece of memory each.
    graph : Graph
        Their neighbours.
    dtype : torch.dtype
        Of the vectors; differences are taken in float64.
    """
    out = torch.empty((graph.other_species.shape[0], 3), dtype=dtype)
    bind_vectors(torch.from_numpy(positions), torch.from_numpy(cells), graph, out)()
    return out


def gather(
    gradients: Tensor, vectors: Tensor, graph: Graph, shape: tuple[int, int], *, strain: bool
) -> Gathered:
    """Return gradients by positions and strain from K gradients by the vectors (K, P, 3).

    Parameters
    ----------
    gradients, vectors : torch.Tensor
        (K, P, 3) and (P, 3), of one type, on the CPU.
    graph : Graph
        The neighbours.
    shape : tuple of int
        Frames F and atoms A.
    strain : bool
        Whether a strain is wanted too.
    """
    count, (frames, atoms) = len(gradients), shape
    positions = torch.empty((count, frames, atoms, 3), dtype=torch.float64)
    by_strain = torch.empty((count, frames, 3, 3), dtype=torch.float64) if strain else None
    bind_gather(gradients.contiguous(), vectors, graph, positions, by_strain)()
    return Gathered(positions.numpy(), None if by_strain is None else by_strain.numpy())


def _pairs(atoms: int, graph: Graph) -> tuple[_Pairs, tuple[Tensor, ...]]:
    """Return the structure, and the tensors that its pointers lead to."""
    shift = graph.pairs.shift.to(torch.float64)
    kept = tuple(t.contiguous() for t in (graph.begin, graph.pairs.other, shift))
    begin, other, whole = (t.data_ptr() for t in kept)
    return _Pairs(graph.atoms, atoms, begin, other, whole if len(shift) else None), kept


@cache
def _calls() -> Any:
    calls = library.load().calls
    calls.uncv_pair_vectors.argtypes = (POINTER(_Pairs), c_int, *[c_void_p] * 3)
    calls.uncv_pair_vectors.restype = None
    calls.uncv_pair_gather.argtypes = (POINTER(_Pairs), c_int, c_int64, *[c_void_p] * 4)
    calls.uncv_pair_gather.restype = None
    return calls
