"""What every format is given: labelled frames, where they come from, and groups of one molecule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncv.data import Dataset
from uncv.errors import DataError


class Provenance(NamedTuple):
    """Where all frames of an export come from; what differs from frame to frame is in columns.

    Attributes
    ----------
    uncv_version : str
        The version of uncv that exports.
    run_fingerprint : str
        A hash of all labelled frames and, of a campaign, its configuration.
    level_of_theory : str
        Of the labels; several are joined by '; ', '' where it is not known.
    software : str
        Name and version of what computed the labels.
    """

    uncv_version: str
    run_fingerprint: str
    level_of_theory: str = ""
    software: str = ""


class Molecule(NamedTuple):
    """Frames of the same atoms in the same order, periodic in all directions or in none."""

    name: str
    numbers: NDArray[np.int64]
    periodic: bool
    frames: Dataset

    @property
    def positions(self) -> NDArray[np.float64]:
        """Positions (F, A, 3) in Å, without padding."""
        return self.frames.positions[:, : len(self.numbers)]

    @property
    def forces(self) -> NDArray[np.float64]:
        """Forces (F, A, 3) in eV/Å, without padding."""
        forces = self.frames.require("forces").forces
        return np.asarray(forces)[:, : len(self.numbers)]

    @property
    def energy(self) -> NDArray[np.float64]:
        """Energies (F,) in eV."""
        return np.asarray(self.frames.require("energy").energy)

    @property
    def stress(self) -> NDArray[np.float64] | None:
        """Stress (F, 3, 3) in eV/Å^3, tension positive; None unless every frame has one."""
        return self.frames.stress if self.frames.has("stress") else None


def molecules(frames: Dataset) -> Iterator[Molecule]:
    """Return the frames sorted into groups of the same atoms, in the order in which they occur.

    Raises
    ------
    DataError
        If a frame is periodic in some directions only, which these formats cannot say.
    """
    slabs = np.flatnonzero(frames.pbc.any(axis=1) & ~frames.pbc.all(axis=1))
    if len(slabs):
        raise DataError(
            f"frame {slabs[0]} is periodic in some directions only; this format knows all or none: "
            "export to extxyz or ase-db"
        )
    keys = [
        (tuple(numbers[numbers > 0].tolist()), bool(pbc.all()))
        for numbers, pbc in zip(frames.numbers, frames.pbc, strict=True)
    ]
    names: list[str] = []
    for key in dict.fromkeys(keys):
        chosen = frames[[i for i, k in enumerate(keys) if k == key]]
        formula = formula_of(key[0])
        name = formula if formula not in names else f"{formula}_{names.count(formula)}"
        names.append(formula)
        yield Molecule(name, np.array(key[0], dtype=np.int64), key[1], chosen)


def formula_of(numbers: tuple[int, ...]) -> str:
    """Return Hill's formula.

    Examples
    --------
    >>> formula_of((8, 1, 1))
    'H2O'
    """
    from ase.formula import Formula

    return Formula.from_list(symbols_of(np.array(numbers))).format("hill")


def symbols_of(numbers: NDArray[np.int64]) -> list[str]:
    """Return the symbols of elements."""
    from ase.data import chemical_symbols

    return [chemical_symbols[z] for z in numbers]


def columns_of(frames: Dataset) -> dict[str, NDArray]:
    """Return the columns that hold one number or text for each frame."""
    return {k: v for k, v in frames.info.items() if v.ndim == 1 and v.dtype.kind in "biufU"}
