"""Potentials on disk: tensors and plain values alone, loaded without executing code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from uncv.errors import FileFormatError
from uncv.models.ani import POTENTIAL_FORMAT, POTENTIAL_VERSION, AniPotential
from uncv.models.files import read_file


def load_file_potential(path: str | Path) -> AniPotential:
    """Read a potential written by `AniPotential.save`.

    Raises
    ------
    FileFormatError
        If the file is damaged, of another kind or of a newer version.
    """
    return unpack(read_file(path, POTENTIAL_FORMAT, POTENTIAL_VERSION), path)


def unpack(content: dict[str, Any], path: str | Path) -> AniPotential:
    """Make the potential again from what `AniPotential.packed` gave."""
    try:
        potential = AniPotential.from_metadata(json.loads(content["metadata"]))
        potential.to(getattr(torch, content["dtype"]))
        potential.load_state_dict(content["state"])
    except (KeyError, TypeError, RuntimeError, ValueError, AttributeError) as error:
        raise FileFormatError(f"{path} does not hold a complete potential: {error}") from error
    return potential.requires_grad_(False)
