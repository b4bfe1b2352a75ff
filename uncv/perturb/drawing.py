"""Frames drawn by one or several perturbations, each sound and labelled with its origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from uncv.data import Dataset
from uncv.errors import ConfigError, DataError
from uncv.perturb.geometry import Geometry

TRIES = 100
"""Draws of a frame before the perturbation is said to be too large."""


class Perturbation(Protocol):
    """Moves atoms, and the cell too if it likes; its text says by how much."""

    def displaced(self, geometry: Geometry, random: np.random.Generator) -> Geometry:
        """Return another geometry of the same atoms."""


def draw(
    data: Dataset,
    count: int,
    steps: Perturbation | Sequence[Perturbation],
    *,
    seed: int,
    min_distance_factor: float = 0.6,
) -> Dataset:
    """Return frames around the given ones, which take turns.

    Parameters
    ----------
    data : Dataset
        Start structures, as a rule one.
    count : int
        Frames to make. Frame k depends on the seed and k alone, not on how many follow.
    steps : Perturbation or sequence of it
        `Rattle`, `Strain`, `SineWave`, `NormalModes`; several act one after the other.
    seed : int
        Seed of the random numbers.
    min_distance_factor : float
        A frame with two atoms, images included, closer than this fraction of the sum of their
        covalent radii is drawn again.

    Returns
    -------
    Dataset
        Without labels; columns ``perturbation`` (in words), ``parent`` (frame of ``data``) and
        ``seed``, beside those of the parent.

    Raises
    ------
    DataError
        If there is nothing to start from, the atoms come too close every time, or a perturbation
        does not fit the structure.
    """
    if count < 0 or not min_distance_factor >= 0:
        raise ConfigError(
            f"count is {count} and min_distance_factor {min_distance_factor}; expected neither "
            "below zero"
        )
    if len(data) == 0:
        raise DataError("there is no structure to perturb; give at least one frame")
    chain = list(steps) if isinstance(steps, Sequence) else [steps]
    if not chain:
        raise ConfigError("there is no perturbation; give at least one, such as Rattle(0.05)")
    parents = np.arange(count) % len(data)
    made = data[parents].without_labels()
    positions, cell = made.positions.copy(), made.cell.copy()
    for frame, parent in enumerate(parents):
        drawn = _sound(data, int(parent), chain, (seed, frame), min_distance_factor)
        positions[frame, made.mask[frame]], cell[frame] = drawn.positions, drawn.cell
    text = ", ".join(map(str, chain))
    return replace(made, positions=positions, cell=cell).with_info(
        perturbation=np.full(count, text), parent=parents, seed=np.full(count, seed)
    )


def _sound(
    data: Dataset, parent: int, chain: list[Perturbation], seed: tuple[int, int], factor: float
) -> Geometry:
    """Return the first draw in which no two atoms are too close."""
    random = np.random.default_rng(seed)
    real = data.mask[parent]
    start = Geometry(data.positions[parent][real], data.cell[parent], data.pbc[parent])
    for _ in range(TRIES):
        drawn = start
        for step in chain:
            drawn = step.displaced(drawn, random)
        if factor == 0 or not _too_close(data.numbers[parent][real], drawn, factor):
            return drawn
    raise DataError(
        f"{TRIES} draws of '{', '.join(map(str, chain))}' from frame {parent} all left two atoms "
        f"closer than {factor:g} times the sum of their covalent radii; use smaller ones"
    )


def _too_close(numbers: np.ndarray, geometry: Geometry, factor: float) -> bool:
    from ase import Atoms
    from ase.data import covalent_radii
    from ase.neighborlist import neighbor_list

    atoms = Atoms(numbers, geometry.positions, cell=geometry.cell, pbc=geometry.pbc)
    return len(neighbor_list("i", atoms, factor * covalent_radii[numbers])) > 0
