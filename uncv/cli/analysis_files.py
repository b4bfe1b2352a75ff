"""What `uncv analyze` writes: the picture, the surface and the numbers."""

# The imports stand inside the functions, so that `uncv --help` starts no engine.
from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from math import degrees, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uncv.cli.analysis_run import Found
from uncv.errors import DataError
from uncv.units import EV_IN_KJ_PER_MOL

if TYPE_CHECKING:
    from uncv.analysis import Axis, FreeEnergySurface, Samples
    from uncv.plots_analysis import AxisLabel, CoverageLine, SurfacePanel

_POINTS = 60
_MOST_PANELS = 6


def draw(out: Path, found: Sequence[Found], title: str) -> None:
    """Write the picture: surfaces, the reference's beside it, and the coverage by frames.

    Raises
    ------
    DataError
        If the suffix is no picture's, or there are too many variables for a surface.
    """
    from uncv.plots_analysis import analysis_figure, picture

    panels: list[SurfacePanel] = []
    for one in found[:_MOST_PANELS]:
        panels += _panels(one.name or title, _surface(one), one)
        beside = one.reference
        if beside is not None and beside.surface is not None:
            panels += _panels("reference", beside.surface, None)
    curves = [_curve(one.name or title, one.samples, one) for one in found[:_MOST_PANELS]]
    first = found[0].reference
    if first is not None and first.samples is not None and len(found) == 1:
        curves.append(_curve("reference", first.samples, found[0]))
    out.write_bytes(picture(analysis_figure(panels, curves), out.suffix))


def write_surface(save: Path, found: Sequence[Found]) -> None:
    """Write the surface, to read back (.npz) or as a table (.csv).

    Raises
    ------
    DataError
        If there are several, or the suffix is another.
    """
    from uncv.analysis import save_surface

    if len(found) > 1:
        raise DataError(f"there are {len(found)} surfaces; name one residue to save its own")
    surface = _surface(found[0])
    if save.suffix == ".npz":
        save_surface(save, surface, found[0].analysis.difference)
    elif save.suffix == ".csv":
        _write_table(save, surface)
    else:
        raise DataError(f"a surface is saved as .npz or .csv, not as '{save.suffix}'")


def write_numbers(path: Path, values: Mapping[str, Any]) -> None:
    """Write what was found: JSON as it is, or a table of names and values.

    Raises
    ------
    DataError
        If the suffix is another.
    """
    clean = _finite(values)
    if path.suffix == ".json":
        path.write_text(json.dumps(clean, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["quantity", "value"])
            writer.writerows(_rows(clean))
    else:
        raise DataError(f"numbers are written as .csv or .json, not as '{path.suffix}'")


def _surface(one: Found) -> FreeEnergySurface:
    if one.analysis.surface is None:
        raise DataError("a surface has one to three variables; give so many")
    return one.analysis.surface


def _panels(title: str, surface: FreeEnergySurface, one: Found | None) -> Iterator[SurfacePanel]:
    """Yield the surface; of three variables, those of each two."""
    from uncv.plots_analysis import SurfacePanel

    basins = None if one is None else one.analysis.basins
    bins = len(surface.edges) - 1
    edges = [axis.edges(bins) for axis in surface.axes]
    labels = [_label(axis) for axis in surface.axes]
    if len(surface.axes) < 3:
        marks = None if basins is None else basins.minima
        error = surface.error if len(surface.axes) == 1 else None
        yield SurfacePanel(title, tuple(edges), surface.free_energy, error, tuple(labels), marks)
        return
    for kept in ((0, 1), (0, 2), (1, 2)):
        (summed,) = {0, 1, 2} - set(kept)
        yield SurfacePanel(
            title,
            tuple(edges[n] for n in kept),
            _marginal(surface, summed),
            None,
            tuple(labels[n] for n in kept),
            None if basins is None else basins.minima[:, kept],
        )


def _marginal(surface: FreeEnergySurface, axis: int) -> np.ndarray:
    from uncv.units import KB_IN_EV_PER_K

    kt = KB_IN_EV_PER_K * surface.temperature
    total = np.exp(-surface.free_energy / kt).sum(axis=axis)
    with np.errstate(divide="ignore"):
        return np.asarray(-kt * np.log(total / total.max()))


def _label(axis: Axis) -> AxisLabel:
    from uncv.plots_analysis import AxisLabel

    if axis.unit == "rad":
        circle = axis.periodic and axis.low == -np.pi
        ticks = (-180.0, -90.0, 0.0, 90.0, 180.0) if circle else None
        return AxisLabel(f"{axis.name} (degrees)", degrees(1.0), ticks)
    unit = f" ({axis.unit})".replace("^3", "³") if axis.unit else ""
    return AxisLabel(f"{axis.name}{unit}")


def _curve(name: str, samples: Samples, one: Found) -> CoverageLine:
    """Return the coverage of the first frames, all walkers going on together."""
    from uncv.analysis import coverage_series, expected_coverage
    from uncv.plots_analysis import CoverageLine

    levels = 5 if one.analysis.measure is None else len(one.analysis.measure.levels)
    frames = np.unique(np.geomspace(1, len(samples), _POINTS).astype(np.int64))
    values = samples.values[_by_time(samples)]
    covered = coverage_series(values, frames, levels, axes=samples.axes)
    return CoverageLine(frames, covered, expected_coverage(frames, len(samples.axes), levels), name)


def _by_time(samples: Samples) -> np.ndarray:
    """Return the order in which all walkers stored their frames."""
    from uncv.analysis.pieces import pieces_of

    pieces = pieces_of(samples.walker)
    place = np.empty(len(samples), dtype=np.int64)
    begins = np.repeat(pieces.bounds[:-1], pieces.lengths)
    place[pieces.order] = np.arange(len(samples)) - begins
    return np.lexsort((samples.walker, place))


def _write_table(path: Path, surface: FreeEnergySurface) -> None:
    bins = len(surface.edges) - 1
    grids = np.meshgrid(
        *[(a.edges(bins)[1:] + a.edges(bins)[:-1]) / 2 for a in surface.axes], indexing="ij"
    )
    energies = [surface.free_energy, surface.error]
    columns = [g.ravel() for g in grids] + [e.ravel() * EV_IN_KJ_PER_MOL for e in energies]
    names = [f"{a.name} ({a.unit})" if a.unit else a.name for a in surface.axes]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*names, "free energy (kJ/mol)", "error (kJ/mol)", "frames"])
        for *row, frames in zip(*columns, surface.counts.ravel(), strict=True):
            cells = [repr(float(value)) if isfinite(value) else "" for value in row]
            writer.writerow([*cells, int(frames)])


def _rows(values: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(values, Mapping):
        for key, inner in values.items():
            yield from _rows(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(values, list):
        for number, inner in enumerate(values):
            yield from _rows(inner, f"{name}[{number}]")
    else:
        yield name, "" if values is None else values


def _finite(values: Any) -> Any:
    """Return what JSON can hold: numbers that are not finite become null."""
    if isinstance(values, Mapping):
        return {str(key): _finite(inner) for key, inner in values.items()}
    if isinstance(values, (list, tuple)):
        return [_finite(inner) for inner in values]
    if isinstance(values, float) and not isfinite(values):
        return None
    return values
