"""The compiled part of uncv: finds the library that fits this processor, and loads it.

Built by the installation from ``kernel.cpp`` and the other sources here, once for any processor and
once for each wider kind of vectors. Without it everything runs in plain torch.
"""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

VERSION = 4
"""What ``uncv_kernel_version`` must return: raised with the meaning of a call."""

REMEDY = "install uncv again (pip install -e .) where g++ or another C++17 compiler is found"

VARIANTS = {"DEFAULT": "_kernel", "AVX2": "_kernel_avx2", "AVX512": "_kernel_avx512"}
"""Names of the libraries by the processors they need, as torch calls these, the plainest first."""


class Library(NamedTuple):
    """A loaded library, or why there is none, with the remedy."""

    calls: Any
    problem: str


class Call(NamedTuple):
    """A function of the library with its first arguments, and the memory that these lead to."""

    function: Any
    arguments: tuple[Any, ...]
    kept: tuple[Any, ...]

    def __call__(self, *more: Any) -> Any:
        """Return what the function says of these arguments and more."""
        return self.function(*self.arguments, *more)


def available() -> bool:
    """Whether the compiled code can be used."""
    return not load().problem


def why_not() -> str:
    """Return why it cannot be used, with the remedy; empty if it can."""
    return load().problem


def supports(tensor: Tensor) -> bool:
    """Whether it can work on such a tensor here: on the CPU, in float32 or float64."""
    return tensor.is_cpu and tensor.dtype in (torch.float64, torch.float32) and available()


def library_file(capability: str) -> Path | None:
    """Return the best built library for a processor, None if there is none.

    Parameters
    ----------
    capability : str
        As torch calls it: 'AVX512', 'AVX2', or another, which gets the plainest.
    """
    here = Path(__file__).parent
    kinds = list(VARIANTS)
    best = kinds.index(capability) if capability in kinds else 0
    names = [VARIANTS[kind] for kind in reversed(kinds[: best + 1])]
    files = [here / (name + suffix) for name in names for suffix in EXTENSION_SUFFIXES]
    return next((file for file in files if file.is_file()), None)


@cache
def load() -> Library:
    """Return the library for this processor."""
    found = library_file(torch.backends.cpu.get_cpu_capability())
    if found is None:
        return Library(None, f"the compiled descriptor is not in {Path(__file__).parent}; {REMEDY}")
    try:
        library = ctypes.CDLL(str(found))
        version = library.uncv_kernel_version()
    except (OSError, AttributeError) as error:
        return Library(None, f"the compiled descriptor does not load ({error}); {REMEDY}")
    if version != VERSION:
        return Library(
            None, f"the compiled descriptor is of version {version}, not {VERSION}; {REMEDY}"
        )
    return Library(library, "")
