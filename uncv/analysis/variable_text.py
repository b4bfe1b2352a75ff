"""Variables as users write them: ``phi:ALA2``, ``torsion:4,6,8,14``, ``volume=800,1600``."""

from __future__ import annotations

from math import isfinite, pi

from uncv.analysis.backbone import KINDS, ResidueTorsion
from uncv.analysis.variables import Angle, Column, Distance, Torsion, Variable, Volume, limited
from uncv.errors import DataError

_FORMS = (
    "phi:ALA2 (psi, omega, chi1 to chi5), torsion:4,6,8,14, angle:4,6,8, distance:4,6, volume, u, "
    "or column:NAME; with limits as distance:4,6=1,8"
)


def parse_variable(text: str) -> Variable | ResidueTorsion:
    """Return a variable from its text.

    ``u`` is the column ``uncertainty``; atoms are counted from 0; limits come behind ``=``, in the
    unit of the variable: radians (``pi`` is known), Å, Å^3, or whatever a column has.

    Raises
    ------
    DataError
        If the text is not understood.

    Examples
    --------
    >>> parse_variable("distance:4,6=1,8")
    Distance(atoms=(4, 6), name='distance 4,6', limits=(1.0, 8.0))
    """
    body, _, ends = text.partition("=")
    kind, _, rest = body.strip().partition(":")
    kind, rest = kind.strip(), rest.strip()
    if kind in KINDS:
        if not rest or ends:
            raise _unknown(text)
        return ResidueTorsion(kind, rest)
    variable = _variable(kind, rest, text)
    return limited(variable, _limits(ends, text)) if "=" in text else variable


def _variable(kind: str, rest: str, text: str) -> Variable:
    if kind in ("torsion", "angle", "distance"):
        made = {"torsion": Torsion, "angle": Angle, "distance": Distance}[kind]
        return made(_atoms(rest, text))
    if kind == "column" and rest:
        return Column(rest)
    if kind == "volume" and not rest:
        return Volume()
    if kind == "u" and not rest:
        return Column("uncertainty", "u")
    raise _unknown(text)


def _atoms(rest: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in rest.split(","))
    except ValueError:
        raise _unknown(text) from None


def _limits(ends: str, text: str) -> tuple[float, float]:
    try:
        low, high = (_number(word) for word in ends.split(","))
    except ValueError:
        raise _unknown(text) from None
    if not (isfinite(low) and isfinite(high) and low < high):
        raise DataError(f"the limits of '{text}' are no range; expected the smaller number first")
    return low, high


def _number(word: str) -> float:
    known = {"pi": pi, "-pi": -pi}
    return known.get(word.strip(), 0.0) or float(word)


def _unknown(text: str) -> DataError:
    return DataError(f"the variable '{text}' is not understood; expected {_FORMS}")
