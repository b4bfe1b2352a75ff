"""Objects named by a text: an import path, or a name in a file of the user's own."""

from __future__ import annotations

import difflib
import hashlib
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from uncv.errors import ConfigError


def load_object(path: str) -> Any:
    """Return the object that a path names; its module is imported, a file is executed.

    Parameters
    ----------
    path : str
        ``package.module.Name``, ``package.module:Name``, or ``folder/file.py:Name``.

    Raises
    ------
    ConfigError
        If the path is none of these, if the module or file cannot be imported, or if it has no
        such name.

    Examples
    --------
    >>> load_object("math.hypot")(3.0, 4.0)
    5.0
    """
    place, name = split_path(path)
    module = _run_file(Path(place)) if place.endswith(".py") else _import(place, path)
    try:
        return getattr(module, name)
    except AttributeError:
        known = [known for known in vars(module) if not known.startswith("_")]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "correct the name"
        raise ConfigError(f"{place} has no {name!r}; {hint}") from None


def split_path(path: str) -> tuple[str, str]:
    """Return the module or file of a path, and the name in it.

    Raises
    ------
    ConfigError
        If the path does not name both.

    Examples
    --------
    >>> split_path("ase.calculators.emt.EMT"), split_path("forces.py:make")
    (('ase.calculators.emt', 'EMT'), ('forces.py', 'make'))
    """
    place, _, name = path.rpartition(":" if ":" in path else ".")
    if not place or not name.isidentifier():
        raise ConfigError(
            f"{path!r} names no object; expected package.module.Name, package.module:Name or "
            "file.py:Name"
        )
    return place, name


def _import(place: str, path: str) -> ModuleType:
    try:
        return import_module(place)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"{path!r} cannot be imported ({error}); correct the path, install the package, or "
            "name a file as file.py:Name"
        ) from error


def _run_file(file: Path) -> ModuleType:
    """Execute a file once in each process, under a name that no other file has."""
    file = file.resolve()
    name = f"uncv_file_{hashlib.sha256(str(file).encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise ConfigError(f"there is no file {file}; give the path of a Python file")
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(f"{file} fails with {type(error).__name__}: {error}") from error
    return module
