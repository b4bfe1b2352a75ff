"""What `uncv analyze` shows: JSON, lines, and the picture; free energies in kJ/mol."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uncv.errors import DataError
from uncv.units import EV_IN_KJ_PER_MOL

if TYPE_CHECKING:
    from uncv.analysis import (
        Analysis,
        FreeEnergyDifference,
        FreeEnergySurface,
        SurfaceComparison,
    )


@dataclass(frozen=True)
class Reference:
    """What a run is compared with."""

    analysis: Analysis | None
    comparison: SurfaceComparison
    surface: FreeEnergySurface
    difference: tuple[float, float] | None
    note: str = ""


def surface_of(found: Analysis) -> FreeEnergySurface:
    """Return the surface; without two torsions there is none, an error."""
    if found.surface is None:
        raise DataError("a surface needs two torsions; give --torsion or --column twice")
    return found.surface


def draw(out: Path, found: Analysis, title: str, beside: Reference | None) -> None:
    """Write the picture of the surface, with the reference beside it."""
    from uncv.plots import RamachandranPanel, png, ramachandran_maps

    surface = surface_of(found)
    panels = [RamachandranPanel(title, surface.edges, surface.free_energy, found.coverage)]
    if beside is not None:
        share = None if beside.analysis is None else beside.analysis.coverage
        other = beside.surface
        panels.append(RamachandranPanel("reference", other.edges, other.free_energy, share))
    out.write_bytes(png(ramachandran_maps(panels)))


def plain(found: Analysis, beside: Reference | None) -> dict[str, Any]:
    """Return what `--json` prints; free energies in kJ/mol."""
    values: dict[str, Any] = {
        "frames": found.frames,
        "walkers": found.walkers,
        "coverage": found.coverage,
        "effective_frames": found.effective,
        "difference": None,
        "reference": None,
    }
    if found.difference is not None:
        values["difference"] = _difference(found.difference)
    if beside is not None:
        compared = beside.comparison
        values["reference"] = {
            "rmsd_kj_per_mol": compared.rmsd * EV_IN_KJ_PER_MOL,
            "largest_kj_per_mol": compared.largest * EV_IN_KJ_PER_MOL,
            "cutoff_kj_per_mol": compared.cutoff * EV_IN_KJ_PER_MOL,
            "cells": compared.cells,
            "missing_cells": compared.missing,
            **_change(found, beside),
        }
    return values


def _difference(found: FreeEnergyDifference) -> dict[str, Any]:
    return {
        "regions": [region.name for region in found.regions],
        "value_kj_per_mol": found.value * EV_IN_KJ_PER_MOL,
        "error_kj_per_mol": found.error * EV_IN_KJ_PER_MOL,
        "walker_error_kj_per_mol": found.walker_error * EV_IN_KJ_PER_MOL,
        "populations": found.populations,
        "frames": found.frames,
        "effective_frames": found.effective,
        "crossings": found.crossings,
        "blocks": found.blocks,
        "frames_per_block": found.block_length,
        "reason": found.reason,
    }


def _change(found: Analysis, beside: Reference) -> dict[str, float]:
    """Return the reference's difference of the regions, and how far the run is from it."""
    if found.difference is None or beside.difference is None:
        return {}
    value, error = (number * EV_IN_KJ_PER_MOL for number in beside.difference)
    both = (found.difference.error**2 + beside.difference[1] ** 2) ** 0.5
    return {
        "difference_kj_per_mol": value,
        "difference_error_kj_per_mol": error,
        "change_kj_per_mol": found.difference.value * EV_IN_KJ_PER_MOL - value,
        "change_error_kj_per_mol": both * EV_IN_KJ_PER_MOL,
    }


def lines(found: Analysis, beside: Reference | None, notes: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield what a reader sees."""
    yield "frames", found.frames
    yield "walkers", found.walkers
    yield "effective frames", f"{found.effective:.0f}"
    yield "coverage", found.coverage
    if found.difference is not None:
        d = found.difference
        names = " − ".join(region.name for region in d.regions)
        yield f"F({names})", _with_error(d.value, d.error)
        yield "error from", f"{d.blocks} blocks of {d.block_length} frames"
        if isfinite(d.walker_error):
            yield "error from walkers", f"{d.walker_error * EV_IN_KJ_PER_MOL:.2f} kJ/mol"
        yield "effective frames there", " and ".join(f"{n:.0f}" for n in d.effective)
        yield "crossings", d.crossings
        if d.reason:
            yield "limit", d.reason
    if beside is not None:
        c = beside.comparison
        yield (
            "RMS difference to the reference",
            f"{c.rmsd * EV_IN_KJ_PER_MOL:.2f} kJ/mol over {c.cells} cells below "
            f"{c.cutoff * EV_IN_KJ_PER_MOL:g} kJ/mol, {c.missing} cells not visited",
        )
        if found.difference is not None and beside.difference is not None:
            change = _change(found, beside)
            yield "the reference's", _with_error(*beside.difference)
            yield (
                "change",
                f"{change['change_kj_per_mol']:.2f} ± "
                f"{change['change_error_kj_per_mol']:.2f} kJ/mol",
            )
    for number, note in enumerate(notes, start=1):
        yield f"note {number}", note


def _with_error(value: float, error: float) -> str:
    return f"{value * EV_IN_KJ_PER_MOL:.2f} ± {error * EV_IN_KJ_PER_MOL:.2f} kJ/mol"
