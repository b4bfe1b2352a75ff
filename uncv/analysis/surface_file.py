"""Free-energy surfaces as files, with the difference of two regions beside them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from uncv.analysis.difference import FreeEnergyDifference
from uncv.analysis.regions import Region
from uncv.analysis.space import PHI_PSI, Axis
from uncv.analysis.surface import FreeEnergySurface
from uncv.errors import FileFormatError

_FORMAT = 2
"""1: two torsions; 2: any variables."""
_ARRAYS = ("edges", "free_energy", "error", "counts", "temperature")
_DAMAGED = (BadZipFile, EOFError, OSError, ValueError, AttributeError, KeyError)


class SavedSurface(NamedTuple):
    """What a file of a surface holds.

    Attributes
    ----------
    surface : FreeEnergySurface
        The surface.
    regions : (Region, Region) or None
        The two regions compared, if any were.
    value, error : float
        F(first) − F(second) and its standard error, eV; NaN without regions.
    """

    surface: FreeEnergySurface
    regions: tuple[Region, Region] | None = None
    value: float = np.nan
    error: float = np.nan


def save_surface(
    path: str | Path, surface: FreeEnergySurface, difference: FreeEnergyDifference | None = None
) -> None:
    """Write a surface as a NumPy archive (.npz) without pickles; radians, eV, K.

    Parameters
    ----------
    path : str or Path
        The file.
    surface : FreeEnergySurface
        What to keep.
    difference : FreeEnergyDifference, optional
        Kept with it: regions, value and error.
    """
    arrays = {name: np.asarray(getattr(surface, name)) for name in _ARRAYS}
    arrays["axis_names"] = np.array([[axis.name, axis.unit] for axis in surface.axes])
    arrays["axis_limits"] = np.array([[a.low, a.high, a.periodic] for a in surface.axes])
    if difference is not None:
        arrays["region_names"] = np.array([region.name for region in difference.regions])
        arrays["region_bounds"] = np.array([[*r.phi, *r.psi] for r in difference.regions])
        arrays["difference"] = np.array([difference.value, difference.error])
    with Path(path).open("wb") as file:
        # savez takes names as keywords, hence the ignore: none of ours collides with its own.
        np.savez_compressed(file, uncv_surface=np.array(_FORMAT), **arrays)  # type: ignore[arg-type]


def load_surface(path: str | Path) -> SavedSurface:
    """Read a surface that `save_surface` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If it is not such a file, or comes from a later format.
    """
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        version = int(arrays["uncv_surface"])
    except FileNotFoundError:
        raise
    except _DAMAGED as error:
        raise FileFormatError(
            f"{path} is not a free-energy surface ({error}); expected a file of "
            "`uncv analyze --save`"
        ) from error
    if version > _FORMAT:
        raise FileFormatError(
            f"{path} has surface format {version}; this uncv reads up to {_FORMAT}: update it"
        )
    fields = {name: arrays[name] for name in _ARRAYS}
    fields |= {"temperature": float(fields["temperature"]), "axes": _axes(arrays)}
    surface = FreeEnergySurface(**fields)
    if "difference" not in arrays:
        return SavedSurface(surface)
    return SavedSurface(surface, _regions(arrays), *arrays["difference"].tolist())


def is_surface(path: str | Path) -> bool:
    """Whether a file is a surface that `save_surface` wrote."""
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return "uncv_surface" in archive.files
    except _DAMAGED:
        return False


def _axes(arrays: dict[str, NDArray]) -> tuple[Axis, ...]:
    if "axis_names" not in arrays:
        return PHI_PSI
    limits = zip(arrays["axis_names"].tolist(), arrays["axis_limits"].tolist(), strict=True)
    return tuple(
        Axis(name, low, high, bool(periodic), unit)
        for (name, unit), (low, high, periodic) in limits
    )


def _regions(arrays: dict[str, NDArray]) -> tuple[Region, Region]:
    names, bounds = arrays["region_names"].tolist(), arrays["region_bounds"].tolist()
    first, second = (
        Region(name, (b[0], b[1]), (b[2], b[3])) for name, b in zip(names, bounds, strict=True)
    )
    return first, second
