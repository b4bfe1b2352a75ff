"""What `uncv analyze` shows: JSON and lines; free energies in kJ/mol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from uncv.cli.analysis_run import Found, Reference
from uncv.units import EV_IN_KJ_PER_MOL, FS_IN_PS

if TYPE_CHECKING:
    from uncv.analysis import Analysis, ElementCoverage, FreeEnergyDifference, Share


def plain(found: Sequence[Found], near: Sequence[ElementCoverage] | None) -> dict[str, Any]:
    """Return what `--json` prints; of several residues, the first stands at the top too."""
    notes = list(dict.fromkeys(note for one in found for note in one.notes))
    values = _plain(found[0])
    if len(found) > 1 or found[0].name:
        values["residues"] = {one.name: _plain(one) for one in found}
    if near is not None:
        values["environments"] = [one._asdict() for one in near]
    return {**values, "notes": notes}


def _plain(one: Found) -> dict[str, Any]:
    found, beside = one.analysis, one.reference
    values: dict[str, Any] = {
        "frames": found.frames,
        "walkers": found.walkers,
        "variables": [axis.name for axis in one.samples.axes],
        "coverage": found.coverage,
        **_coverage(found),
        "effective_frames": found.effective,
        "memory": _memory(one),
        "difference": None,
        "basins": _basins(found),
        "transitions": _transitions(found),
        "reference": None,
    }
    if found.difference is not None:
        values["difference"] = _difference(found.difference)
    if beside is not None:
        values["reference"] = _reference(found, beside)
        if beside.equal is not None:
            values["coverage_at_equal_frames"] = beside.equal._asdict()
    return values


def _coverage(found: Analysis) -> dict[str, Any]:
    measure = found.measure
    if measure is None:
        return {}
    accessible = measure.accessible
    return {
        "coverage_interval": measure.coverage[1:],
        "coverage_levels": measure.levels.tolist(),
        "coverage_of_uniform_points": measure.expected,
        "accessible_coverage": None if accessible is None else accessible.value,
        "accessible_coverage_interval": None if accessible is None else accessible[1:],
        "frames_outside": measure.outside,
    }


def _memory(one: Found) -> dict[str, Any] | None:
    memory, interval = one.analysis.memory, one.samples.interval_fs
    if memory is None:
        return None
    return {
        "times": {
            name: {
                "frames": time.time,
                "error_frames": time.error,
                "ps": None if interval is None else time.time * interval * FS_IN_PS,
                "reason": time.reason,
            }
            for name, time in memory.times
        },
        "slowest": memory.slowest,
        "independent_frames": memory.effective,
        "per_ns": memory.per_ns,
        "per_evaluation": memory.per_evaluation,
    }


def _basins(found: Analysis) -> list[dict[str, Any]] | None:
    basins, transitions = found.basins, found.transitions
    if basins is None or transitions is None:
        return None
    return [
        {
            "minimum": name,
            "energy_kj_per_mol": float(energy) * EV_IN_KJ_PER_MOL,
            "barrier_kj_per_mol": float(barrier) * EV_IN_KJ_PER_MOL,
            "frames": int(frames),
        }
        for name, energy, barrier, frames in zip(
            basins.names, basins.energies, basins.barriers, transitions.frames, strict=True
        )
    ]


def _transitions(found: Analysis) -> dict[str, Any] | None:
    moves = found.transitions
    if moves is None:
        return None
    return {
        "total": moves.total,
        "counts": moves.counts.tolist(),
        "per_ns": moves.rates.tolist(),
        "per_ns_low": moves.low.tolist(),
        "per_ns_high": moves.high.tolist(),
        "frames_before_any_core": moves.unassigned,
    }


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


def _reference(found: Analysis, beside: Reference) -> dict[str, Any]:
    compared = beside.comparison
    if compared is None:
        return {}
    return {
        "rmsd_kj_per_mol": compared.rmsd * EV_IN_KJ_PER_MOL,
        "largest_kj_per_mol": compared.largest * EV_IN_KJ_PER_MOL,
        "cutoff_kj_per_mol": compared.cutoff * EV_IN_KJ_PER_MOL,
        "cells": compared.cells,
        "missing_cells": compared.missing,
        **_change(found, beside),
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


def lines(
    found: Sequence[Found], near: Sequence[ElementCoverage] | None
) -> Iterator[tuple[str, Any]]:
    """Yield what a reader sees."""
    several = len(found) > 1
    for one in found:
        for name, value in _lines(one):
            yield (f"{one.name} {name}" if several else name), value
    for element in near or ():
        yield (
            f"environments of element {element.element}",
            f"{element.share:.3f} of {element.reference} within {element.distance:.3g}, by "
            f"{element.visited}",
        )
    notes = dict.fromkeys(note for one in found for note in one.notes)
    for number, note in enumerate(notes, start=1):
        yield f"note {number}", note


def _lines(one: Found) -> Iterator[tuple[str, Any]]:
    found = one.analysis
    yield "frames", found.frames
    yield "walkers", found.walkers
    if one.name:
        yield "variables", ", ".join(axis.name for axis in one.samples.axes)
    yield "effective frames", f"{found.effective:.0f}"
    yield "coverage", found.coverage
    yield from _coverage_lines(found)
    yield from _memory_lines(one)
    yield from _difference_lines(found)
    yield from _transition_lines(found)
    if one.reference is not None:
        yield from _reference_lines(found, one.reference)


def _coverage_lines(found: Analysis) -> Iterator[tuple[str, Any]]:
    measure = found.measure
    if measure is None:
        return
    if isfinite(measure.coverage.low):
        yield "95 % interval", _interval(measure.coverage)
    else:
        yield "interval", "none: it takes 4 walkers or more"
    yield "coverage of as many uniform points", measure.expected
    if measure.accessible is not None:
        interval = ""
        if isfinite(measure.accessible.low):
            interval = f" (95 % interval {_interval(measure.accessible)})"
        yield "accessible coverage", f"{measure.accessible.value:.4g}{interval}"
    if measure.outside:
        yield "frames outside the limits", measure.outside


def _memory_lines(one: Found) -> Iterator[tuple[str, Any]]:
    memory, interval = one.analysis.memory, one.samples.interval_fs
    if memory is None:
        return
    time = dict(memory.times)[memory.slowest]
    in_ps = "" if interval is None else f" = {time.time * interval * FS_IN_PS:.4g} ps"
    yield (
        "autocorrelation time",
        f"{time.time:.4g} ± {time.error:.2g} frames{in_ps}, of {memory.slowest}",
    )
    if time.reason:
        yield "limit of that", time.reason
    rates = "" if memory.per_ns is None else f", {memory.per_ns:.4g} per ns"
    if memory.per_evaluation is not None:
        rates += f", {memory.per_evaluation:.3g} per evaluation"
    yield "independent frames", f"{memory.effective:.4g}{rates}"


def _difference_lines(found: Analysis) -> Iterator[tuple[str, Any]]:
    d = found.difference
    if d is None:
        return
    names = " − ".join(region.name for region in d.regions)
    yield f"F({names})", _with_error(d.value, d.error)
    yield "error from", f"{d.blocks} blocks of {d.block_length} frames"
    if isfinite(d.walker_error):
        yield "error from walkers", f"{d.walker_error * EV_IN_KJ_PER_MOL:.2f} kJ/mol"
    yield "effective frames there", " and ".join(f"{n:.0f}" for n in d.effective)
    yield "crossings", d.crossings
    if d.reason:
        yield "limit", d.reason


def _transition_lines(found: Analysis) -> Iterator[tuple[str, Any]]:
    basins, moves = found.basins, found.transitions
    if basins is None or moves is None:
        return
    for number, (name, energy, frames) in enumerate(
        zip(basins.names, basins.energies, moves.frames, strict=True), start=1
    ):
        yield (
            f"basin {number}",
            f"{name}, {float(energy) * EV_IN_KJ_PER_MOL:.2f} kJ/mol, {frames} frames",
        )
    yield "transitions", moves.total
    for one, two in zip(*moves.counts.nonzero(), strict=True):
        rate, low, high = moves.rates[one, two], moves.low[one, two], moves.high[one, two]
        per_ns = f", {rate:.3g} ({low:.3g} to {high:.3g}) per ns" if isfinite(rate) else ""
        yield f"from {one + 1} to {two + 1}", f"{moves.counts[one, two]}{per_ns}"


def _reference_lines(found: Analysis, beside: Reference) -> Iterator[tuple[str, Any]]:
    if beside.equal is not None:
        e = beside.equal
        yield (
            f"coverage at {e.frames} frames",
            f"{e.run:.4g}, the reference's {e.reference:.4g}, uniform points {e.expected:.4g}",
        )
    c = beside.comparison
    if c is not None:
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
            f"{change['change_kj_per_mol']:.2f} ± {change['change_error_kj_per_mol']:.2f} kJ/mol",
        )


def _interval(share: Share) -> str:
    return f"{share.low:.4g} to {share.high:.4g}"


def _with_error(value: float, error: float) -> str:
    return f"{value * EV_IN_KJ_PER_MOL:.2f} ± {error * EV_IN_KJ_PER_MOL:.2f} kJ/mol"
