"""The compiled networks: packs their weights, calls ``readout.cpp``.

The library gives the energies of all atoms and members together with the gradient of each by the
descriptor, so that the backward pass is one small product for any combination of the members, and
a second combination costs no more than another such product.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, byref, c_int, c_int64, c_void_p
from functools import cache
from operator import attrgetter, methodcaller
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from uncv.groups import AtomGroups
from uncv.models import library
from uncv.models.library import Call
from uncv.models.networks import BatchedLinear, ElementNetwork

MOST_NUMBERS = 2**25
"""Gradients (N, M, D) are kept up to this many numbers; larger batches go through plain torch."""


_STATE = (methodcaller("data_ptr"), attrgetter("_version"), attrgetter("requires_grad"))


class _Readout(ctypes.Structure):
    """Mirror of ``UncvReadout``."""

    _fields_ = (
        *((name, c_int64) for name in ("elements", "members", "width", "smooth")),
        *((name, c_void_p) for name in ("layers", "widths", "sizes", "memory")),
    )


class _Tape(ctypes.Structure):
    """Mirror of ``UncvTape``."""

    _fields_ = (
        *((name, c_void_p) for name in ("last", "slopes")),
        *((name, c_int64) for name in ("last_width", "slopes_width")),
    )


class Run(NamedTuple):
    """What the networks give.

    Attributes
    ----------
    energies : torch.Tensor
        (M, N), zero on padding, in units of the output scale.
    gradients : torch.Tensor or None
        By the descriptors (N, M, D).
    last : torch.Tensor or None
        Input of the last layer (M, N, H), zero on padding and past an element's own width.
    slopes : torch.Tensor or None
        Slopes of the activations of all hidden layers, as the library lays them out.
    """

    energies: Tensor
    gradients: Tensor | None
    last: Tensor | None = None
    slopes: Tensor | None = None


class CompiledNetworks:
    """The networks of all elements, packed for the library.

    Parameters
    ----------
    networks : sequence of ElementNetwork
        One for each element, with one output; not trained.
    """

    def __init__(self, networks: Sequence[ElementNetwork]) -> None:
        self._made_from = [p for network in networks for p in network.parameters()]
        self._state = self._now()
        self.dtype = self._made_from[0].dtype
        self.width, self.members, _ = networks[0].first.weight.shape
        lanes = _calls().uncv_lanes(self.dtype is torch.float64)
        with torch.no_grad():
            self._memory = [_packed(network, lanes) for network in networks]
        hidden = [_hidden_widths(network) for network in networks]
        self._last_width = max(own[-1] for own in hidden)
        self._slopes_width = max(sum(w + -w % lanes for w in own) for own in hidden)
        layers = [1 + len(network.rest) for network in networks]
        widths = [layer.bias.shape[-1] for n in networks for layer in (n.first, *n.rest)]
        sizes = [memory.shape[1] for memory in self._memory]
        pointers = [memory.data_ptr() for memory in self._memory]
        self._tables = [np.array(t, dtype=np.int64) for t in (layers, widths, sizes, pointers)]
        self._readout = _Readout(
            len(networks),
            self.members,
            self.width,
            networks[0].smooth,
            *(table.ctypes.data for table in self._tables),
        )

    @staticmethod
    def fits(networks: Sequence[ElementNetwork]) -> bool:
        """Return whether the library can do these: on the CPU, one output each, not trained."""
        weights = [p for network in networks for p in network.parameters()]
        return (
            all(library.supports(weight) for weight in weights)
            and not any(weight.requires_grad for weight in weights)
            and all(network.outputs == 1 for network in networks)
        )

    def is_current(self) -> bool:
        """Return whether the networks still have the weights that it was made from."""
        return self._state == self._now()

    def takes(self, described: Tensor) -> bool:
        """Return whether a batch of descriptors (N, D) is of its kind, and not too large."""
        return described.is_cpu and self.fits_in(described.dtype, described.shape[0])

    def fits_in(self, dtype: torch.dtype, atoms: int) -> bool:
        """Return whether descriptors of so many atoms are of its kind, and not too many."""
        return dtype is self.dtype and atoms * self.members * self.width <= MOST_NUMBERS

    def run(
        self, described: Tensor, groups: AtomGroups, *, slopes: bool, last: bool = False
    ) -> Run:
        """Return what the networks give, and what the descriptor does to it.

        Parameters
        ----------
        described : torch.Tensor
            Descriptors (N, D) of N = F·A atoms.
        groups : AtomGroups
            Which of them belong to which network.
        slopes : bool
            Whether gradients are wanted.
        last : bool
            Whether the input of the last layer is wanted too.

        Raises
        ------
        ValueError
            If the descriptors have another width than the networks.
        MemoryError
        """
        atoms, width = described.shape
        if width != self.width:
            raise ValueError(f"descriptors are {width} wide; the networks expect {self.width}")
        x = described.detach().contiguous()
        whole = sum(len(row) for row in groups.rows) == atoms
        make = x.new_empty if whole else x.new_zeros  # padding has no gradient
        found = Run(
            x.new_zeros((self.members, atoms)),
            make((atoms, self.members, width)) if slopes else None,
            x.new_zeros((self.members, atoms, self._last_width)) if last else None,
            x.new_empty((self.members, atoms, self._slopes_width)) if last and slopes else None,
        )
        finish(self.bind(x, groups, found)(torch.get_num_threads()))
        return found

    def bind(self, described: Tensor, groups: AtomGroups, to: Run) -> Call:
        """Return the call that reads descriptors (N, D) and writes a `Run`.

        It takes the number of threads, gives a status for `finish`, and holds for as long as the
        tensors are what they are; it leaves alone what is zero on padding.
        """
        return self._bind(
            _calls().uncv_readout,
            groups,
            (to.last, to.slopes),
            (described, to.energies, to.gradients),
        )

    def back(
        self, cotangents: Tensor, slopes: Tensor, groups: AtomGroups, gradients: Tensor
    ) -> None:
        """Add to gradients (N, D) what follows from cotangents (M, N, H) of the last layer's input.

        Parameters
        ----------
        cotangents, slopes, groups : torch.Tensor, torch.Tensor, AtomGroups
            Those of `Run.last`, and what `run` gave.
        gradients : torch.Tensor
            What is added to.

        Raises
        ------
        MemoryError
        """
        data = (cotangents.contiguous(), gradients)
        call = self._bind(_calls().uncv_readout_back, groups, (None, slopes), data)
        finish(call(torch.get_num_threads()))

    def _bind(
        self,
        call: Any,
        groups: AtomGroups,
        tape: tuple[Tensor | None, Tensor | None],
        data: tuple[Tensor | None, ...],
    ) -> Call:
        rows = [row.contiguous() for row in groups.rows]
        counts = (c_int64 * len(rows))(*(len(row) for row in rows))
        places = (c_void_p * len(rows))(*(row.data_ptr() for row in rows))
        kept = _Tape(*(_pointer(t) for t in tape), self._last_width, self._slopes_width)
        is_double, atoms = self.dtype is torch.float64, groups.back.shape[0]
        head = (byref(self._readout), is_double, atoms, counts, places, byref(kept))
        arguments = (*head, *(_pointer(tensor) for tensor in data))
        return Call(call, arguments, (self, rows, *tape, *data))

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        """Travel as nothing: pointers mean nothing elsewhere, and packing takes milliseconds."""
        return _nothing, ()

    def _now(self) -> tuple[list[int], list[int], list[bool]]:
        where, version, trained = (list(map(ask, self._made_from)) for ask in _STATE)
        return where, version, trained


def finish(status: int) -> None:
    """Raise what the status of a call means, if it is not 0.

    Raises
    ------
    MemoryError
    """
    if status:
        raise MemoryError("the networks ran out of memory; evaluate fewer frames at once")


def combine(cotangent: Tensor, gradients: Tensor) -> Tensor:
    """Return the gradient (N, D) of Σ c·E from cotangents c (M, N) and ∂E (N, M, D)."""
    atoms, _, width = gradients.shape
    out = gradients.new_empty((atoms, width))
    bind_combine(cotangent.contiguous(), gradients, out)()
    return out


def bind_combine(cotangent: Tensor, gradients: Tensor, out: Tensor) -> Call:
    """Return the call that writes what `combine` returns, for as long as the tensors stay."""
    pointers = (t.data_ptr() for t in (cotangent, gradients, out))
    is_double = gradients.dtype is torch.float64
    arguments = (is_double, *gradients.shape, *pointers)
    return Call(_calls().uncv_combine, arguments, (cotangent, gradients, out))


def _hidden_widths(network: ElementNetwork) -> list[int]:
    rest = cast("list[BatchedLinear]", list(network.rest))
    return [network.first.bias.shape[-1], *(layer.bias.shape[-1] for layer in rest[:-1])]


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _nothing() -> None:
    return None


def _packed(network: ElementNetwork, lanes: int) -> Tensor:
    """Return the weights of one element (M, numbers): upwards with biases, output, downwards."""
    first, rest = network.first, cast("list[BatchedLinear]", list(network.rest))
    weights = [first.weight.transpose(0, 1), *(layer.weight for layer in rest)]
    biases = [first.bias, *(layer.bias.squeeze(1) for layer in rest)]
    parts: list[Tensor] = []
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        parts += [*_panels(weight, lanes), _whole(bias, lanes)]
    parts += [_whole(weights[-1].squeeze(2), lanes), _whole(biases[-1], lanes)]
    for weight in reversed(weights[:-1]):
        parts += _panels(weight.transpose(1, 2), lanes)
    return torch.cat(parts, dim=1).contiguous()


def _panels(weight: Tensor, lanes: int) -> list[Tensor]:
    """Return matrices (M, in, out) as pieces of two vectors' width, row after row."""
    wide = _whole(weight, lanes)
    return [part.flatten(1) for part in wide.split(2 * lanes, dim=2)]


def _whole(values: Tensor, lanes: int) -> Tensor:
    """Return values whose last axis is padded with zeros to whole vectors."""
    return pad(values, (0, -values.shape[-1] % lanes))


@cache
def _calls() -> Any:
    calls, pointers = library.load().calls, [c_void_p] * 5
    head = (POINTER(_Readout), c_int, c_int64, *pointers[:2], POINTER(_Tape))
    calls.uncv_readout.argtypes = (*head, *pointers[:3], c_int64)
    calls.uncv_readout.restype = c_int
    calls.uncv_readout_back.argtypes = (*head, *pointers[:2], c_int64)
    calls.uncv_readout_back.restype = c_int
    calls.uncv_combine.argtypes = (c_int, *[c_int64] * 3, *pointers[:3])
    calls.uncv_combine.restype = None
    return calls
