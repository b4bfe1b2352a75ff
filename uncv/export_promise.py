"""What an exported file says of itself: format, units, atoms; for Python and for other programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from uncv._version import __version__
from uncv.cv import UncertaintyCV
from uncv.errors import FileFormatError
from uncv.units import ANGSTROM_IN_NM

FORMAT = "uncv-torchscript"
VERSION = 2
METADATA = "uncv.json"
LINES = "uncv.txt"
"""The same as `METADATA` in lines of a key and a value, for programs that read no JSON."""


def promise(
    cv: UncertaintyCV, numbers: Sequence[int], walkers: int, periodic: bool, output: str
) -> dict[str, Any]:
    """Return what a file of this collective variable promises.

    Parameters
    ----------
    cv : UncertaintyCV
        What is exported.
    numbers : sequence of int
        Atomic numbers (A,) of one walker.
    walkers : int
        Walkers in one call.
    periodic : bool
        Whether the atoms fill a cell.
    output : str
        What ``forward`` gives.
    """
    return {
        "format": FORMAT,
        "version": VERSION,
        "uncv": __version__,
        "fingerprint": cv.fingerprint,
        "numbers": [int(z) for z in numbers],
        "walkers": walkers,
        "periodic": periodic,
        "output": output,
        "kind": cv.kind,
        "per_atom": cv.uncertainty.per_atom,
        "smooth": cv.smooth,
        "dtype": str(cv.potential.dtype).removeprefix("torch."),
        "cutoff_angstrom": cv.potential.cutoff,
        "angstrom_in_nm": ANGSTROM_IN_NM,
        "positions_unit": "angstrom",
        "energy_unit": "eV",
    }


def as_texts(about: Mapping[str, Any]) -> dict[str, str]:
    """Return a promise as the extra files of an archive.

    >>> as_texts({"numbers": [8, 1], "periodic": True})["uncv.txt"].splitlines()
    ['numbers 8 1', 'periodic true']
    """
    lines = "".join(f"{key} {_word(value)}\n" for key, value in about.items())
    return {METADATA: json.dumps(about), LINES: lines}


def read_promise(text: str, path: str | Path) -> dict[str, Any]:
    """Return what `METADATA` of a file says.

    Raises
    ------
    FileFormatError
        If it is of another format or of a newer version.
    """
    try:
        about = json.loads(text)
    except ValueError as error:
        raise FileFormatError(
            f"{path} is not a file written by uncv export: {error}; export it again"
        ) from error
    if about.get("format") != FORMAT or about.get("version", 0) > VERSION:
        raise FileFormatError(
            f"{path} has format {about.get('format')} version {about.get('version')}; "
            f"expected {FORMAT} up to version {VERSION}; export it again"
        )
    return about


def _word(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
