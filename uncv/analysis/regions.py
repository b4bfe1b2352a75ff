"""Regions of (φ, ψ) by name, such as the two sides of alanine dipeptide."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.errors import DataError


class Region(NamedTuple):
    """A rectangle on the torus of two angles.

    Attributes
    ----------
    name : str
        As it is reported.
    phi, psi : (float, float)
        Begin (inside) and end (outside) in degrees. An end at or below the begin lies a turn
        further: (125, 0) reaches from 125 over 180 to 0, and (-180, 180) is the full circle.
    """

    name: str
    phi: tuple[float, float]
    psi: tuple[float, float] = (-180.0, 180.0)

    def contains(self, angles: ArrayLike) -> NDArray[np.bool_]:
        """Return whether each pair of angles (F, 2), in radians, lies inside (F,)."""
        degrees = np.degrees(np.asarray(angles, dtype=np.float64))
        inside = [
            (degrees[:, axis] - begin) % 360.0 < ((end - begin) % 360.0 or 360.0)
            for axis, (begin, end) in enumerate((self.phi, self.psi))
        ]
        return np.asarray(inside[0] & inside[1])

    def shrunk(self, margin: float) -> Region:
        """Return the region without a margin in degrees at each end; a full circle has no end.

        Raises
        ------
        DataError
            If nothing would be left.
        """
        ends = []
        for begin, end in (self.phi, self.psi):
            width = (end - begin) % 360.0 or 360.0
            if width == 360.0:
                ends.append((begin, end))
                continue
            if not 0.0 <= 2 * margin < width:
                raise DataError(
                    f"a margin of {margin:g} degrees leaves nothing of {self.name}, which is "
                    f"{width:g} wide; give one of 0 to below {width / 2:g}"
                )
            ends.append((begin + margin, begin + width - margin))
        return Region(self.name, ends[0], ends[1])


C7AX = Region("C7ax", (0.0, 180.0))
"""φ > 0. In vacuum alanine dipeptide has one minimum there, C7ax near (61°, −36°)."""
C7EQ = Region("C7eq", (-180.0, 0.0))
"""φ < 0: C7eq near (−79°, 54°) with C5 near (−144°, 162°), which no high barrier parts."""


def parse_region(text: str) -> Region:
    """Return a region from NAME=φ0,φ1 or NAME=φ0,φ1,ψ0,ψ1, in degrees.

    Raises
    ------
    DataError
        If the text is not of this form.

    Examples
    --------
    >>> parse_region("C7ax=0,125,-120,60")
    Region(name='C7ax', phi=(0.0, 125.0), psi=(-120.0, 60.0))
    """
    name, _, rest = text.partition("=")
    try:
        ends = [float(word) for word in rest.split(",")]
    except ValueError:
        ends = []
    if not name.strip() or len(ends) not in (2, 4) or not np.isfinite(ends).all():
        raise DataError(
            f"the region '{text}' is not understood; expected NAME=φ0,φ1 or NAME=φ0,φ1,ψ0,ψ1 in "
            "degrees, as C7ax=0,180"
        )
    return Region(name.strip(), (ends[0], ends[1]), *([(ends[2], ends[3])] if ends[2:] else []))
