"""HDF5 as TorchANI reads it: a group for each molecule, in hartree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncv.data import Dataset
from uncv.errors import DependencyError
from uncv.exporting.base import Molecule, Provenance, columns_of, molecules, symbols_of
from uncv.units import HARTREE_IN_EV


def write_h5(path: Path, frames: Dataset, provenance: Provenance) -> None:
    """Write a group for each molecule, as ``torchani.data.load`` takes them.

    ``species`` (A,), ``coordinates`` (F, A, 3) in Å, ``energies`` (F,) in hartree, ``forces`` in
    hartree/Å; with a cell ``cell`` in Å and ``stress`` in hartree/Å^3, tension positive. Columns of
    the provenance are datasets (F,).

    Raises
    ------
    DependencyError
        If h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise DependencyError(
            "HDF5 is written by h5py, which is not installed; run: pip install 'uncv[formats]'"
        ) from error
    with h5py.File(path, "w") as file:
        file.attrs.update(provenance._asdict())
        file.attrs["units"] = "Å, hartree, hartree/Å, hartree/Å^3"
        for molecule in molecules(frames):
            _fill(file.create_group(molecule.name), molecule)


def _fill(group: Any, molecule: Molecule) -> None:
    arrays: dict[str, NDArray] = {
        "species": np.array(symbols_of(molecule.numbers), dtype="S"),
        "coordinates": molecule.positions,
        "energies": molecule.energy / HARTREE_IN_EV,
        "forces": molecule.forces / HARTREE_IN_EV,
    }
    if molecule.periodic:
        arrays["cell"] = molecule.frames.cell
        if molecule.stress is not None:
            arrays["stress"] = molecule.stress / HARTREE_IN_EV
    for name, column in columns_of(molecule.frames).items():
        if name not in arrays:
            arrays[name] = _ascii(column) if column.dtype.kind == "U" else column
    for name, array in arrays.items():
        group.create_dataset(name, data=array)


def _ascii(column: NDArray) -> NDArray[np.bytes_]:
    """Return text as TorchANI's reader decodes it."""
    return np.array([text.encode("ascii", "backslashreplace") for text in column.tolist()], "S")
