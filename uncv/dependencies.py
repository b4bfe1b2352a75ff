"""Versions that must match before a library is imported, with the remedy where they do not."""

from __future__ import annotations

from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from uncv.errors import DependencyError


class Pin(NamedTuple):
    """A distribution and the leading part of the version that uncv is made for."""

    distribution: str
    version: str

    @property
    def remedy(self) -> str:
        """What to type to get it."""
        return f'pip install "{self.distribution}=={self.version}"'


OPENMMTORCH = (Pin("torch", "2.9.1"), Pin("openmm", "8.5.2"), Pin("openmmtorch", "1.5"))
"""openmmtorch is linked against exactly these; with others it fails to load or crashes Python."""


def installed_version(distribution: str) -> str | None:
    """Return the installed version of a distribution without importing it, None if absent."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def matches(found: str, wanted: str) -> bool:
    """Whether a version begins with the numbers of another, its local part aside.

    >>> matches("2.9.1+cu128", "2.9.1"), matches("8.50", "8.5")
    (True, False)
    """
    numbers = wanted.split(".")
    return found.split("+")[0].split(".")[: len(numbers)] == numbers


def check_pins(*pins: Pin) -> None:
    """Check installed versions by their metadata alone.

    Raises
    ------
    DependencyError
        If one is absent or of another version, with the command that installs the right ones.
    """
    wrong = []
    for pin in pins:
        found = installed_version(pin.distribution)
        if found is None or not matches(found, pin.version):
            wrong.append(f"{pin.distribution} {pin.version} (found {found or 'none'})")
    if wrong:
        wanted = " ".join(f'"{p.distribution}=={p.version}"' for p in pins)
        raise DependencyError(f"uncv needs {', '.join(wrong)} here; run: pip install {wanted}")


def import_openmmtorch() -> ModuleType:
    """Return openmmtorch after checking that it can be loaded safely.

    A TorchForce of a build for another OpenMM or torch ends the interpreter with a segmentation
    fault, so the versions are compared before anything is loaded; torch is imported first.

    Raises
    ------
    DependencyError
        If torch, openmm and openmmtorch are not the versions that belong together.
    """
    check_pins(*OPENMMTORCH)
    try:
        import_module("torch")
        _load_torch_kernels()
        return import_module("openmmtorch")
    except ImportError as error:
        raise DependencyError(
            f"openmmtorch does not load ({error}); reinstall it: {OPENMMTORCH[2].remedy}"
        ) from error


def _load_torch_kernels() -> None:
    """Load TorchForce's kernels where OpenMM could not, having been imported before torch."""
    openmm = import_module("openmm")
    folder = Path(import_module("openmm.version").openmm_library_path) / "plugins"
    failures = " ".join(openmm.Platform.getPluginLoadFailures())
    for platform in ("Reference", "CUDA"):
        for library in folder.glob(f"libOpenMMTorch{platform}*"):
            if str(library) in failures:
                openmm.Platform.loadPluginLibrary(str(library))


def import_plumed() -> ModuleType:
    """Return the Python module of PLUMED.

    Raises
    ------
    DependencyError
        If it is absent.
    """
    try:
        return import_module("plumed")
    except ImportError as error:
        raise DependencyError(
            f"PLUMED's Python module is not there ({error}); run: "
            "pip install --no-deps hillclimber==0.1.8, or with conda: "
            "conda install -c conda-forge plumed py-plumed"
        ) from error
