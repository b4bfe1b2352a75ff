"""The compiled descriptor: calls ``kernel.cpp`` and ``curvature.cpp``.

Same numbers as ``Aev.forward`` and its derivatives; a small molecule's descriptor costs some
twenty microseconds instead of milliseconds of operator overhead. Without the library, or on other
devices than the CPU, callers use plain torch (``uncv.models.descriptor`` does that by itself).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from ctypes import POINTER, byref, c_double, c_int, c_int64, c_void_p
from functools import cache
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from uncv.errors import DependencyError
from uncv.models.aev import Aev
from uncv.models.library import Call, load

DESCRIBE, PULL_BACK, PUSH_FORWARD, CURVE = 0, 1, 2, 3
BAD_PAIRS = 1


class _Constants(ctypes.Structure):
    """Mirror of ``UncvAev``."""

    _fields_ = (
        *((name, c_int64) for name in ("species", "radial", "shells", "angles")),
        *((name, c_double) for name in ("radial_cutoff", "angular_cutoff")),
        *((name, c_double) for name in ("radial_eta", "angular_eta", "zeta")),
        *((name, c_void_p) for name in ("radial_shifts", "angular_shifts")),
        *((name, c_void_p) for name in ("angle_cos", "angle_sin", "species_pair")),
    )


class _Packed(NamedTuple):
    """Constants of one ``Aev``, and the tensors that their pointers lead to."""

    reference: Any
    width: int
    dtype: torch.dtype
    kept: tuple[Tensor, ...]
    pointers: list[int]

    def holds(self, aev: Aev) -> bool:
        """Whether the pointers still lead there: sending a module to a process moves tensors."""
        here = [value.data_ptr() for value in self.kept]
        return self.dtype is aev.radial_shifts.dtype and self.pointers == here


class Geometry(NamedTuple):
    """Pair vectors and what the pairs are; see ``describe``."""

    vectors: Tensor
    begin: Tensor
    other_species: Tensor


_packed: WeakKeyDictionary[Aev, _Packed] = WeakKeyDictionary()


def describe(aev: Aev, vectors: Tensor, begin: Tensor, other_species: Tensor) -> Tensor:
    """Return the descriptors (N, D), without derivatives.

    Parameters
    ----------
    aev : Aev
        The constants.
    vectors : torch.Tensor
        Pair vectors (P, 3) in Å, sorted by centre, float32 or float64, on the CPU. Terms beyond
        the cutoffs are zero.
    begin : torch.Tensor
        Where the pairs of each atom begin, int64 (N + 1).
    other_species : torch.Tensor
        Index of the other atom's element, int64 (P).

    Raises
    ------
    DependencyError
        If the library is not there.
    ValueError
        If a tensor is on another device, or of another type or shape than expected.
    """
    packed = _pack(aev)
    out = vectors.new_empty((begin.shape[0] - 1, packed.width))
    _run(DESCRIBE, aev, Geometry(vectors, begin, other_species), 1, [None, out])
    return out


def pull_back(
    aev: Aev, cotangents: Tensor, vectors: Tensor, begin: Tensor, other_species: Tensor
) -> Tensor:
    """Return Jᵀg (K, P, 3) of K cotangents g (K, N, D), J the Jacobian of ``describe``.

    The other arguments and the errors are those of ``describe``.
    """
    packed = _pack(aev)
    count = cotangents.shape[0]
    _check_shape("cotangents", cotangents, (count, begin.shape[0] - 1, packed.width), vectors)
    out = vectors.new_empty((count, vectors.shape[0], 3))
    geometry = Geometry(vectors, begin, other_species)
    _run(PULL_BACK, aev, geometry, count, [cotangents.contiguous(), out])
    return out


def push_forward(
    aev: Aev, tangents: Tensor, vectors: Tensor, begin: Tensor, other_species: Tensor
) -> Tensor:
    """Return Jv (K, N, D) of K tangents v (K, P, 3), J the Jacobian of ``describe``.

    The other arguments and the errors are those of ``describe``.
    """
    packed = _pack(aev)
    count = tangents.shape[0]
    _check_shape("tangents", tangents, (count, vectors.shape[0], 3), vectors)
    out = vectors.new_empty((count, begin.shape[0] - 1, packed.width))
    geometry = Geometry(vectors, begin, other_species)
    _run(PUSH_FORWARD, aev, geometry, count, [tangents.contiguous(), out])
    return out


def curve(
    aev: Aev,
    cotangents: Tensor,
    tangents: Tensor,
    vectors: Tensor,
    begin: Tensor,
    other_species: Tensor,
) -> Tensor:
    """Return how each of K products Jᵀg changes along its tangent v, (K, P, 3).

    That is the product of v with the Hessian of ⟨g, descriptor⟩ by the vectors. The arguments are
    K cotangents g (K, N, D) and K tangents (K, P, 3); the others and the errors are those of
    ``describe``.
    """
    packed = _pack(aev)
    count = cotangents.shape[0]
    _check_shape("cotangents", cotangents, (count, begin.shape[0] - 1, packed.width), vectors)
    _check_shape("tangents", tangents, (count, vectors.shape[0], 3), vectors)
    out = torch.empty_like(tangents, memory_format=torch.contiguous_format)
    geometry = Geometry(vectors, begin, other_species)
    _run(CURVE, aev, geometry, count, [cotangents.contiguous(), tangents.contiguous(), out])
    return out


def bind(
    task: int, aev: Aev, geometry: Geometry, count: int, data: Sequence[Tensor | None]
) -> Call:
    """Return the call of a task, which takes the number of threads and gives a status.

    It holds for as long as the tensors are what they are, and the constants where they were.

    Parameters
    ----------
    task : int
        DESCRIBE, PULL_BACK, PUSH_FORWARD or CURVE.
    aev : Aev
        The constants.
    geometry : Geometry
        As in ``describe``.
    count : int
        K.
    data : sequence of torch.Tensor or None
        What the task reads, if anything, and where it writes: one piece of memory each.

    Raises
    ------
    DependencyError, ValueError
        As in ``describe``.
    """
    calls = _calls()
    _check(*geometry)
    vectors, begin, other_species = (tensor.contiguous() for tensor in geometry)
    packed = _pack(aev)
    tensors = (begin, other_species, vectors, *data)
    arguments = (
        packed.reference,
        *(() if task == CURVE else (task,)),
        vectors.dtype is torch.float64,
        *(begin.shape[0] - 1, vectors.shape[0], count),
        *(None if tensor is None else tensor.data_ptr() for tensor in tensors),
    )
    call = calls.uncv_curve if task == CURVE else calls.uncv_aev
    return Call(call, arguments, (packed, *tensors))


def finish(status: int) -> None:
    """Raise what the status of a call means, if it is not 0.

    Raises
    ------
    ValueError, MemoryError
    """
    if status == BAD_PAIRS:
        raise ValueError(
            "begin and other_species do not describe pairs sorted by centre of the elements that "
            "the descriptor knows; take both from Aev.graph"
        )
    if status:
        raise MemoryError("the descriptor ran out of memory; evaluate fewer frames at once")


def constants_stay(aev: Aev) -> Callable[[], bool]:
    """Return what says whether the constants are where calls bound now look for them."""
    packed = _pack(aev)
    return lambda: packed.holds(aev)


def _run(task: int, aev: Aev, geometry: Geometry, count: int, data: list[Tensor | None]) -> None:
    finish(bind(task, aev, geometry, count, data)(torch.get_num_threads()))


def _check(vectors: Tensor, begin: Tensor, other_species: Tensor) -> None:
    if not (vectors.is_cpu and begin.is_cpu and other_species.is_cpu):
        raise ValueError(
            f"the compiled descriptor works on the CPU, the tensors are on {vectors.device}, "
            f"{begin.device} and {other_species.device}; use Aev.forward on other devices"
        )
    if vectors.dtype not in (torch.float64, torch.float32):
        raise ValueError(f"vectors are {vectors.dtype}; expected float32 or float64")
    if begin.dtype is not torch.int64 or other_species.dtype is not torch.int64:
        raise ValueError(
            f"begin is {begin.dtype} and other_species {other_species.dtype}; expected int64"
        )
    pairs = vectors.shape[0]
    if vectors.shape != (pairs, 3) or other_species.shape != (pairs,) or begin.dim() != 1:
        raise ValueError(
            f"vectors are {tuple(vectors.shape)}, other_species {tuple(other_species.shape)} and "
            f"begin {tuple(begin.shape)}; expected (P, 3), (P) and (N + 1)"
        )


def _check_shape(name: str, given: Tensor, shape: tuple[int, ...], like: Tensor) -> None:
    if given.shape != shape or given.dtype is not like.dtype or not given.is_cpu:
        raise ValueError(
            f"{name} are {tuple(given.shape)}, {given.dtype}, on {given.device}; expected "
            f"{shape}, {like.dtype}, on the CPU"
        )


def _pack(aev: Aev) -> _Packed:
    packed = _packed.get(aev)
    if packed is None or not packed.holds(aev):
        packed = _packed[aev] = _fresh(aev)
    return packed


def _fresh(aev: Aev) -> _Packed:
    shifts = (aev.radial_shifts, aev.angular_shifts, aev.angle_cos, aev.angle_sin)
    kept = (
        *(value.detach().to("cpu", torch.float64).contiguous() for value in shifts),
        aev.species_pair.cpu().contiguous(),
    )
    pointers = [value.data_ptr() for value in kept]
    constants = _Constants(
        aev.species,
        *(len(value) for value in kept[:3]),
        aev.radial_cutoff,
        aev.angular_cutoff,
        aev.radial_eta,
        aev.angular_eta,
        aev.zeta,
        *pointers,
    )
    return _Packed(byref(constants), aev.width, aev.radial_shifts.dtype, kept, pointers)


@cache
def _calls() -> Any:
    library = load()
    if library.problem:
        raise DependencyError(library.problem)
    calls = library.calls
    sizes = [c_int64] * 3
    calls.uncv_aev.argtypes = (POINTER(_Constants), c_int, c_int, *sizes, *[c_void_p] * 5, c_int64)
    calls.uncv_curve.argtypes = (POINTER(_Constants), c_int, *sizes, *[c_void_p] * 6, c_int64)
    for call in (calls.uncv_aev, calls.uncv_curve):
        call.restype = c_int
    return calls
