"""Masses and velocities that walkers begin with."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

from uncv.errors import DataError

FloatArray = NDArray[np.float64]
BOND_FACTOR = 1.7
"""Of the sum of covalent radii, within which the nearest heavy atom is that of a hydrogen: bonds
of a walker may be stretched."""


def repartitioned(atoms: Atoms, hydrogen_mass: float) -> FloatArray:
    """Return masses (A,) in amu with hydrogens heavier and the atoms they are bonded to lighter.

    Parameters
    ----------
    atoms : ase.Atoms
        The structure, images included.
    hydrogen_mass : float
        In amu.

    Raises
    ------
    DataError
        If a hydrogen has no heavy neighbour, or one would be left lighter than its hydrogens.
    """
    masses, light = atoms.get_masses(), atoms.numbers == 1
    added = hydrogen_mass - masses[light]
    first, second, length = neighbor_list("ijd", atoms, BOND_FACTOR * covalent_radii[atoms.numbers])
    order = np.lexsort((length, first))
    order = order[light[first[order]] & ~light[second[order]]]
    hydrogen, nearest = np.unique(first[order], return_index=True)
    alone = np.setdiff1d(np.flatnonzero(light), hydrogen)
    if len(alone):
        raise DataError(
            f"hydrogen {alone[0]} is bonded to no heavy atom that could give it mass; leave "
            "hydrogen_mass out"
        )
    masses[light] = hydrogen_mass
    np.subtract.at(masses, second[order][nearest], added)
    if masses.min() < hydrogen_mass and light.any():
        atom = int(np.argmin(masses))
        raise DataError(
            f"atom {atom} would keep {masses[atom]:.3g} amu beside hydrogens of {hydrogen_mass:g}; "
            "give a smaller hydrogen_mass"
        )
    return np.asarray(masses)


def thermal_momenta(
    masses: FloatArray, temperature: float, random: np.random.Generator
) -> FloatArray:
    """Return momenta (A, 3) of a temperature in K, in ASE's unit, without a net one."""
    velocities = random.normal(size=(len(masses), 3))
    velocities *= np.sqrt(units.kB * temperature / masses)[:, None]
    velocities -= masses @ velocities / masses.sum()
    return np.asarray(velocities * masses[:, None])
