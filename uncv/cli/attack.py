"""`uncv attack`: frames of large uncertainty by gradient ascent from start frames."""

# The imports stand inside the functions, so that `uncv --help` is quick.
from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from uncv.cli.output import answer, step_progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from uncv.adversarial import AttackResult
    from uncv.adversarial.base import Move
    from uncv.data import Dataset


class MoveKind(StrEnum):
    """What an attack changes."""

    displacements = "displacements"
    torsions = "torsions"
    strain = "strain"


class Choice(StrEnum):
    """How candidates are chosen."""

    lcmd = "lcmd"
    farthest_point = "farthest_point"
    max_det = "max_det"
    top_u = "top_u"
    random = "random"


def attack(
    cv: Annotated[Path, typer.Argument(help="A .uncv file.", metavar="MODEL.uncv")],
    start: Annotated[
        Path, typer.Argument(help="Start frames (Å), which take turns.", metavar="START.extxyz")
    ],
    out: Annotated[
        Path, typer.Option(help="Candidates to write, with where they come from.")
    ] = Path("attacks.extxyz"),
    count: Annotated[
        int | None, typer.Option(help="Candidates to choose; all distinct ones by default.")
    ] = None,
    move: Annotated[
        list[MoveKind] | None,
        typer.Option(help="What changes, acting in the order given; may be repeated."),
    ] = None,
    attacks: Annotated[int, typer.Option(help="Attacks made at once.")] = 64,
    steps: Annotated[int, typer.Option(help="Steps of each, at most.")] = 60,
    temperature: Annotated[
        float, typer.Option(help="K: energies of some k_BT above the known ones are bearable.")
    ] = 1000.0,
    trust_radius: Annotated[float, typer.Option(help="Largest displacement of an atom, Å.")] = 0.5,
    torsion_limit: Annotated[
        float, typer.Option(help="Largest rotation about a bond, degrees.")
    ] = 180.0,
    strain_limit: Annotated[float, typer.Option(help="Largest principal strain.")] = 0.1,
    bond: Annotated[
        list[str] | None,
        typer.Option(
            help="I-J, counted from 0: a bond to turn about; may be repeated. By default all "
            "outside of rings."
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="Frames that are known, or a run directory; by default labelled.extxyz beside the "
            "model, else the start frames."
        ),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(help="Relative difference of features below which frames are the same.")
    ] = 0.02,
    method: Annotated[Choice, typer.Option(help="How candidates are chosen.")] = Choice.lcmd,
    seed: Annotated[int, typer.Option(help="Seed of all randomness.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON object.")
    ] = False,
) -> None:
    """Seek frames that a potential is uncertain of, without dynamics: adversarial attacks.

    Maximises log U − E/k_BT − log Q from every start, all attacks as one batch, and keeps what is
    physical, new and unlike the rest. Energies in eV, u in the unit of its kind.
    """
    from uncv.adversarial import AttackSettings, Displacements, Strain, Torsions
    from uncv.adversarial import attack as run
    from uncv.cv import UncertaintyCV
    from uncv.io import read, write

    kinds: dict[str, Callable[[], Move]] = {
        "displacements": lambda: Displacements(limit=trust_radius),
        "torsions": lambda: Torsions(_bonds(bond), limit=math.radians(torsion_limit)),
        "strain": lambda: Strain(limit=strain_limit),
    }
    settings = AttackSettings(
        moves=tuple(kinds[kind.value]() for kind in move or [MoveKind.displacements]),
        attacks=attacks,
        steps=steps,
        temperature=temperature,
        tolerance=tolerance,
        count=count,
        method=method.value,
    )
    loaded, known = UncertaintyCV.load(cv), _known(cv, reference)
    with step_progress("attacking") as tell:
        found = run(
            loaded, read(start), settings, reference=known, seed=seed, progress=tell
        ).checked()
    write(out, found.candidates)
    answer({"file": out, "kind": loaded.kind, **_summary(found, as_json=as_json)}, as_json=as_json)


def _bonds(given: list[str] | None) -> tuple[tuple[int, int], ...] | None:
    from uncv.errors import ConfigError

    if not given:
        return None
    pairs = []
    for text in given:
        first, _, second = text.partition("-")
        if not (first.isdecimal() and second.isdecimal()):
            raise ConfigError(f"--bond is {text!r}; expected two atoms counted from 0, such as 4-6")
        pairs.append((int(first), int(second)))
    return tuple(pairs)


def _known(model: Path, given: Path | None) -> Dataset | None:
    """Return the known frames, those a campaign trained on where it says so."""
    from uncv.io import read

    path = model.with_name("labelled.extxyz") if given is None else given
    if given is None and not path.is_file():
        return None
    frames = read(path / "labelled.extxyz" if path.is_dir() else path)
    split = frames.info.get("split")
    return frames if split is None else frames[split == "train"]


def _summary(found: AttackResult, *, as_json: bool) -> dict[str, Any]:
    info = found.frames.info
    summary: dict[str, Any] = {
        "attacks": len(found.frames),
        "ended": sum(bool(reason) for reason in found.reasons),
        "distinct": len(found.distinct),
        "chosen": len(found.chosen),
        "known": found.known,
        "start_uncertainty": float(info["start_uncertainty"].mean()),
        "uncertainty": float(info["uncertainty"][found.chosen].mean()),
    }
    if not as_json:
        return summary
    columns = {name: info[name].tolist() for name in info}
    each = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return {**summary, "choice": found.chosen.tolist(), "each": each}
