"""Samples of COLVAR files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from uncv.analysis.colvar import ColvarTable
from uncv.analysis.samples import Samples, uneven
from uncv.analysis.space import Axis
from uncv.analysis.variable_axes import FoundAxes, axes_of
from uncv.analysis.variables import Column
from uncv.errors import DataError
from uncv.units import FS_IN_PS

FloatArray = NDArray[np.float64]


def samples_of_colvar(
    tables: Sequence[ColvarTable],
    columns: Sequence[str] = ("phi", "psi"),
    *,
    variables: Sequence[Column] | None = None,
    bias: Sequence[str] = (),
    bias_unit: float = 1.0,
    own_bias: bool = True,
) -> Samples:
    """Return what COLVAR files tell; each is a walker.

    Parameters
    ----------
    tables : sequence of ColvarTable
        One for each walker.
    columns : sequence of str
        The angles, in radians as PLUMED prints torsions.
    variables : sequence of Column, optional
        Any columns, in place of angles; one is periodic if the file says so (``#! SET min_…``) and
        no limits are given.
    bias : sequence of str
        Columns whose sum is the bias to be undone; none takes the rows as they are.
    bias_unit : float
        The energy unit of these columns in eV.
    own_bias : bool
        See `Samples`.

    Raises
    ------
    DataError
        If a column is absent, holds NaN, or is no angle, or rows of different files are different
        times apart.
    """
    if not tables:
        raise DataError("there is no COLVAR file; give at least one")
    if variables is None:
        parts = [np.stack([_angle(table, name) for name in columns], axis=1) for table in tables]
        axes: FoundAxes = FoundAxes(tuple(Axis(name) for name in columns), ())
    else:
        names = [variable.column for variable in variables]
        parts = [np.stack([table.column(name) for name in names], axis=1) for table in tables]
        axes = _column_axes(tables[0], variables, np.concatenate(parts))
    walker = np.repeat(np.arange(len(tables)), [len(part) for part in parts])
    interval = _interval(tables)
    notes = tuple(f"{table.file}: {note}" for table in tables for note in table.notes)
    notes += uneven(walker)
    total = None
    if bias:
        sums = [np.sum([table.column(name) for name in bias], axis=0) for table in tables]
        total = np.concatenate(sums) * bias_unit
    else:
        present = sorted({f for table in tables for f in table.fields if f.endswith("bias")})
        if present:
            notes += (f"the columns {', '.join(present)} were not undone; name them to reweight",)
    own = own_bias and total is not None
    return Samples(np.concatenate(parts), walker, total, own, notes, *axes, interval_fs=interval)


def _column_axes(table: ColvarTable, variables: Sequence[Column], values: FloatArray) -> FoundAxes:
    axes, open_axes = axes_of(variables, values)
    made = list(axes)
    for number in open_axes:
        name = variables[number].column
        low, high = table.constants.get(f"min_{name}"), table.constants.get(f"max_{name}")
        if low is not None and high is not None:
            ends = _end(low), _end(high)
            turn = ends == (-np.pi, np.pi)
            made[number] = Axis(variables[number].name, *ends, unit="rad" if turn else "")
    still_open = tuple(number for number in open_axes if not made[number].periodic)
    return FoundAxes(tuple(made), still_open)


def _end(text: str) -> float:
    """Return an end of a domain as PLUMED writes it: a number, or a multiple of pi."""
    sign, body = (-1.0, text[1:]) if text.startswith("-") else (1.0, text)
    if body.endswith("pi"):
        factor = body.removesuffix("pi").rstrip("*")
        return sign * float(factor or 1.0) * np.pi
    return sign * float(body)


def _angle(table: ColvarTable, name: str) -> FloatArray:
    values = table.column(name)
    low, high = table.constants.get(f"min_{name}", "-pi"), table.constants.get(f"max_{name}", "pi")
    if (low, high) != ("-pi", "pi") or np.abs(values).max() > np.pi + 1e-4:
        raise DataError(
            f"column '{name}' of {table.file} is no torsion in radians: its domain is {low} to "
            f"{high} and its values lie between {values.min():.4g} and {values.max():.4g}; name "
            "the columns of two torsions"
        )
    return values


def _interval(tables: Sequence[ColvarTable]) -> float | None:
    """Return the time between rows in fs; in all files, or rows would not stand for equal times."""
    steps = {}
    for table in tables:
        if "time" in table.fields and len(table.values) > 1:
            steps[table.file] = float(np.median(np.diff(table.column("time"))))
    if steps and max(steps.values()) > 1.01 * min(steps.values()):
        told = ", ".join(f"{file}: {step:g}" for file, step in steps.items())
        raise DataError(f"rows are different times apart ({told}); print with one STRIDE")
    found = next(iter(steps.values()), 0.0)
    return found / FS_IN_PS if found > 0.0 else None
