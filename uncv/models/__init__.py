"""Interatomic potentials: ensembles whose members are evaluated together."""

from __future__ import annotations

from pathlib import Path

from uncv.models.ani import AniPotential, AniSettings
from uncv.models.pretrained import load_ani1x
from uncv.models.storage import load_file_potential

__all__ = ["AniPotential", "AniSettings", "load_potential"]


def load_potential(name: str | Path) -> AniPotential:
    """Load a potential by name or from a file.

    Parameters
    ----------
    name : str or Path
        'ani1x' (the pretrained eight members), or a file written by `AniPotential.save`.

    Raises
    ------
    FileNotFoundError
        If it is neither a known name nor a file.
    FileFormatError
        If the file is not a potential.
    """
    if str(name) == "ani1x":
        return load_ani1x()
    if not Path(name).is_file():
        raise FileNotFoundError(
            f"{name} is neither a known potential nor a file; expected 'ani1x' or a path"
        )
    return load_file_potential(name)
