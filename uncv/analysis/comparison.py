"""How far one free-energy surface is from another."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from uncv.analysis.surface import FreeEnergySurface
from uncv.errors import DataError
from uncv.units import EV_IN_KJ_PER_MOL

CUTOFF = 20.0 / EV_IN_KJ_PER_MOL
"""Free energy in eV below which surfaces are compared by default: 20 kJ/mol."""


class SurfaceComparison(NamedTuple):
    """Two surfaces over the region where the second is low.

    Attributes
    ----------
    rmsd : float
        Root mean square difference after alignment, eV; infinite if no cell is shared.
    largest : float
        Largest difference after alignment, eV.
    shift : float
        What was added to the first surface to align it, eV.
    cells : int
        Cells compared.
    missing : int
        Cells of the region that the first surface lacks.
    cutoff : float
        End of the region, eV above the minimum of the second surface.
    """

    rmsd: float
    largest: float
    shift: float
    cells: int
    missing: int
    cutoff: float


def compare_surfaces(
    surface: FreeEnergySurface, reference: FreeEnergySurface, cutoff: float = CUTOFF
) -> SurfaceComparison:
    """Return how far a surface is from a reference where the reference is below a cutoff.

    The free energy of a surface has no zero of its own: the first is moved by the mean difference
    over the cells compared.

    Parameters
    ----------
    surface, reference : FreeEnergySurface
        Of the same cells and temperature.
    cutoff : float
        In eV above the minimum of the reference.

    Raises
    ------
    DataError
        If cells or temperatures differ.
    """
    if not _same_axes(surface, reference):
        raise DataError(
            f"the surface is over {_words(surface)} and the reference over {_words(reference)}; "
            "compare surfaces of the same variables and limits"
        )
    if len(surface.edges) != len(reference.edges):
        raise DataError(
            f"the surface has {len(surface.edges) - 1} cells for each angle and the reference "
            f"{len(reference.edges) - 1}; make both with the same bins"
        )
    if abs(surface.temperature - reference.temperature) > 1e-6 * reference.temperature:
        raise DataError(
            f"the surface is of {surface.temperature:g} K and the reference of "
            f"{reference.temperature:g} K; compare runs of one temperature"
        )
    region = reference.free_energy <= cutoff
    shared = region & np.isfinite(surface.free_energy)
    missing = int(region.sum() - shared.sum())
    if not shared.any():
        return SurfaceComparison(np.inf, np.inf, np.nan, 0, missing, cutoff)
    difference = surface.free_energy[shared] - reference.free_energy[shared]
    shift = -float(difference.mean())
    rest = difference + shift
    rmsd = float(np.sqrt((rest**2).mean()))
    largest = float(np.abs(rest).max())
    return SurfaceComparison(rmsd, largest, shift, int(shared.sum()), missing, cutoff)


def _same_axes(one: FreeEnergySurface, two: FreeEnergySurface) -> bool:
    """Whether limits and periods agree; names and units are the user's."""
    if len(one.axes) != len(two.axes):
        return False
    return all(
        np.allclose((a.low, a.high), (b.low, b.high), rtol=1e-6) and a.periodic == b.periodic
        for a, b in zip(one.axes, two.axes, strict=True)
    )


def _words(surface: FreeEnergySurface) -> str:
    return ", ".join(f"{a.name} from {a.low:g} to {a.high:g}" for a in surface.axes)
