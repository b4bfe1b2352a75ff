"""Builds the plugin with CMake against the torch of this Python, and keeps it in a cache."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from uncv.errors import DependencyError
from uncv.plugin.installation import PlumedInstallation, find_plumed

NAME = "uncvplumed.so"
LOG = "build.log"
_PERCENT = re.compile(r"^\[ *(\d+)%\]")
_TAIL = 25  # lines of a failed build that are shown
_HERE = Path(__file__).resolve().parent


def path(*, headers: Path | None = None, static: bool = False) -> Path:
    """Return the plugin that is built for this torch and this PLUMED; nothing is built.

    Parameters
    ----------
    headers, static
        See `build`.

    Raises
    ------
    DependencyError
        If it is not built, or there is no PLUMED.
    """
    plumed = find_plumed(headers, static=static)
    library = _library(plumed)
    if not library.is_file():
        options = "" if headers is None else f" --headers {headers}"
        options += " --static" if static else ""
        raise DependencyError(
            f"the plugin for torch {_torch_version()} and PLUMED {plumed.version} is not built "
            f"(expected {library}); run: uncv plugin build{options}"
        )
    return library


def build(
    *,
    headers: Path | None = None,
    static: bool = False,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Build the plugin unless it is there already, and return the library for PLUMED's LOAD.

    It lies in the folder that UNCV_PLUGIN_DIR names, or the user's cache, apart for each torch,
    PLUMED and version of the sources.

    Parameters
    ----------
    headers : Path, optional
        Folder of PLUMED's headers; see `uncv.plugin.find_plumed`.
    static : bool
        Build for programs that hold PLUMED statically: no kernel is linked.
    force : bool
        Build it even if it is there.
    progress : callable, optional
        Told (done, 100).

    Raises
    ------
    DependencyError
        If CMake, a compiler or PLUMED is missing, or the build fails, with the end of its log.
    """
    plumed = find_plumed(headers, static=static)
    library = _library(plumed)
    if library.is_file() and not force:
        return library
    cmake = find_cmake()
    for program, found, remedy in (
        ("cmake", cmake, "pip install cmake"),
        (_compiler(), shutil.which(_compiler()), "apt install g++"),
    ):
        if not found:
            raise DependencyError(
                f"the plugin is built with {program}, which is not on PATH; run: {remedy}"
            )
    library.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="uncv_plugin_") as folder,
        (library.parent / LOG).open("w") as log,
    ):
        _run([str(cmake), "-S", str(sources()), "-B", folder, *_options(plumed)], log, progress)
        _run([str(cmake), "--build", folder], log, progress)
        fresh = library.with_name(f"{NAME}.{os.getpid()}")
        shutil.copy2(Path(folder) / NAME, fresh)
        fresh.replace(library)
    return library


def find_cmake() -> str | None:
    """Return CMake: on PATH, or as the package of this Python, whose programs may not be on PATH."""
    return shutil.which("cmake") or shutil.which("cmake", path=str(Path(sys.executable).parent))


def sources() -> Path:
    """Return the folder of the plugin's sources: in the package, or beside it in a checkout."""
    installed = _HERE / "source"
    return installed if installed.is_dir() else _HERE.parents[1] / "plugin"


def _library(plumed: PlumedInstallation) -> Path:
    """Return where the plugin for this torch, this PLUMED and these sources lies."""
    digest = hashlib.sha256()
    for file in sorted(sources().iterdir()):
        if file.suffix in (".cpp", ".h", ".txt"):
            digest.update(file.name.encode() + file.read_bytes())
    for part in (_torch_version(), _torch_folder(), *plumed):
        digest.update(f"{part}\n".encode())
    name = f"torch-{_torch_version()}_plumed-{plumed.version}_{digest.hexdigest()[:12]}"
    return _cache() / name / NAME


def _cache() -> Path:
    chosen = os.environ.get("UNCV_PLUGIN_DIR")
    if chosen:
        return Path(chosen).resolve()
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "uncv" / "plugin"


def _options(plumed: PlumedInstallation) -> list[str]:
    import torch

    folder = _torch_folder()
    if (folder / "lib" / "libtorch.so").is_file():
        where = [f"-DTORCH_DIR={folder}"]
    else:
        where = [f"-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}"]
    return [
        "-DCMAKE_BUILD_TYPE=Release",
        f"-DPLUMED_INCLUDE_DIR={plumed.headers}",
        f"-DPLUMED_KERNEL={plumed.kernel or ''}",
        f"-DTORCH_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}",
        *where,
    ]


def _run(command: list[str], log: IO[str], progress: Callable[[int, int], None] | None) -> None:
    log.write(" ".join(command) + "\n")
    with subprocess.Popen(  # noqa: S603  the commands are those of build
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            log.write(line)
            percent = _PERCENT.match(line)
            if percent and progress is not None:
                progress(int(percent.group(1)), 100)
    if process.returncode != 0:
        log.flush()
        tail = "".join(Path(log.name).read_text().splitlines(keepends=True)[-_TAIL:])
        raise DependencyError(
            f"the plugin could not be built ({Path(command[0]).name} ended with {process.returncode}); "
            f"the whole log is {log.name}, and its end:\n{tail}"
        )


def _compiler() -> str:
    """Return the compiler that CMake will take: the first word of CXX, or what there is."""
    chosen = os.environ.get("CXX", "").split()
    return chosen[0] if chosen else next((c for c in ("c++", "g++") if shutil.which(c)), "g++")


def _torch_version() -> str:
    return metadata.version("torch")


def _torch_folder() -> Path:
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        raise DependencyError('torch is not installed; run: pip install "torch==2.9.1"')
    return Path(spec.origin).parent
