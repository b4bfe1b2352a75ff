"""Potentials on disk: tensors and plain values alone, loaded without executing Python.

A potential made of somebody's torch modules holds them as TorchScript archives, which are programs
of their own; see docs/potentials.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from uncv.errors import FileFormatError
from uncv.models.ani import AniPotential
from uncv.models.files import POTENTIAL_FORMAT, POTENTIAL_VERSION, read_file
from uncv.models.module import ModulePotential


def load_file_potential(path: str | Path) -> AniPotential | ModulePotential:
    """Read a potential written by its ``save``.

    Raises
    ------
    FileFormatError
        If the file is damaged, of another kind or of a newer version.
    """
    return unpack(read_file(path, POTENTIAL_FORMAT, POTENTIAL_VERSION), path)


def unpack(content: dict[str, Any], path: str | Path) -> AniPotential | ModulePotential:
    """Make the potential again from what its ``packed`` gave."""
    try:
        architecture = content["architecture"]
        if architecture == "ani":
            return unpack_ani(content)
        if architecture == "module":
            return ModulePotential.unpacked(content)
    except (KeyError, TypeError, RuntimeError, ValueError, AttributeError) as error:
        raise FileFormatError(f"{path} does not hold a complete potential: {error}") from error
    raise FileFormatError(
        f"{path} holds a potential of architecture {architecture!r}; this uncv knows 'ani' and "
        "'module'; update uncv"
    )


def unpack_ani(content: dict[str, Any]) -> AniPotential:
    """Make an ANI-type ensemble again."""
    potential = AniPotential.from_metadata(json.loads(content["metadata"]))
    potential.to(getattr(torch, content["dtype"]))
    potential.load_state_dict(content["state"])
    return potential.requires_grad_(False)
