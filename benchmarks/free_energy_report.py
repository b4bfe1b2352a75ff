"""What `free_energy.py` found: figures, a page and a picture."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from free_energy_amber import Protocol, colvar_files, reordered_walkers
from free_energy_page import page

from uncv.analysis import (
    C7AX,
    C7EQ,
    Analysis,
    AnalysisSettings,
    FreeEnergyDifference,
    FreeEnergySurface,
    Region,
    analyze,
    bias_weights,
    block_error,
    compare_surfaces,
    free_energy_difference,
    free_energy_surface,
    perturb,
    read_colvar,
    samples_of_colvar,
)
from uncv.data import Dataset
from uncv.plots import RamachandranPanel, png, ramachandran_maps
from uncv.units import EV_IN_KJ_PER_MOL as KJ
from uncv.units import KB_IN_EV_PER_K

DISCARDED = 0.2
BOUND = 3.0
PUBLISHED_DIFFERENCE = 9.0
PUBLISHED = {
    "C7eq": ((-79.0, 54.0), 0.0),
    "C5": ((-144.0, 162.0), 0.5),
    "C7ax": ((61.0, -36.0), 6.6),
}
NAMES = {"amber": "AMBER ff14SB", "potential": "potential", "perturbed": "AMBER, perturbed"}


class Run(NamedTuple):
    """Both runs: frames of AMBER, the potential's energy (eV) and angles of them, the folder."""

    protocol: Protocol
    amber: Dataset
    energy: np.ndarray
    angles: np.ndarray
    folder: Path


@dataclass
class Found:
    """All figures, and the surfaces for the picture."""

    figures: dict[str, Any]
    surfaces: dict[str, FreeEnergySurface] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return the result in a few lines."""
        figures = self.figures
        rows = []
        for key, name in NAMES.items():
            one = figures[key]
            rows.append(
                f"{name:18s} F(C7ax) − F(C7eq) = {one['difference']:.2f} ± {one['error']:.2f} "
                f"kJ/mol ({one['blocks']} blocks; ± {one['walker_error']:.2f} by walkers), "
                f"{one['crossings']} crossings, {one['effective']:.0f} effective frames"
            )
            if one["reason"]:
                rows.append(f"{'':18s} {one['reason']}")
        rows.append(
            f"potential − AMBER = {figures['change']:.2f} ± {figures['change_error']:.2f} kJ/mol, "
            f"bound {figures['bound']:.2f}: {'met' if figures['met'] else 'NOT met'}"
        )
        rows.append(
            f"perturbation: {figures['perturbation_change']:.2f} ± "
            f"{figures['perturbation_change_error']:.2f} kJ/mol"
        )
        return rows


def judge(run: Run) -> Found:
    """Return everything that follows from the two runs."""
    both = {name: _analysis(run.folder / name, run.protocol) for name in ("amber", "potential")}
    perturbed, shift = _perturbed(run)
    one, two = (both[name].difference for name in ("amber", "potential"))
    error = KJ * float(np.hypot(one.error, two.error))
    change = KJ * (two.value - one.value)
    surfaces = {name: found.surface for name, found in both.items()}
    surfaces["perturbed"] = perturbed.surface
    compared = compare_surfaces(surfaces["potential"], surfaces["amber"])
    bound = float(np.nanmax([BOUND, 2 * error if np.isfinite(error) else np.nan]))
    figures = {
        "nanoseconds": run.protocol.walkers * run.protocol.steps * run.protocol.timestep * 1e-6,
        "amber": _figures(one, both["amber"].effective),
        "potential": _figures(two, both["potential"].effective),
        "perturbed": _figures(perturbed.difference, perturbed.effective),
        "change": change,
        "change_error": error,
        "bound": bound,
        "met": bool(abs(change) <= bound),
        **shift,
        "surface_rmsd": compared.rmsd * KJ,
        "surface_cells": compared.cells,
        "surface_missing": compared.missing,
        "minima": {name: _minima(surface) for name, surface in surfaces.items()},
    }
    return Found(figures, surfaces)


def _analysis(folder: Path, protocol: Protocol) -> Analysis:
    tables = [read_colvar(file) for file in colvar_files(folder)]
    samples = samples_of_colvar(tables, bias=["opes.bias"], bias_unit=1 / KJ).discard(DISCARDED)
    return analyze(samples, AnalysisSettings(protocol.temperature, regions=(C7AX, C7EQ)))


def _perturbed(run: Run) -> tuple[Analysis, dict[str, float]]:
    """Return AMBER's frames as those of the potential, and what this changes."""
    order = reordered_walkers(run.amber)
    order = order[run.amber.info["step"][order] > DISCARDED * run.protocol.steps]
    temperature = run.protocol.temperature
    angles, walker = run.angles[order], run.amber.info["walker"][order]
    before = bias_weights(run.amber.info["bias"][order], temperature, walker)
    reference = run.amber.energy[order]
    found = perturb(run.energy[order], reference, temperature, weights=before, walker=walker)
    options = {"walker": walker, "weights": found.weights}
    difference = free_energy_difference(angles, temperature, **options)
    surface = free_energy_surface(angles, temperature, **options)
    added = _contributions(angles, found.weights) - _contributions(angles, before)
    same = free_energy_difference(angles, temperature, walker=walker, weights=before)
    kt = KB_IN_EV_PER_K * temperature * KJ
    shift = {
        "perturbation_change": (difference.value - same.value) * KJ,
        "perturbation_change_error": kt * block_error(added, walker).error,
        "perturbation_frames": len(order),
        "effective_of_bias": found.effective_before,
        "effective_of_both": found.effective_sample_size,
        "energy_spread_in_kt": found.spread / (KB_IN_EV_PER_K * temperature),
    }
    walkers = len(np.unique(walker))
    return Analysis(
        len(order), walkers, np.nan, found.effective_sample_size, surface, difference
    ), shift


def _contributions(angles: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return what each frame adds to ln(p_C7ax / p_C7eq), to first order."""
    inside = [region.contains(angles) for region in (C7AX, C7EQ)]
    first, second = (np.divide(one, weights @ one, where=one, out=np.zeros(len(one)))
                     for one in inside)  # fmt: skip
    return weights * (first - second)


def _figures(found: FreeEnergyDifference, effective: float) -> dict[str, Any]:
    return {
        "difference": found.value * KJ,
        "error": found.error * KJ,
        "walker_error": found.walker_error * KJ,
        "blocks": found.blocks,
        "block_length": found.block_length,
        "crossings": found.crossings,
        "effective": effective,
        "reason": found.reason,
    }


def _minima(surface: FreeEnergySurface) -> dict[str, tuple[float, float, float, float]]:
    """Return φ, ψ (degrees), F and its error (kJ/mol) of the lowest cell near each minimum."""
    centres = np.degrees((surface.edges[1:] + surface.edges[:-1]) / 2)
    cells = np.stack(np.meshgrid(centres, centres, indexing="ij"), axis=-1).reshape(-1, 2)
    energy, error = surface.free_energy.ravel() * KJ, surface.error.ravel() * KJ
    found = {}
    for name, (place, _) in PUBLISHED.items():
        near = Region(name, *((x - 45.0, x + 45.0) for x in place)).contains(np.radians(cells))
        if name == "C5":
            near &= cells[:, 0] < -110.0
        lowest = int(np.argmin(np.where(near, energy, np.inf)))
        found[name] = (*cells[lowest].tolist(), float(energy[lowest]), float(error[lowest]))
    return found


def write_report(found: Found, folder: Path) -> None:
    """Write free_energy.md, free_energy.json and free_energy.png."""
    panels = [
        RamachandranPanel(NAMES[name], surface.edges, surface.free_energy)
        for name, surface in found.surfaces.items()
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "free_energy.png").write_bytes(png(ramachandran_maps(panels), dpi=100))
    (folder / "free_energy.json").write_text(json.dumps(rounded(found.figures), indent=1) + "\n")
    (folder / "free_energy.md").write_text(
        page(found.figures, NAMES, PUBLISHED, PUBLISHED_DIFFERENCE, DISCARDED)
    )


def rounded(value: Any) -> Any:
    """Return what JSON can hold, with five digits."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(inner) for inner in value]
    if isinstance(value, float):
        return float(f"{value:.5g}") if np.isfinite(value) else None
    return value
