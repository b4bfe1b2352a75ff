"""From what `uncv analyze` has read to what it found: each group of variables, and a reference."""

# The imports stand inside the functions, so that `uncv --help` starts no engine.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from uncv.cli.analysis_input import Given, read_inputs
from uncv.cli.analysis_variables import Reading
from uncv.errors import DataError

if TYPE_CHECKING:
    from uncv.analysis import (
        AccessibleCells,
        Analysis,
        AnalysisSettings,
        ElementCoverage,
        FreeEnergySurface,
        Samples,
        SavedSurface,
        SurfaceComparison,
    )
    from uncv.data import Dataset


@dataclass(frozen=True)
class Look:
    """How runs are looked at: settings, cutoff (eV), accessible cells, and how many frames."""

    settings: AnalysisSettings
    cutoff: float
    cells: int
    frames: int | None
    take: Literal["thin", "first"]


class Beside(NamedTuple):
    """What a run is to be compared with, and how runs are read."""

    path: Path
    reading: Reading


class EqualFrames(NamedTuple):
    """Coverage of run and reference by as many frames of each, thinned."""

    frames: int
    run: float
    reference: float
    expected: float


@dataclass(frozen=True)
class Reference:
    """What a run was compared with; no analysis of a saved surface."""

    analysis: Analysis | None
    samples: Samples | None
    comparison: SurfaceComparison | None
    surface: FreeEnergySurface | None
    difference: tuple[float, float] | None
    equal: EqualFrames | None
    note: str = ""


class Found(NamedTuple):
    """What was found of one group of variables; the name of the residue, '' if it is no residue."""

    name: str
    samples: Samples
    analysis: Analysis
    reference: Reference | None

    @property
    def notes(self) -> list[str]:
        """What a reader should know."""
        notes = list(self.samples.notes)
        opened = [self.samples.axes[n] for n in self.samples.open_axes]
        notes += [
            f"the limits of {axis.name}, {axis.low:.4g} to {axis.high:.4g}, are those of the "
            "frames; give some (=LOW,HIGH) to compare coverages"
            for axis in opened
        ]
        if self.reference is not None and self.reference.note:
            notes.append(self.reference.note)
        return notes


def analyzed(given: Given, look: Look, beside: Beside | None) -> tuple[Found, ...]:
    """Return what was found of each group of variables.

    Raises
    ------
    DataError
        If the run or the reference are not sound.
    """
    saved, other = _opened(beside)
    note = "" if other is None or beside is None else _note(beside, other)
    found = []
    for number, group in enumerate(given.groups):
        run = given.samples.pick(group.columns)
        if saved is not None:
            found.append(_against_surface(group.name, run, look, saved, str(beside and beside[0])))
        elif other is not None:
            if len(other.groups) != len(given.groups):
                raise DataError("the reference suggests other variables than the run; name some")
            against = other.samples.pick(other.groups[number].columns)
            warmth = other.temperature or look.settings.temperature
            found.append(_against_run(group.name, run, against, look, (note, warmth)))
        else:
            found.append(_alone(group.name, run, look))
    return tuple(found)


def whole(parts: Sequence[Dataset]) -> Dataset:
    """Return the frames of all inputs, without their columns."""
    from uncv.data import concatenate

    return concatenate([replace(part.without_labels(), info={}) for part in parts])


def environments_of(
    path: Path, run: Dataset, reference: Dataset, distance: float | None, seed: int
) -> tuple[ElementCoverage, ...]:
    """Return how many of a reference's atomic environments a run came near to, by element."""
    from uncv.analysis import environment_coverage, environments
    from uncv.cv import UncertaintyCV

    potential = UncertaintyCV.load(path).potential
    visited, wanted = (environments(potential, data, seed=seed) for data in (run, reference))
    return environment_coverage(visited, wanted, distance)


def _opened(beside: Beside | None) -> tuple[SavedSurface | None, Given | None]:
    from uncv.analysis import is_colvar, is_surface, load_surface

    if beside is None:
        return None, None
    path, reading = beside
    if path.is_file() and is_surface(path):
        return load_surface(path), None
    if path.exists() and (path.is_dir() or not is_colvar(path)):
        reading = replace(reading, reweight=reading.reweight and _biased(path), bias=())
    return None, read_inputs([path], reading)


def _biased(path: Path) -> bool:
    from uncv.analysis import is_trajectory
    from uncv.io import read

    return path.is_file() and not is_trajectory(path) and "bias" in read(path).info


def _note(beside: Beside, other: Given) -> str:
    from uncv.analysis import is_colvar

    if beside.path.is_file() and is_colvar(beside.path):
        return ""
    how = "taken as it is" if other.samples.bias is None else "reweighted"
    return f"{beside.path} was {how}"


def _alone(name: str, run: Samples, look: Look) -> Found:
    from uncv.analysis import analyze

    run = _taken(run, look)
    return Found(name, run, analyze(run, look.settings), None)


def _against_surface(name: str, run: Samples, look: Look, saved: SavedSurface, path: str) -> Found:
    from uncv.analysis import analyze, cells_below, compare_surfaces

    run = _taken(run, look)
    if run.open_axes:
        run = replace(run, axes=saved.surface.axes, open_axes=())
    accessible: AccessibleCells = cells_below(saved.surface, look.cutoff)
    found = analyze(run, look.settings, accessible)
    asked = None if found.difference is None else found.difference.regions
    same = asked is not None and saved.regions == asked
    note = (
        ""
        if same or asked is None
        else f"{path} was saved with other regions: no difference to compare"
    )
    compared = compare_surfaces(_surface(found), saved.surface, look.cutoff)
    beside = (saved.value, saved.error) if same else None
    return Found(
        name, run, found, Reference(None, None, compared, saved.surface, beside, None, note)
    )


def _against_run(
    name: str, run: Samples, other: Samples, look: Look, about: tuple[str, float]
) -> Found:
    from uncv.analysis import analyze, cells_of_run, compare_surfaces, shared_axes

    run, other = shared_axes([_taken(run, look), other])
    found = analyze(run, look.settings, cells_of_run(other.values, other.axes, look.cells))
    note, temperature = about
    against = analyze(other, replace(look.settings, temperature=temperature))
    compared, surface, difference = None, against.surface, against.difference
    if temperature != look.settings.temperature:
        difference = None
        note += (
            f"; it is of {temperature:g} K and the run of {look.settings.temperature:g} K: their "
            "free energies are not compared"
        )
    elif surface is not None:
        compared = compare_surfaces(_surface(found), surface, look.cutoff)
    reference = Reference(
        against,
        other,
        compared,
        surface,
        None if difference is None else (difference.value, difference.error),
        _equal(run, other, look),
        note,
    )
    return Found(name, run, found, reference)


def _taken(run: Samples, look: Look) -> Samples:
    from uncv.analysis import equal_frames

    return run if look.frames is None else equal_frames([run], look.frames, look.take)[0]


def _equal(run: Samples, other: Samples, look: Look) -> EqualFrames:
    from uncv.analysis import coverage, equal_frames, expected_coverage

    both = equal_frames([run, other])
    levels = look.settings.levels
    one, two = (coverage(part.values, levels, axes=part.axes) for part in both)
    expected = float(expected_coverage(len(both[0]), len(run.axes), levels))
    return EqualFrames(len(both[0]), one, two, expected)


def _surface(found: Analysis) -> FreeEnergySurface:
    if found.surface is None:
        raise DataError("a surface has one to three variables; give so many")
    return found.surface
