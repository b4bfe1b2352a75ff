"""Which PLUMED the plugin is built for: its headers, its shared kernel and its version."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from uncv.errors import DependencyError
from uncv.plumed import plumed_kernel

_MARK = Path("core", "Colvar.h")
_VERSION = re.compile(r'PLUMED_VERSION_LONG\s+"([^"]+)"')
_SECONDS = 30


class PlumedInstallation(NamedTuple):
    """What a plugin must agree with.

    Attributes
    ----------
    headers : Path
        The folder that holds core/Colvar.h.
    kernel : Path or None
        The shared library; None where programs hold PLUMED statically.
    version : str
        As the headers tell it, for instance '2.11.0-dev'.
    """

    headers: Path
    kernel: Path | None
    version: str


def find_plumed(headers: Path | None = None, *, static: bool = False) -> PlumedInstallation:
    """Return the PLUMED to build for.

    Parameters
    ----------
    headers : Path, optional
        Folder of its headers, as `plumed info --include-dir` prints it, or the folder ``plumed``
        in it. By default that beside the kernel which uncv itself uses, else what the command
        ``plumed`` on PATH says, else what pkg-config says.
    static : bool
        Whether the programs that will load the plugin hold PLUMED statically.

    Raises
    ------
    DependencyError
        If there are no headers.
    """
    looked = []
    for folder in _candidates() if headers is None else [headers]:
        looked.append(str(folder))
        for inner in (folder, folder / "plumed"):
            if (inner / _MARK).is_file():
                kernel = None if static else _kernel_of(inner)
                return PlumedInstallation(inner.resolve(), kernel, _version_of(inner))
    where = f"in {', '.join(looked)}" if looked else "here, nor PLUMED itself"
    raise DependencyError(
        f"there are no headers of PLUMED ({_MARK}) {where}; give their folder with --headers, "
        "or run: pip install --no-deps hillclimber==0.1.8"
    )


def _candidates() -> Iterator[Path]:
    with suppress(DependencyError):  # uncv itself may have none where other programs do
        yield plumed_kernel().parent.parent / "include"
    for command in (
        ["plumed", "--no-mpi", "info", "--include-dir"],
        ["pkg-config", "--variable=includedir", "plumedInternals"],
    ):
        said = _said(command)
        if said:
            yield Path(said)


def _said(command: list[str]) -> str:
    """Return what a command prints, nothing where it is absent or fails."""
    program = shutil.which(command[0])
    if program is None:
        return ""
    try:
        done = subprocess.run(  # noqa: S603  the commands are the two above
            [program, *command[1:]], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _kernel_of(headers: Path) -> Path | None:
    """Return the kernel in the same prefix, named as the headers: libplumed_mpiKernel, say."""
    for name in ("lib", "lib64"):
        folder = headers.parent.parent / name
        found = folder / f"lib{headers.name}Kernel.so"
        if found.is_file():
            return found.resolve()
    return None


def _version_of(headers: Path) -> str:
    file = headers / "config" / "version.h"
    found = _VERSION.search(file.read_text()) if file.is_file() else None
    if found is None:
        raise DependencyError(
            f"{file} does not tell PLUMED's version; expected a line PLUMED_VERSION_LONG: "
            "install PLUMED 2.10 or later"
        )
    return found.group(1)
