"""Extended XYZ read through ASE, with the key conventions of ASE and MACE."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncv.data import Dataset, concatenate
from uncv.errors import DataError, FileFormatError
from uncv.io.base import ENERGY, FORCES, STRESS, VIRIAL, column_of

if TYPE_CHECKING:
    from ase import Atoms

_VOIGT = ((0, 5, 4), (5, 1, 3), (4, 3, 2))


class _Frame(NamedTuple):
    atoms: Atoms
    columns: dict[str, Any]
    arrays: dict[str, NDArray]


def read_extxyz(path: Path) -> Dataset:
    """Read every frame of an extended XYZ file.

    Energy is ``REF_energy``, ``energy`` or ``free_energy``, whichever comes first in this order;
    forces ``REF_forces`` or ``forces``; stress ``REF_stress`` or ``stress`` with 9 or, in Voigt's
    order xx, yy, zz, yz, xz, xy, 6 numbers, or −virial/volume. The rest goes into ``info``.

    Raises
    ------
    FileFormatError
        If the file is truncated or a line cannot be read, naming the frame.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    _check_lines(path, text.splitlines())
    frames = [_frame(atoms) for atoms in _atoms(path)]
    keys = dict.fromkeys(k for frame in frames for k in frame.columns)
    as_text = {key for key in keys if _irregular([f.columns.get(key) for f in frames])}
    most = max(len(frame.atoms) for frame in frames)
    return concatenate([_dataset(i, f, most, as_text) for i, f in enumerate(frames)])


def _check_lines(path: Path, lines: list[str]) -> None:
    """Count the lines of each frame, which ASE would not: it stops at the first blank line."""
    at = frame = 0
    while at < len(lines) and lines[at].strip():
        try:
            atoms = int(lines[at])
        except ValueError as error:
            raise FileFormatError(
                f"{path}, line {at + 1}: expected the number of atoms of frame {frame}, "
                f"found {lines[at].strip()[:40]!r}"
            ) from error
        present = len(lines) - at - 2
        if present < atoms or not all(line.strip() for line in lines[at + 2 : at + 2 + atoms]):
            raise FileFormatError(
                f"{path} is truncated: frame {frame} ends before its {atoms} atoms; "
                "copy the file again or cut the last frame"
            )
        at, frame = at + 2 + atoms, frame + 1
    if any(line.strip() for line in lines[at:]):
        raise FileFormatError(f"{path}, line {at + 1}: a blank line stands between frames")
    if frame == 0:
        raise FileFormatError(f"{path} holds no frame")


def _atoms(path: Path) -> Iterable[Atoms]:
    from ase.io.extxyz import key_val_str_to_dict, read_xyz

    def parse(comment: str) -> dict[str, Any]:
        # ASE insists on nine numbers for two keys and moves others away: give it other names.
        shielded = re.sub(r"(?<![\w\"])(stress|virial)\s*=", r"_\1=", comment)
        found = key_val_str_to_dict(shielded)
        kept = ("Lattice", "pbc", "Properties")
        return {k if k in kept else f"uncv:{k}": v for k, v in found.items()}

    frame = 0
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for atoms in read_xyz(file, slice(None), properties_parser=parse):
                yield atoms
                frame += 1
    except (KeyError, ValueError, TypeError, IndexError, OSError) as error:
        raise FileFormatError(
            f"{path}: frame {frame} cannot be read ({type(error).__name__}: {error})"
        ) from error


def _frame(atoms: Atoms) -> _Frame:
    columns = {}
    for key, value in atoms.info.items():
        name = key.removeprefix("uncv:")
        columns[name[1:] if name in ("_stress", "_virial") else name] = value
    arrays = {k: v for k, v in atoms.arrays.items() if k not in ("numbers", "positions")}
    if atoms.calc is not None:
        arrays |= atoms.calc.results
    return _Frame(atoms, columns, arrays)


def _dataset(number: int, frame: _Frame, most: int, as_text: set[str]) -> Dataset:
    columns, arrays, atoms = dict(frame.columns), dict(frame.arrays), frame.atoms
    energy = _take(columns, ENERGY)
    forces = _take(arrays, FORCES)
    cell = np.asarray(atoms.cell)
    try:
        stress = _stress(columns, abs(float(np.linalg.det(cell))))
        info = {column_of(k): _value(v, as_text=k in as_text)[None] for k, v in columns.items()}
        for key, array in arrays.items():
            width = [(0, most - len(array))] + [(0, 0)] * (array.ndim - 1)
            info[column_of(key)] = np.pad(array, width)[None]
        return Dataset(
            numbers=atoms.numbers[None],
            positions=atoms.positions[None],
            cell=cell[None],
            pbc=np.asarray(atoms.pbc)[None],
            energy=None if energy is None else np.array([_number("energy", energy)]),
            forces=None if forces is None else forces[None],
            stress=None if stress is None else stress[None],
            info=info,
        )
    except DataError as error:
        raise DataError(f"frame {number}: {error}") from error


def _take(values: dict[str, Any], keys: tuple[str, ...]) -> Any:
    return next((values.pop(key) for key in keys if key in values), None)


def _number(name: str, value: Any) -> float:
    array = np.asarray(value)
    if array.ndim or array.dtype.kind not in "iuf":
        raise DataError(f"{name} is {value!r}; expected one number in eV")
    return float(array)


def _stress(columns: dict[str, Any], volume: float) -> NDArray[np.float64] | None:
    stress = _take(columns, STRESS)
    if stress is not None:
        return _matrix("stress", stress)
    virial = _take(columns, VIRIAL)
    if virial is None:
        return None
    if volume == 0.0:
        raise DataError("a virial without a cell gives no stress; add Lattice or remove the virial")
    return -_matrix("virial", virial) / volume


def _matrix(name: str, value: Any) -> NDArray[np.float64]:
    array = np.asarray(value)
    if array.dtype.kind in "iuf" and array.size == 9:
        matrix = array if array.shape == (3, 3) else array.reshape(3, 3).T  # stored by columns
        return matrix.astype(np.float64)
    if array.dtype.kind in "iuf" and array.size == 6:
        return array.reshape(6)[np.array(_VOIGT)].astype(np.float64)
    raise DataError(f"{name} has {array.size} values; expected 9, or 6 in Voigt's order")


def _irregular(values: list[Any]) -> bool:
    """Whether the values of a column do not stack into an array of numbers or text."""
    present = [_plain(v) for v in values if v is not None]
    return any(v is None for v in present) or len({v.shape for v in present if v is not None}) > 1


def _plain(value: Any) -> NDArray | None:
    try:
        array = np.asarray(value)
    except ValueError:
        return None
    return array if array.dtype.kind in "biufU" else None


def _value(value: Any, *, as_text: bool) -> NDArray:
    if as_text and not isinstance(value, str):
        value = json.dumps(value.tolist() if isinstance(value, np.ndarray) else value)
    return np.asarray(value)
