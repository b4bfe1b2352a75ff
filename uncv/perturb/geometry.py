"""What a perturbation takes and gives."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


class Geometry(NamedTuple):
    """One structure without its elements.

    Attributes
    ----------
    positions : numpy.ndarray
        (A, 3), Å.
    cell : numpy.ndarray
        Cell vectors as rows (3, 3), Å; zero without one.
    pbc : numpy.ndarray
        Periodic directions (3,).
    """

    positions: FloatArray
    cell: FloatArray
    pbc: NDArray[np.bool_]
