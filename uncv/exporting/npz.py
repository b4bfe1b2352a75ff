"""NumPy archives as sGDML and NequIP read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uncv.data import Dataset
from uncv.errors import DataError
from uncv.exporting.base import Provenance, columns_of, molecules


def write_npz(path: Path, frames: Dataset, provenance: Provenance) -> None:
    """Write E (F, 1) in eV, F (F, A, 3) in eV/Å, R (F, A, 3) in Å and z (A,).

    Where there is a cell, also ``cell`` (F, 3, 3) in Å, ``pbc`` (F, 3), and ``stress`` (F, 3, 3) in
    eV/Å^3, tension positive. Columns of the provenance are arrays (F,).

    Raises
    ------
    DataError
        If the frames are not all of the same atoms in the same order.
    """
    groups = list(molecules(frames))
    if len(groups) != 1:
        found = ", ".join(group.name for group in groups) or "nothing"
        raise DataError(
            f"this npz format holds one molecule, found {found}: one z is for all frames; export "
            "to extxyz, h5 or deepmd"
        )
    one = groups[0]
    arrays: dict[str, NDArray] = {
        "E": one.energy[:, None],
        "F": one.forces,
        "R": one.positions,
        "z": one.numbers.astype(np.uint8),
        "name": np.array(one.name),
        "theory": np.array(provenance.level_of_theory),
        "r_unit": np.array("Ang"),
        "e_unit": np.array("eV"),
    }
    if one.periodic:
        arrays |= {"cell": frames.cell, "pbc": frames.pbc}
        arrays |= {} if one.stress is None else {"stress": one.stress}
    arrays |= {k: v for k, v in columns_of(frames).items() if k not in arrays}
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
