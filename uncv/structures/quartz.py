"""α-quartz: the crystal of silica that is stable at room temperature.

Structure: Levien, Prewitt and Weidner, Am. Mineral. 65, 920 (1980), space group P3221.
"""

from __future__ import annotations

import itertools

import numpy as np

from uncv.data import Dataset
from uncv.errors import ConfigError


def alpha_quartz(repeat: tuple[int, int, int] = (1, 1, 1)) -> Dataset:
    """Return α-quartz as measured at room temperature, silicon first.

    Parameters
    ----------
    repeat : tuple of int
        Copies of the cell of 9 atoms along its vectors; (2, 2, 2) has 72 atoms.

    Returns
    -------
    Dataset
        One periodic frame without labels.

    Raises
    ------
    ConfigError
        If a number of copies is not positive.
    """
    if min(repeat) < 1:
        raise ConfigError(f"repeat is {repeat}; give three positive numbers of copies")
    u, x, y, z = 0.4697, 0.4135, 0.2669, 0.1191
    silicon = [(u, 0, 0), (0, u, 2 / 3), (-u, -u, 1 / 3)]
    oxygen = [(x, y, z), (-y, x - y, z + 2 / 3), (y - x, -x, z + 1 / 3),
              (x - y, -y, -z), (y, x, 2 / 3 - z), (-x, y - x, 1 / 3 - z)]  # fmt: skip
    a, c = 4.916, 5.4054
    cell = np.array([[a, 0, 0], [-a / 2, a * np.sqrt(0.75), 0], [0, 0, c]])
    atoms = np.mod(np.array(silicon + oxygen), 1.0)
    shifts = np.array(list(itertools.product(*map(range, repeat))))
    positions = ((atoms[:, None] + shifts) @ cell).reshape(1, -1, 3)
    numbers = np.repeat([14] * 3 + [8] * 6, len(shifts))
    return Dataset(numbers, positions, cell=cell * np.array(repeat)[:, None])
