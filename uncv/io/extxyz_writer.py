"""Extended XYZ in full digits, so that reading gives the same numbers back."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from uncv.data import Dataset
from uncv.errors import DataError
from uncv.io.base import LabelKeys, key_of

_TOKENS = {"T", "F", "true", "false", "True", "False", "TRUE", "FALSE"}
_NUMBERS = {"nan", "inf", "infinity"}


def write_extxyz(path: Path, data: Dataset, keys: LabelKeys | None = None) -> None:
    """Write a dataset as extended XYZ, 17 significant digits, NaN labels left out.

    Columns named like a label of the format are written with the prefix ``info_``, which
    the reader takes off again.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    data : Dataset
        The frames.
    keys : LabelKeys, optional
        What the labels are called, for programs that look for them under other keys.

    Raises
    ------
    DataError
        If the name of a column or a label cannot stand in such a file, or both are the same.
    """
    keys = keys or LabelKeys()
    bad = [key for key in (*data.info, *keys) if not re.fullmatch(r"[A-Za-z_][\w-]*", key)]
    if bad:
        raise DataError(f"column {bad[0]!r} cannot be written to extxyz; rename it or use .npz")
    names = [*keys, *(key_of(column) for column in data.info)]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(f"two things would be written as {twice[0]!r}; give the label another key")
    with path.open("w", encoding="utf-8") as file:
        for frame in range(len(data)):
            file.write("\n".join(_lines(data, frame, keys)) + "\n")


def _lines(data: Dataset, frame: int, keys: LabelKeys) -> list[str]:
    from ase.data import chemical_symbols

    atoms = int(data.frame_atoms[frame])
    per_atom = [k for k in data.info if _is_per_atom(data, k)]
    properties, columns = ["species:S:1"], []
    named = [("pos", data.positions[frame])]
    if data.forces is not None and np.isfinite(data.forces[frame, :atoms]).all():
        named.append((keys.forces, data.forces[frame]))
    named += [(key_of(k), data.info[k][frame]) for k in per_atom]
    for name, array in named:
        array = array[:atoms].reshape(atoms, -1)
        kind = {"f": "R", "b": "L"}.get(array.dtype.kind, "I")
        properties.append(f"{name}:{kind}:{array.shape[1]}")
        columns.append(array)
    comment = [*_cell(data, frame), "Properties=" + ":".join(properties)]
    comment += _labels(data, frame, keys)
    for key, column in data.info.items():
        if key not in per_atom:
            comment.append(f"{key_of(key)}={_comment_value(column[frame])}")
    rows = [
        " ".join([chemical_symbols[z], *(_scalar(v) for c in columns for v in c[atom])])
        for atom, z in enumerate(data.numbers[frame, :atoms])
    ]
    return [str(atoms), " ".join(comment), *rows]


def _is_per_atom(data: Dataset, key: str) -> bool:
    """Whether a column can stand beside the atoms: their axis second, zero on padding."""
    column = data.info[key]
    if column.ndim not in (2, 3) or column.dtype.kind not in "biuf":
        return False
    if column.shape[1:2] != data.numbers.shape[1:] or column.shape[2:] == (1,):
        return False
    return not np.any(column[~data.mask])


def _cell(data: Dataset, frame: int) -> list[str]:
    pbc = "pbc=" + _quote(" ".join("FT"[int(p)] for p in data.pbc[frame]))
    if not data.cell[frame].any():
        return [pbc]
    return ["Lattice=" + _quote(" ".join(map(_scalar, data.cell[frame].ravel()))), pbc]


def _labels(data: Dataset, frame: int, keys: LabelKeys) -> list[str]:
    labels = []
    if data.energy is not None and np.isfinite(data.energy[frame]):
        labels.append(f"{keys.energy}={_scalar(data.energy[frame])}")
    if data.stress is not None and np.isfinite(data.stress[frame]).all():
        numbers = data.stress[frame].T.ravel()  # the format stores matrices column by column
        labels.append(f"{keys.stress}=" + _quote(" ".join(map(_scalar, numbers))))
    return labels


def _scalar(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "FT"[int(value)]
    return repr(value.item() if isinstance(value, np.generic) else value)


def _comment_value(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return _quote("_JSON " + json.dumps(value.tolist()))
    if isinstance(value, str):
        return _quote(str(value) if _reads_back(value) else "_JSON " + json.dumps(str(value)))
    return _scalar(value)


def _reads_back(text: str) -> bool:
    """Whether ASE reads these words as text, not as numbers, logicals or an empty list."""
    if not re.fullmatch(r"[A-Za-z][\w.:-]*( [\w.:-]+)*", text, flags=re.ASCII):
        return False
    words = text.split(" ")
    return words[0] not in _TOKENS and words[0].lower() not in _NUMBERS


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
