"""Particles of a System: masses, walkers, and the region of the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from uncv.driver import Region
from uncv.errors import EngineError


def replicate(
    topology: app.Topology, positions: Any, walkers: int
) -> tuple[app.Topology, unit.Quantity]:
    """Return topology and positions of W copies of a molecule.

    Parameters
    ----------
    topology : openmm.app.Topology
        Of one copy.
    positions : Quantity or array_like
        (A, 3) for all, or (W, A, 3) one for each, nm.
    walkers : int
        W.
    """
    if unit.is_quantity(positions):
        positions = positions.value_in_unit(unit.nanometer)
    one = np.asarray(positions, dtype=np.float64)
    atoms = topology.getNumAtoms()
    if one.shape not in ((atoms, 3), (walkers, atoms, 3)):
        raise ValueError(
            f"positions have shape {one.shape}; expected {(atoms, 3)} or {(walkers, atoms, 3)}"
        )
    both = app.Topology()
    both.setPeriodicBoxVectors(topology.getPeriodicBoxVectors())
    for _ in range(walkers):
        copy = {}
        for chain in topology.chains():
            new_chain = both.addChain()
            for residue in chain.residues():
                new = both.addResidue(residue.name, new_chain, residue.id)
                for atom in residue.atoms():
                    copy[atom] = both.addAtom(atom.name, atom.element, new)
        for bond in topology.bonds():
            both.addBond(copy[bond[0]], copy[bond[1]])
    everything = np.broadcast_to(one, (walkers, atoms, 3)).reshape(-1, 3)
    return both, everything * unit.nanometer


def remove_center_of_mass_motion(context: openmm.Context, walkers: int) -> None:
    """Take away the momentum of each walker apart, which OpenMM's own remover cannot do."""
    state = context.getState(velocities=True)
    velocities = state.getVelocities(asNumpy=True).value_in_unit(unit.nanometer / unit.picosecond)
    system = context.getSystem()
    masses = np.array(
        [system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(len(velocities))]
    )
    mass = masses.reshape(walkers, -1, 1)
    by_walker = velocities.reshape(walkers, -1, 3)
    drift = (mass * by_walker).sum(axis=1, keepdims=True) / mass.sum(axis=1, keepdims=True)
    context.setVelocities((by_walker - drift).reshape(-1, 3))


def is_periodic(topology: app.Topology, system: openmm.System | None) -> bool:
    """Return whether the box counts: as the System says, or else the topology."""
    if system is not None:
        return bool(system.usesPeriodicBoundaryConditions())
    return topology.getPeriodicBoxVectors() is not None


def region_of(
    topology: app.Topology, atoms: Sequence[int] | None, walkers: int, periodic: bool
) -> Region:
    """Return the model's region of a topology."""
    elements = [a.element for a in topology.atoms()]
    chosen = None if atoms is None else np.asarray(atoms, dtype=np.int64)
    if chosen is not None:
        _check_atoms(chosen, len(elements))
    indices = range(len(elements)) if chosen is None else chosen
    missing = [i for i in indices if elements[i] is None]
    if missing:
        raise EngineError(
            f"atoms {missing[:5]} of the model's region have no element (virtual sites?); "
            "leave them out by atoms="
        )
    numbers = np.array([elements[i].atomic_number for i in indices], dtype=np.int64)
    return Region(numbers, len(elements) * walkers, walkers, chosen, periodic)


def _check_atoms(atoms: NDArray[np.int64], count: int) -> None:
    if atoms.ndim != 1 or len(atoms) == 0 or len(np.unique(atoms)) != len(atoms):
        raise ValueError("atoms must be a list of distinct indices, at least one")
    if atoms.min() < 0 or atoms.max() >= count:
        raise ValueError(f"atoms run to {atoms.max()} but the topology has {count} atoms")


def particles_of(
    topology: app.Topology, walkers: int, hydrogen_mass: float | None
) -> openmm.System:
    """Return a System of particles alone, all walkers, with their masses and box."""
    masses = np.array([a.element.mass.value_in_unit(unit.dalton) for a in topology.atoms()])
    if hydrogen_mass is not None:
        masses = _repartition(topology, masses, hydrogen_mass)
    system = openmm.System()
    for mass in np.tile(masses, walkers):
        system.addParticle(float(mass))
    box = topology.getPeriodicBoxVectors()
    if box is not None:
        system.setDefaultPeriodicBoxVectors(*box)
    return system


def _repartition(
    topology: app.Topology, masses: NDArray[np.float64], hydrogen_mass: float
) -> NDArray[np.float64]:
    new = masses.copy()
    for one, two in topology.bonds():
        if one.element is app.element.hydrogen:
            one, two = two, one
        if two.element is app.element.hydrogen and one.element is not app.element.hydrogen:
            new[one.index] -= hydrogen_mass - masses[two.index]
            new[two.index] = hydrogen_mass
    if not topology.getNumBonds() or (new <= 0).any():
        raise EngineError(
            f"a hydrogen mass of {hydrogen_mass} amu cannot be taken from the heavy neighbours "
            f"({topology.getNumBonds()} bonds in the topology); choose a smaller one, or call "
            "topology.createStandardBonds()"
        )
    return new
