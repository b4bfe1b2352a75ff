"""Potentials on disk: tensors and plain values alone, loaded without executing code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from uncv.errors import FileFormatError
from uncv.models.ani import AniPotential

FORMAT = "uncv-potential"
VERSION = 1


def save_potential(potential: AniPotential, path: str | Path) -> None:
    """Write a potential to one file, atomically."""
    write_file(path, FORMAT, VERSION, pack(potential))


def load_file_potential(path: str | Path) -> AniPotential:
    """Read a potential written by `save_potential`.

    Raises
    ------
    FileFormatError
        If the file is damaged, of another kind or of a newer version.
    """
    return unpack(read_file(path, FORMAT, VERSION), path)


def pack(potential: AniPotential) -> dict[str, Any]:
    """Return settings and weights as plain values and tensors."""
    return {
        "architecture": "ani",
        "dtype": str(potential.dtype).removeprefix("torch."),
        "metadata": json.dumps(potential.metadata()),
        "state": {k: v.detach().cpu().clone() for k, v in potential.state_dict().items()},
    }


def unpack(content: dict[str, Any], path: str | Path) -> AniPotential:
    """Make the potential again from what `pack` gave."""
    try:
        potential = AniPotential.from_metadata(json.loads(content["metadata"]))
        potential.to(getattr(torch, content["dtype"]))
        potential.load_state_dict(content["state"])
    except (KeyError, TypeError, RuntimeError, ValueError, AttributeError) as error:
        raise FileFormatError(f"{path} does not hold a complete potential: {error}") from error
    return potential.requires_grad_(False)


def write_file(path: str | Path, kind: str, version: int, content: dict[str, Any]) -> None:
    """Write plain values and tensors to a file that appears whole or not at all."""
    path = Path(path)
    scratch = path.with_name(path.name + ".part")
    torch.save({"format": kind, "version": version, **content}, scratch)
    scratch.replace(path)


def read_file(path: str | Path, kind: str, version: int) -> dict[str, Any]:
    """Read such a file and check what it says of itself.

    Raises
    ------
    FileFormatError
        If the file is damaged, of another kind or of a newer version.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; expected a file of kind {kind}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        found, number = content["format"], content["version"]
    except Exception as error:  # torch raises many types for a damaged archive
        raise FileFormatError(
            f"{path} is damaged or not a file of uncv (expected kind {kind}): {error}"
        ) from error
    if found != kind:
        raise FileFormatError(f"{path} is of kind {found}; expected {kind}")
    if number > version:
        raise FileFormatError(
            f"{path} has format version {number} but this uncv reads up to {version}; update uncv"
        )
    return content
