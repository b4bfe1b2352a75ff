"""A model's region inside a molecular-mechanics System: mechanical embedding.

The force field's terms within the region are switched off, so that the model replaces them; those
between the region and the rest stay. The idea is that of OpenMM-ML's mixed systems.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import openmm
from numpy.typing import NDArray

from uncv.errors import EngineError

UNTOUCHED = {
    "AndersenThermostat",
    "CMMotionRemover",
    "MonteCarloAnisotropicBarostat",
    "MonteCarloBarostat",
    "MonteCarloFlexibleBarostat",
    "MonteCarloMembraneBarostat",
}
PAIR_LIMIT = 2000
"""Atoms in a region; the exceptions that switch off its nonbonded terms grow with the square."""


def embed(system: openmm.System, atoms: NDArray[np.int64]) -> openmm.System:
    """Return a copy of a System without the terms and constraints within a region.

    Parameters
    ----------
    system : openmm.System
        Left as it is.
    atoms : numpy.ndarray
        Indices (A,) of the region.

    Raises
    ------
    EngineError
        If the System has a force whose terms cannot be told apart, or the region is too large.
    """
    if len(atoms) > PAIR_LIMIT:
        raise EngineError(
            f"the region has {len(atoms)} atoms; at most {PAIR_LIMIT} can be embedded"
        )
    copy = openmm.XmlSerializer.clone(system)
    region = set(atoms.tolist())
    for index in reversed(range(copy.getNumConstraints())):
        one, two, _ = copy.getConstraintParameters(index)
        if one in region and two in region:
            copy.removeConstraint(index)
    for force in copy.getForces():
        name = force.__class__.__name__
        if name in _SILENCE:
            _SILENCE[name](force, region)
        elif name not in UNTOUCHED:
            raise EngineError(
                f"{name} cannot be switched off inside the region; expected the forces of an AMBER "
                f"or CHARMM System: {', '.join(sorted(_SILENCE))}"
            )
    return copy


def _bonds(force: openmm.HarmonicBondForce, region: set[int]) -> None:
    for k in range(force.getNumBonds()):
        *atoms, length, _ = force.getBondParameters(k)
        if region.issuperset(atoms):
            force.setBondParameters(k, *atoms, length, 0.0)


def _angles(force: openmm.HarmonicAngleForce, region: set[int]) -> None:
    for k in range(force.getNumAngles()):
        *atoms, angle, _ = force.getAngleParameters(k)
        if region.issuperset(atoms):
            force.setAngleParameters(k, *atoms, angle, 0.0)


def _torsions(force: openmm.PeriodicTorsionForce, region: set[int]) -> None:
    for k in range(force.getNumTorsions()):
        *atoms, periodicity, phase, _ = force.getTorsionParameters(k)
        if region.issuperset(atoms):
            force.setTorsionParameters(k, *atoms, periodicity, phase, 0.0)


def _rb_torsions(force: openmm.RBTorsionForce, region: set[int]) -> None:
    for k in range(force.getNumTorsions()):
        atoms = force.getTorsionParameters(k)[:4]
        if region.issuperset(atoms):
            force.setTorsionParameters(k, *atoms, *[0.0] * 6)


def _maps(force: openmm.CMAPTorsionForce, region: set[int]) -> None:
    inside = [
        k for k in range(force.getNumTorsions())
        if region.issuperset(force.getTorsionParameters(k)[1:])
    ]  # fmt: skip
    if not inside:
        return
    size, _ = force.getMapParameters(0)
    flat = force.addMap(size, np.zeros(size * size))
    for k in inside:
        force.setTorsionParameters(k, flat, *force.getTorsionParameters(k)[1:])


def _nonbonded(force: openmm.NonbondedForce, region: set[int]) -> None:
    for one, two in combinations(sorted(region), 2):
        force.addException(one, two, 0.0, 1.0, 0.0, True)


def _custom_nonbonded(force: openmm.CustomNonbondedForce, region: set[int]) -> None:
    known = {frozenset(force.getExclusionParticles(k)) for k in range(force.getNumExclusions())}
    for pair in combinations(sorted(region), 2):
        if frozenset(pair) not in known:
            force.addExclusion(*pair)


_SILENCE: dict[str, Callable[..., None]] = {
    "HarmonicBondForce": _bonds,
    "HarmonicAngleForce": _angles,
    "PeriodicTorsionForce": _torsions,
    "RBTorsionForce": _rb_torsions,
    "CMAPTorsionForce": _maps,
    "NonbondedForce": _nonbonded,
    "CustomNonbondedForce": _custom_nonbonded,
}
