"""A database of ASE: one row for each frame, its provenance as keys that can be searched for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uncv.data import Dataset
from uncv.exporting.base import Provenance, columns_of

if TYPE_CHECKING:
    from ase import Atoms

_VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])
"""Rows and columns of xx, yy, zz, yz, xz, xy."""


def write_ase_db(path: Path, frames: Dataset, provenance: Provenance) -> None:
    """Write rows with energy (eV), forces (eV/Å) and stress (eV/Å^3, Voigt's order).

    Columns of the provenance are key-value pairs: ``db.select(split="train", round=3)``. Those that
    are NaN or empty are left out; a text that ASE would take for a number is put in quotation
    marks. What all frames have in common is the metadata of the database.
    """
    from ase.db import connect

    database = connect(str(path), append=False)
    with database:
        for number in range(len(frames)):
            database.write(_atoms(frames, number), key_value_pairs=_pairs(frames, number))
    database.metadata = {**provenance._asdict(), "units": "eV, Å, eV/Å, eV/Å^3"}


def _atoms(frames: Dataset, number: int) -> Atoms:
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    count = frames.frame_atoms[number]
    atoms = Atoms(
        frames.numbers[number, :count],
        frames.positions[number, :count],
        cell=frames.cell[number],
        pbc=frames.pbc[number],
    )
    labels = {
        "energy": None if frames.energy is None else float(frames.energy[number]),
        "forces": None if frames.forces is None else frames.forces[number, :count],
    }
    if frames.stress is not None and np.isfinite(frames.stress[number]).all():
        labels["stress"] = frames.stress[number][_VOIGT]
    atoms.calc = SinglePointCalculator(atoms, **labels)
    return atoms


def _pairs(frames: Dataset, number: int) -> dict[str, Any]:
    values = {name: column[number].item() for name, column in columns_of(frames).items()}
    kept = {k: v for k, v in values.items() if v != "" and not _is_nan(v)}
    return {k: f'"{v}"' if isinstance(v, str) and _looks_numeric(v) else v for k, v in kept.items()}


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _looks_numeric(text: str) -> bool:
    """Whether ASE would refuse a text because a selection could mean a number by it."""
    if text.lower() in ("true", "false"):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True
