"""Files of plain values and tensors that say what they are and load without executing code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from uncv.errors import FileFormatError

POTENTIAL_FORMAT = "uncv-potential"
POTENTIAL_VERSION = 1
"""Of files that hold a potential of any architecture."""


def write_file(path: str | Path, kind: str, version: int, content: dict[str, Any]) -> None:
    """Write plain values and tensors to a file that appears whole or not at all.

    Raises
    ------
    FileNotFoundError
        If its folder does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist; make it first")
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
