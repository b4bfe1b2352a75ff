"""`uncv export-data`: labelled frames for other programs that train potentials."""

# The imports stand inside the function, so that `uncv --help` is quick.
from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from uncv.cli.output import answer


class DataFormat(StrEnum):
    """Formats of other programs."""

    extxyz = "extxyz"
    npz = "npz"
    ase_db = "ase-db"
    h5 = "h5"
    deepmd = "deepmd"


def export_data(
    source: Annotated[
        Path, typer.Argument(help="Run directory of a campaign, or a file of labelled frames.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="A file with the suffix of the format for all frames, or a folder for a file of "
            "each split: train, valid, test."
        ),
    ],
    kind: Annotated[
        DataFormat,
        typer.Option(
            "--format",
            help="extxyz: ASE, MACE, NequIP (eV, Å); npz: sGDML, NequIP (eV, Å); ase-db: ASE; "
            "h5: TorchANI (hartree, Å); deepmd: DeePMD-kit (eV, Å).",
        ),
    ] = DataFormat.extxyz,
    energy_key: Annotated[str, typer.Option(help="Of extxyz.")] = "REF_energy",
    forces_key: Annotated[str, typer.Option(help="Of extxyz.")] = "REF_forces",
    stress_key: Annotated[str, typer.Option(help="Of extxyz.")] = "REF_stress",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON object.")
    ] = False,
) -> None:
    """Write labelled frames for another program, with their provenance and their split.

    The frames that calibrated the uncertainty never trained; they become the test split.
    """
    from uncv.exporting import LabelKeys
    from uncv.exporting import export_data as run

    keys = LabelKeys(energy_key, forces_key, stress_key)
    found = run(source, out, kind.value, keys)
    answer(found._asdict(), as_json=as_json)
