"""Folders of DeePMD-kit: a system for each molecule, with virials."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncv.data import Dataset
from uncv.exporting.base import Molecule, Provenance, columns_of, molecules, symbols_of


def write_deepmd(
    path: Path, frames: Dataset, provenance: Provenance, elements: tuple[int, ...]
) -> None:
    """Write a system for each molecule: type.raw, type_map.raw and set.000 with float64 arrays.

    Lengths in Å, energies in eV, forces in eV/Å, and the virial −V σ in eV, positive where the
    crystal pushes outwards. ``provenance.json`` in each system holds the columns.

    Parameters
    ----------
    path : pathlib.Path
        The folder for the systems.
    frames : Dataset
        Of one split.
    provenance : Provenance
        What they have in common.
    elements : tuple of int
        The type map, the same for all splits.
    """
    for molecule in molecules(frames):
        folder = path / molecule.name
        (folder / "set.000").mkdir(parents=True)
        types = [elements.index(z) for z in molecule.numbers.tolist()]
        np.savetxt(folder / "type.raw", types, fmt="%d")
        names = symbols_of(np.array(elements))
        (folder / "type_map.raw").write_text("\n".join(names) + "\n", encoding="ascii")
        if not molecule.periodic:
            (folder / "nopbc").touch()
        for name, array in _arrays(molecule).items():
            np.save(folder / "set.000" / f"{name}.npy", array.reshape(len(molecule.frames), -1))
        about = {**provenance._asdict(), "frames": _columns(molecule.frames)}
        text = json.dumps(about, indent=1, ensure_ascii=False)
        (folder / "provenance.json").write_text(text, encoding="utf-8")


def _arrays(molecule: Molecule) -> dict[str, NDArray[np.float64]]:
    arrays = {"coord": molecule.positions, "energy": molecule.energy, "force": molecule.forces}
    if molecule.periodic:
        cell = molecule.frames.cell
        arrays["box"] = cell
        if molecule.stress is not None:
            volume = np.abs(np.linalg.det(cell))[:, None, None]
            arrays["virial"] = -volume * molecule.stress
    return arrays


def _columns(frames: Dataset) -> dict[str, list[Any]]:
    """Return the columns as JSON can hold them: NaN becomes null."""
    return {
        name: [None if isinstance(v, float) and math.isnan(v) else v for v in column.tolist()]
        for name, column in columns_of(frames).items()
    }
