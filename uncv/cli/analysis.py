"""`uncv analyze`: coverage, memory, free energies and transitions of runs."""

# The imports stand inside the functions, so that `uncv --help` starts no engine.
from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from math import radians
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uncv.cli.analysis_input import read_frames, read_inputs
from uncv.cli.analysis_output import lines, plain
from uncv.cli.analysis_run import Beside, Look, analyzed, environments_of, whole
from uncv.cli.analysis_variables import EnergyUnit, Reading
from uncv.cli.output import answer
from uncv.errors import DataError
from uncv.units import EV_IN_KJ_PER_MOL

if TYPE_CHECKING:
    from uncv.analysis import Region, ResidueTorsion, Variable

_SIDES = ("C7ax=0,180", "C7eq=-180,0")


class Take(StrEnum):
    """Which frames are taken where fewer are asked for."""

    thin = "thin"
    first = "first"


def analyze(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="Frames of a run (Å), trajectories (DCD, XTC, TRR, NetCDF, HDF5, PDB), COLVAR "
            "files of PLUMED, one for each walker, or the run directory of a campaign."
        ),
    ],
    topology: Annotated[
        Path | None, typer.Option(help="The molecule of trajectories and for --residue (PDB, …).")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Picture to write (.png or .svg).")] = None,
    numbers: Annotated[Path | None, typer.Option(help="Numbers to write (.csv or .json).")] = None,
    residue: Annotated[
        list[str] | None,
        typer.Option(help="φ and ψ of a residue, as ALA2 or A:ALA2; may be repeated."),
    ] = None,
    variable: Annotated[
        list[str] | None,
        typer.Option(
            help="phi:ALA2, torsion:4,6,8,14, angle:4,6,8, distance:4,6=1,8 (Å), volume=800,1600 "
            "(Å^3), u, or column:NAME=LOW,HIGH; up to three times. Limits follow '='."
        ),
    ] = None,
    torsion: Annotated[
        list[str] | None,
        typer.Option(help="Four 0-based atoms as 4,6,8,14; twice. φ, ψ of alanine dipeptide."),
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="Column of a torsion in COLVAR; twice. phi, psi.")
    ] = None,
    reweight: Annotated[
        bool, typer.Option("--reweight", help="Undo the bias by exp(V/k_BT).")
    ] = False,
    bias: Annotated[
        list[str] | None,
        typer.Option(
            help="Column of the bias in COLVAR, as opes.bias or metad.rbias; may be repeated."
        ),
    ] = None,
    bias_unit: Annotated[
        EnergyUnit, typer.Option(help="Energy unit of these columns.")
    ] = EnergyUnit.kj_per_mol,
    own_bias: Annotated[
        bool | None,
        typer.Option(
            "--own-bias/--shared-bias",
            help="Each walker has its own bias (as COLVAR files by default), or all have the same "
            "(as frames by default).",
        ),
    ] = None,
    discard: Annotated[
        float, typer.Option(help="Share of each walker to leave out at its beginning.")
    ] = 0.0,
    frames: Annotated[
        int | None, typer.Option(help="Analyze so many frames: coverage grows with their number.")
    ] = None,
    take: Annotated[
        Take, typer.Option(help="Which: equally far apart, or the first of each walker.")
    ] = Take.thin,
    region: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=φ0,φ1 or NAME=φ0,φ1,ψ0,ψ1 in degrees; twice, for F(first) − F(second). "
            "C7ax=0,180 and C7eq=-180,0 for φ, ψ of alanine dipeptide."
        ),
    ] = None,
    bins: Annotated[int, typer.Option(help="Cells of the surface for each variable.")] = 36,
    bandwidth: Annotated[
        float, typer.Option(help="Smooth the surface by a Gaussian kernel, in degrees.")
    ] = 0.0,
    barrier: Annotated[
        float | None,
        typer.Option(help="Least depth of a basin in kJ/mol; 2 k_BT by default."),
    ] = None,
    save: Annotated[Path | None, typer.Option(help="File for the surface (.npz or .csv).")] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="Compare with this: a saved surface, frames, a trajectory, a COLVAR file, or a "
            "run directory. What it visits, or where it is below --cutoff, is what is accessible."
        ),
    ] = None,
    cutoff: Annotated[
        float, typer.Option(help="Compare where the reference is below this, in kJ/mol.")
    ] = 20.0,
    cells: Annotated[
        int, typer.Option(help="Cells per variable for the accessible ones of a reference.")
    ] = 32,
    features: Annotated[
        Path | None,
        typer.Option(
            help="A .uncv file, whose descriptors tell how many of the atomic environments of the "
            "reference were visited."
        ),
    ] = None,
    distance: Annotated[
        float | None,
        typer.Option(
            help="How near counts there, in spreads of the reference; its own by default."
        ),
    ] = None,
    levels: Annotated[int, typer.Option(help="Levels of the coverage grid.")] = 5,
    resamples: Annotated[int, typer.Option(help="Of the bootstrap over walkers.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap, and of atoms drawn.")] = 0,
    interval: Annotated[
        float | None, typer.Option(help="Time between frames in ps, where the files do not tell.")
    ] = None,
    timestep: Annotated[
        float | None, typer.Option(help="Time step in fs, for frames that tell their steps.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Temperature in K of the run; 300, or that of a campaign.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure what a run covers, how long it remembers, its free energy and its transitions.

    Free energies are in kJ/mol with block errors; 'inf' comes with its reason.
    """
    from uncv.analysis import AnalysisSettings
    from uncv.cli.analysis_files import draw, write_numbers, write_surface

    reading = Reading(
        _variables(variable or (), torsion or ()),
        tuple(residue or ()),
        tuple(column) if column else None,
        topology,
        tuple(bias or ()),
        bias_unit,
        reweight or bool(bias),
        own_bias,
        discard,
        _positive(interval, "--interval"),
        _positive(timestep, "--timestep"),
    )
    if features is not None and reference is None:
        raise DataError("--features compares with a reference; give --reference")
    suggested = torsion is None and column is None and variable is None and residue is None
    given = read_inputs(inputs, reading)
    settings = AnalysisSettings(
        temperature=temperature or given.temperature or 300.0,
        levels=levels,
        bins=bins,
        bandwidth=radians(bandwidth),
        regions=_regions(region or (_SIDES if suggested and len(given.groups) == 1 else ())),
        resamples=resamples,
        seed=seed,
        barrier=None if barrier is None else barrier / EV_IN_KJ_PER_MOL,
    )
    look = Look(settings, cutoff / EV_IN_KJ_PER_MOL, cells, frames, take.value)
    beside = None if reference is None else Beside(reference, reading)
    found = analyzed(given, look, beside)
    near = None
    if features is not None and reference is not None:
        sets = whole([read_frames(path, reading) for path in inputs])
        near = environments_of(features, sets, read_frames(reference, reading), distance, seed)
    if out is not None:
        draw(out, found, inputs[0].stem or inputs[0].name)
    if save is not None:
        write_surface(save, found)
    result = plain(found, near)
    if numbers is not None:
        write_numbers(numbers, result)
    files = {"picture": out, "surface": save, "numbers": numbers}
    if as_json:
        answer({**result, **files}, as_json=True)
    else:
        shown = {name: path for name, path in files.items() if path is not None}
        answer(dict(lines(found, near)) | shown, as_json=False)


def _variables(
    texts: Sequence[str], torsions: Sequence[str]
) -> tuple[Variable | ResidueTorsion, ...]:
    from uncv.analysis import Torsion, parse_variable

    names = ("φ", "ψ") if len(torsions) == 2 and not texts else ("",) * len(torsions)
    try:
        quadruples = [tuple(int(number) for number in text.split(",")) for text in torsions]
    except ValueError as error:
        raise typer.BadParameter(f"a torsion is four numbers as 4,6,8,14: {error}") from error
    made = [Torsion(atoms, name) for atoms, name in zip(quadruples, names, strict=True)]
    return (*made, *(parse_variable(text) for text in texts))


def _regions(texts: Sequence[str]) -> tuple[Region, Region] | None:
    from uncv.analysis import parse_region

    if len(texts) not in (0, 2):
        raise typer.BadParameter(f"{len(texts)} regions are given; expected --region twice")
    return (parse_region(texts[0]), parse_region(texts[1])) if texts else None


def _positive(value: float | None, name: str) -> float | None:
    if value is not None and not value > 0.0:
        raise typer.BadParameter(f"{name} is {value:g}; expected more than 0")
    return value
