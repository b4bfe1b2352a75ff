"""Interatomic potentials: ensembles whose members are evaluated together."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, overload

from uncv.models.aev import AevSettings
from uncv.models.ani import AniPotential
from uncv.models.ani_settings import AniSettings
from uncv.models.mace import load_mace
from uncv.models.module import ModulePotential
from uncv.models.pretrained import load_ani1x
from uncv.models.storage import load_file_potential

__all__ = [
    "AevSettings",
    "AniPotential",
    "AniSettings",
    "ModulePotential",
    "load_mace",
    "load_potential",
]


@overload
def load_potential(name: Literal["ani1x"]) -> AniPotential: ...
@overload
def load_potential(name: str | Path) -> AniPotential | ModulePotential: ...
def load_potential(name: str | Path) -> AniPotential | ModulePotential:
    """Load a potential by name or from a file.

    Parameters
    ----------
    name : str or Path
        'ani1x' (the pretrained eight members), or a file written by the ``save`` of a potential.
        Models of MACE are read by `load_mace`, other torch modules by `ModulePotential`.

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
