"""`uncv analyze`: coverage, free-energy surface and free-energy difference of runs."""

# The imports stand inside the functions, so that `uncv --help` starts no engine.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import radians
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uncv.cli.analysis_output import Reference, draw, lines, plain, surface_of
from uncv.cli.output import answer
from uncv.errors import DataError
from uncv.units import EV_IN_KJ_PER_MOL

if TYPE_CHECKING:
    from uncv.analysis import Analysis, AnalysisSettings, Region, Samples

_ALANINE = ("4,6,8,14", "6,8,14,16")
_SIDES = ("C7ax=0,180", "C7eq=-180,0")


class EnergyUnit(StrEnum):
    """Units of a bias in COLVAR, by what PLUMED's UNITS line says."""

    kj_per_mol = "kj/mol"
    kcal_per_mol = "kcal/mol"
    ev = "ev"

    @property
    def in_ev(self) -> float:
        """One of it in eV."""
        return {"kj/mol": 1 / EV_IN_KJ_PER_MOL, "kcal/mol": 4.184 / EV_IN_KJ_PER_MOL, "ev": 1.0}[
            self.value
        ]


@dataclass(frozen=True)
class Reading:
    """How the inputs are read."""

    torsions: tuple[tuple[int, ...], ...]
    columns: tuple[str, ...]
    bias: tuple[str, ...]
    unit: EnergyUnit
    reweight: bool
    own_bias: bool | None
    discard: float


def analyze(
    inputs: Annotated[
        list[Path],
        typer.Argument(help="Frames of a run (Å), or COLVAR files of PLUMED, one for each walker."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Picture of the surface to write (.png).")
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
    region: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=φ0,φ1 or NAME=φ0,φ1,ψ0,ψ1 in degrees; twice, for F(first) − F(second). "
            "C7ax=0,180 and C7eq=-180,0 for φ, ψ of alanine dipeptide."
        ),
    ] = None,
    bins: Annotated[int, typer.Option(help="Cells of the surface for each angle.")] = 36,
    bandwidth: Annotated[
        float, typer.Option(help="Smooth the surface by a Gaussian kernel, in degrees.")
    ] = 0.0,
    save: Annotated[Path | None, typer.Option(help="File for the surface (.npz).")] = None,
    reference: Annotated[
        Path | None,
        typer.Option(help="Compare with this: a saved surface, frames, or a COLVAR file."),
    ] = None,
    cutoff: Annotated[
        float, typer.Option(help="Compare where the reference is below this, in kJ/mol.")
    ] = 20.0,
    levels: Annotated[int, typer.Option(help="Levels of the coverage grid.")] = 5,
    temperature: Annotated[float, typer.Option(help="Temperature in K of the run.")] = 300.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure the coverage of two torsions and their free energy, reweighted if asked for.

    Free energies are in kJ/mol with block errors; 'inf' comes with its reason.
    """
    from uncv.analysis import AnalysisSettings, save_surface
    from uncv.analysis import analyze as run

    reading = Reading(
        _torsions(torsion or _ALANINE),
        tuple(column or ("phi", "psi")),
        tuple(bias or ()),
        bias_unit,
        reweight or bool(bias),
        own_bias,
        discard,
    )
    named = region or (_SIDES if torsion is None and column is None else ())
    settings = AnalysisSettings(temperature, levels, bins, radians(bandwidth), _regions(named))
    samples = _read(inputs, reading)
    found = run(samples, settings)
    beside = None
    if reference is not None:
        beside = _compare(found, reference, reading, settings, cutoff / EV_IN_KJ_PER_MOL)
    if out is not None:
        draw(out, found, inputs[0].stem, beside)
    if save is not None:
        save_surface(save, surface_of(found), found.difference)
    notes = [*samples.notes, *([beside.note] if beside and beside.note else [])]
    files = {"picture": out, "surface": save}
    if as_json:
        answer({**plain(found, beside), "notes": notes, **files}, as_json=True)
    else:
        answer(dict(lines(found, beside, notes)) | files, as_json=False)


def _read(inputs: list[Path], reading: Reading) -> Samples:
    from uncv.analysis import is_colvar, joined, read_colvar, samples_of_colvar, samples_of_frames
    from uncv.io import read

    missing = [str(path) for path in inputs if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"there is no file {', '.join(missing)}; check the path")
    tables = [path for path in inputs if is_colvar(path)]
    if tables and len(tables) < len(inputs):
        raise DataError("some inputs are COLVAR files and others frames; analyze them one by one")
    if tables:
        if reading.reweight and not reading.bias:
            raise DataError(
                "which columns of COLVAR hold the bias is not said; name them, as --bias opes.bias"
            )
        samples = samples_of_colvar(
            [read_colvar(path) for path in tables],
            reading.columns,
            bias=reading.bias,
            bias_unit=reading.unit.in_ev,
            own_bias=reading.own_bias is not False,
        )
        return samples.discard(reading.discard)
    if reading.bias:
        raise DataError("--bias names columns of COLVAR files; frames are reweighted by --reweight")
    parts = [
        samples_of_frames(
            read(path), reading.torsions, reweight=reading.reweight, own_bias=bool(reading.own_bias)
        )
        for path in inputs
    ]
    return joined(parts).discard(reading.discard)


def _compare(
    found: Analysis, path: Path, reading: Reading, settings: AnalysisSettings, cutoff: float
) -> Reference:
    """Return the reference analyzed like the run; frames without a bias are taken as they are."""
    from uncv.analysis import analyze as run
    from uncv.analysis import compare_surfaces, is_colvar, is_surface, load_surface
    from uncv.io import read

    surface = surface_of(found)
    if path.is_file() and is_surface(path):
        saved = load_surface(path)
        asked = None if found.difference is None else found.difference.regions
        same = asked is not None and saved.regions == asked
        note = "" if same else f"{path} was saved with other regions: no difference to compare"
        return Reference(
            None,
            compare_surfaces(surface, saved.surface, cutoff),
            saved.surface,
            (saved.value, saved.error) if same else None,
            note,
        )
    note = ""
    if path.is_file() and not is_colvar(path):
        biased = reading.reweight and "bias" in read(path).info
        reading = replace(reading, reweight=biased, bias=())
        note = f"{path} was {'reweighted' if biased else 'taken as it is'}"
    other = run(_read([path], reading), settings)
    against, beside = surface_of(other), other.difference
    return Reference(
        other,
        compare_surfaces(surface, against, cutoff),
        against,
        None if beside is None else (beside.value, beside.error),
        note,
    )


def _regions(texts: Sequence[str]) -> tuple[Region, Region] | None:
    from uncv.analysis import parse_region

    if len(texts) not in (0, 2):
        raise typer.BadParameter(f"{len(texts)} regions are given; expected --region twice")
    return (parse_region(texts[0]), parse_region(texts[1])) if texts else None


def _torsions(texts: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    try:
        return tuple(tuple(int(number) for number in text.split(",")) for text in texts)
    except ValueError as error:
        raise typer.BadParameter(f"a torsion is four numbers as 4,6,8,14: {error}") from error
