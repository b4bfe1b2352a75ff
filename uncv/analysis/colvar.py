"""COLVAR files of PLUMED: columns by name, whatever restarts have left in them."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncv.errors import DataError, FileFormatError

_HEADER = "#! FIELDS"


class ColvarTable(NamedTuple):
    """What a COLVAR file holds.

    Attributes
    ----------
    file : pathlib.Path
        Where it was read.
    fields : tuple of str
        Names of the columns.
    values : numpy.ndarray
        Rows in the order of time (T, columns), in the units of the PLUMED input.
    constants : dict of str to str
        The ``#! SET`` lines, such as ``min_phi``: ``-pi``.
    notes : tuple of str
        What was left out or joined in reading; empty for a file of one run that ended well.
    """

    file: Path
    fields: tuple[str, ...]
    values: NDArray[np.float64]
    constants: dict[str, str]
    notes: tuple[str, ...] = ()

    def column(self, name: str) -> NDArray[np.float64]:
        """Return a column (T,).

        Raises
        ------
        DataError
            If there is no such column, or a value in it is NaN or infinite.
        """
        if name not in self.fields:
            near = get_close_matches(name, self.fields, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise DataError(
                f"{self.file} has no column '{name}', only {', '.join(self.fields)}{hint}"
            )
        values = self.values[:, self.fields.index(name)]
        bad = ~np.isfinite(values)
        if bad.any():
            raise DataError(
                f"column '{name}' of {self.file} is NaN or infinite in {int(bad.sum())} of "
                f"{len(values)} rows, the first being row {int(np.argmax(bad)) + 1}; leave the "
                "rows of failed or parked walkers out"
            )
        return values


def is_colvar(path: str | Path) -> bool:
    """Whether a file begins with PLUMED's header of columns, ``#! FIELDS``."""
    with Path(path).open("rb") as file:
        return file.read(len(_HEADER)) == _HEADER.encode()


def read_colvar(path: str | Path) -> ColvarTable:
    """Read a COLVAR file.

    A restart appends to the file and repeats its header. Where it goes back in time into the part
    before, its rows replace those that they repeat. Where its clock begins at or before the
    beginning of that part, the run was continued with a new clock, and nothing is replaced. A last
    line that is cut short, as a kill leaves it, is left out. The notes tell of each.

    Parameters
    ----------
    path : str or Path
        A file written by PLUMED's PRINT.

    Raises
    ------
    FileFormatError
        If there is no header, headers differ, or a row does not fit them.
    DataError
        If there is no row, or time goes back without a restart.
    """
    path = Path(path)
    lines = path.read_text(encoding="utf-8").splitlines()
    if not lines or not lines[0].startswith(_HEADER):
        raise FileFormatError(f"{path} is not a COLVAR file: it does not begin with '{_HEADER}'")
    fields = _fields(lines[0])
    constants: dict[str, str] = {}
    notes: list[str] = []
    arrays: list[NDArray[np.float64]] = []
    for begin, end in _parts(path, lines, fields):
        constants |= _constants(lines[begin:end])
        rows = [line for line in lines[begin:end] if line[:1] != "#" and line.strip()]
        if rows:
            whole = _whole(rows, len(fields), last=end == len(lines))
            if len(whole) < len(rows):
                notes.append("the last line is cut short and was left out")
            arrays += [_numbers(path, lines, whole, len(fields))] if whole else []
    if not arrays:
        raise DataError(f"{path} holds no row; was the run longer than PRINT's STRIDE?")
    if "time" in fields:
        arrays = _joined(path, arrays, fields.index("time"), notes)
    return ColvarTable(path, fields, np.concatenate(arrays), constants, tuple(notes))


def _fields(line: str) -> tuple[str, ...]:
    return tuple(line.split()[2:])


def _check_header(path: Path, number: int, line: str, fields: tuple[str, ...]) -> None:
    if _fields(line) != fields:
        raise FileFormatError(
            f"{path}, line {number}: the columns change to {', '.join(_fields(line))} from "
            f"{', '.join(fields)}; two different inputs wrote this file, separate them"
        )


def _parts(path: Path, lines: list[str], fields: tuple[str, ...]) -> list[tuple[int, int]]:
    """Return where the part behind each header begins and ends."""
    headers = [n for n, line in enumerate(lines) if line.startswith(_HEADER)]
    for number in headers:
        _check_header(path, number + 1, lines[number], fields)
    return list(zip(headers, [*headers[1:], len(lines)], strict=True))


def _constants(lines: list[str]) -> dict[str, str]:
    """Return the constants, which stand in lines of their own."""
    words = [line.split() for line in lines if line.startswith("#! SET")]
    return {name: value for _, _, name, value, *_ in words}


def _whole(rows: list[str], columns: int, *, last: bool) -> list[str]:
    """Return the rows without the last of the file, if it is cut short."""
    return rows[:-1] if last and _row(rows[-1], columns) is None else rows


def _numbers(path: Path, lines: list[str], rows: list[str], columns: int) -> NDArray[np.float64]:
    """Return the rows as numbers (T, columns)."""
    try:
        values = np.loadtxt(rows, comments=None, ndmin=2)
    except ValueError:
        values = np.empty((0, 0))
    if values.shape == (len(rows), columns):
        return values
    one_by_one = [_row(row, columns) for row in rows]
    if None not in one_by_one:
        return np.array(one_by_one, dtype=np.float64)
    wrong = rows[one_by_one.index(None)]
    raise FileFormatError(
        f"{path}, line {lines.index(wrong) + 1}: expected {columns} numbers, found "
        f"'{wrong.strip()}'"
    )


def _row(line: str, columns: int) -> list[float] | None:
    words = line.split()
    if len(words) != columns:
        return None
    try:
        return [float(word) for word in words]
    except ValueError:
        return None


def _joined(
    path: Path, parts: list[NDArray[np.float64]], time: int, notes: list[str]
) -> list[NDArray[np.float64]]:
    """Return the parts without the rows that a later part repeats."""
    done: list[NDArray[np.float64]] = []
    chain: list[NDArray[np.float64]] = []  # parts of one clock
    for part in parts:
        if (np.diff(part[:, time]) <= 0).any():
            raise DataError(
                f"time goes back in {path} without a new header; give files of one run each"
            )
        start = part[0, time]
        if chain and start <= chain[0][0, time]:
            notes.append(f"the clock begins anew at {start:g}; all rows were kept")
            done, chain = done + chain, []
        rows = sum(len(before) for before in chain)
        spared = [before[before[:, time] < start - 1e-9 * abs(start)] for before in chain]
        chain = [before for before in spared if len(before)] + [part]
        replaced = rows + len(part) - sum(len(before) for before in chain)
        if replaced:
            notes.append(f"{replaced} rows from {start:g} on were replaced by a restart")
    return done + chain
