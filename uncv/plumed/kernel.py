"""Finds PLUMED's shared library and makes instances of it."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import numpy as np

from uncv.dependencies import import_plumed
from uncv.errors import DependencyError
from uncv.plumed.command_text import CommandText

LOWEST_API = 10
"""Version of PLUMED's interface that knows isExtraCVNeeded (PLUMED 2.10)."""
FAILURES = (RuntimeError, TypeError, ValueError, LookupError, ArithmeticError, OSError)
"""What PLUMED's Python module raises: its own errors and those of C++ by their Python names."""
_REMEDY = (
    "run: pip install --no-deps hillclimber==0.1.8, or with conda: conda install -c conda-forge "
    "plumed py-plumed, or set PLUMED_KERNEL to the path of libplumedKernel"
)


def plumed_kernel() -> Path:
    """Return the shared library that does PLUMED's work.

    Looked for in the environment variable PLUMED_KERNEL, beside the Python module ``plumed``,
    and in the ``lib`` folder of the environment.

    Raises
    ------
    DependencyError
        If there is none, or PLUMED_KERNEL names a file that does not exist.
    """
    name = "libplumedKernel.dylib" if sys.platform == "darwin" else "libplumedKernel.so"
    chosen = os.environ.get("PLUMED_KERNEL")
    if chosen:
        if not Path(chosen).is_file():
            raise DependencyError(f"PLUMED_KERNEL names {chosen}, which does not exist; {_REMEDY}")
        return Path(chosen)
    spec = find_spec("plumed")
    packages = (spec.submodule_search_locations or []) if spec else []
    folders = [Path(package) / "_lib" / "lib" for package in packages]
    folders += [Path(p) / "lib" for p in (sys.prefix, os.environ.get("CONDA_PREFIX", "")) if p]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise DependencyError(f"there is no {name} in {', '.join(map(str, folders))}; {_REMEDY}")


def plumed_version() -> str:
    """Return the version of the kernel as it tells it itself, for instance '2.11.0-dev'.

    Raises
    ------
    DependencyError
        If PLUMED is not installed or is too old.
    """
    plumed = new_instance()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        plumed.cmd(CommandText("setLogFile"), str(log))
        plumed.cmd("init")
        plumed.finalize()
        words = log.read_text().split()
    return words[words.index("Version:") + 1]


def new_instance() -> Any:
    """Return an instance that has been told nothing yet.

    Raises
    ------
    DependencyError
        If PLUMED is not installed, does not load or is too old.
    """
    kernel = plumed_kernel()
    module = import_plumed()
    with _standard_error_in_a_file() as banner:
        try:
            plumed = module.Plumed(kernel=str(kernel))
        except FAILURES as error:
            banner.seek(0)
            said = banner.read().decode(errors="replace").strip()
            raise DependencyError(
                f"the PLUMED kernel {kernel} does not load: {error} {said}; {_REMEDY}"
            ) from error
    api = np.zeros(1, dtype=np.int32)
    plumed.cmd("getApiVersion", api)
    if api[0] < LOWEST_API:
        raise DependencyError(
            f"uncv needs PLUMED 2.10 or later (interface {LOWEST_API}), found interface {api[0]} "
            f"in {kernel}; {_REMEDY}"
        )
    return plumed


@contextmanager
def _standard_error_in_a_file() -> Iterator[IO[bytes]]:
    """Keep the banner that PLUMED's loader writes for each instance off the terminal."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as banner:
        os.dup2(banner.fileno(), 2)
        try:
            yield banner
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
