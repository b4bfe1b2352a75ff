"""Structures and potentials of `step_cost.py`, all made by rule and seed.

Alanine dipeptide (22 atoms), the cell of MIL-53(Al) (76, where the data are there), and periodic
boxes of as many methanol as ammonia molecules on a lattice at the density of the two liquids:
10 atoms of all elements of ANI-1x a pair, so that any round number of atoms is the same substance.
"""

from __future__ import annotations

import os
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import torch
from ase.build import molecule
from ase.cell import Cell
from openmm import app

import uncv
from uncv.models import AniPotential, AniSettings
from uncv.structures import alanine_dipeptide
from uncv.uncertainty import UncertaintyBase

DATA = Path(os.environ.get("UNCV_DATA", Path(__file__).parents[2] / "shared" / "data"))
MIL53 = DATA / "mil53al" / "structures" / "mil53al_lp_76.xyz"
LATTICES = {40: (2, 2, 2), 200: (5, 4, 2), 500: (5, 5, 4), 1000: (8, 5, 5), 2000: (10, 8, 5)}
"""Molecules along the edges of a box, by its number of atoms."""
SPACING = 3.79
"""In Å: a molecule of each kind takes 67.3 + 41.6 Å^3 (0.79 and 0.68 g/cm^3)."""
HIDDEN = {1: (160, 128, 96), 6: (144, 112, 96), 7: (128, 112, 96), 8: (128, 112, 96)}
"""Hidden layers of ANI-1x; other elements get those of carbon."""


@cache
def structure(atoms: int) -> uncv.Dataset:
    """Return one frame of 22, 76, 200, 500, 1000 or 2000 atoms, or of the tiny box of 40."""
    if atoms == 22:
        return alanine_dipeptide()[1]
    if atoms == 76:
        return upright(uncv.read(MIL53))
    return liquid(LATTICES[atoms])


def upright(frame: uncv.Dataset) -> uncv.Dataset:
    """Return a crystal turned so that its cell vectors point as OpenMM wants them."""
    cell = Cell(frame.cell[0])
    turned = cell.standard_form()[0].array
    return uncv.Dataset(
        frame.numbers[0], cell.scaled_positions(frame.positions[0])[None] @ turned,
        cell=turned, pbc=[True] * 3,
    )  # fmt: skip


def liquid(lattice: tuple[int, int, int]) -> uncv.Dataset:
    """Return methanol and ammonia by turns on a lattice, turned so that they keep apart."""
    random = np.random.default_rng(0)
    box = SPACING * np.array(lattice)
    kinds = [molecule("CH3OH"), molecule("NH3")]
    numbers, placed = np.zeros(0, dtype=int), np.zeros((0, 3))
    for turn, site in enumerate(product(*(range(n) for n in lattice))):
        kind = kinds[turn % 2]
        shape = kind.positions - kind.positions.mean(axis=0)
        choices = [shape @ _rotation(random).T + SPACING * np.array(site) for _ in range(30)]
        best = max(choices, key=lambda x: _closest(x, placed, box))
        numbers, placed = np.concatenate([numbers, kind.numbers]), np.concatenate([placed, best])
    return uncv.Dataset(numbers, placed[None], cell=np.diag(box), pbc=[True] * 3)


def topology(frame: uncv.Dataset) -> app.Topology:
    """Return what OpenMM needs to know of a frame; bonds play no part."""
    if len(frame.numbers[0]) == 22:
        return alanine_dipeptide()[0]
    made = app.Topology()
    residue = made.addResidue("ALL", made.addChain())
    for i, z in enumerate(frame.numbers[0]):
        made.addAtom(f"A{i}", app.Element.getByAtomicNumber(int(z)), residue)
    if frame.pbc.all():
        made.setPeriodicBoxVectors(frame.cell[0] * 0.1)
    return made


@cache
def ani1x() -> AniPotential:
    """Return the eight members of ANI-1x."""
    return uncv.load_potential("ani1x")


@cache
def drawn(
    elements: tuple[int, ...], members: int, head: str = "", activation: str = "celu"
) -> AniPotential:
    """Return a potential of the sizes of ANI-1x with drawn weights, on which no cost depends."""
    hidden = tuple(HIDDEN.get(z, HIDDEN[6]) for z in elements)
    made = AniPotential(
        AniSettings(elements, members, hidden, activation=activation, scale=0.001, head=head)
    )
    generator = torch.Generator().manual_seed(0)
    for network in made.networks:
        network.initialise(generator)
    return made.requires_grad_(False)


def fitted(
    uncertainty: UncertaintyBase, potential: AniPotential, frame: uncv.Dataset
) -> uncv.UncertaintyCV:
    """Return the collective variable, fitted to displaced copies of the frame."""
    noise = 0.08 * np.random.default_rng(1).normal(size=(60, *frame.positions.shape[1:]))
    train = uncv.Dataset(
        frame.numbers[0], frame.positions + noise, cell=frame.cell[0], pbc=frame.pbc[0]
    )
    return uncv.UncertaintyCV(potential, uncertainty.fit(potential, train))


def ensemble(potential: AniPotential, of: str = "energy") -> uncv.UncertaintyCV:
    """Return the spread of an ensemble as collective variable."""
    return uncv.UncertaintyCV(potential, uncv.EnsembleUncertainty(of=of))


class EnergyAlone(uncv.EnsembleUncertainty):
    """No uncertainty: what plain dynamics costs, also of one member."""

    per_atom = False

    def __init__(self) -> None:
        super().__init__("energy")

    def check(self, potential: object) -> None:
        """Take any potential."""

    def forward(self, output: object, groups: object) -> torch.Tensor:
        """Return the energy, so that nothing else is computed."""
        return output.energies[0]


def _rotation(random: np.random.Generator) -> np.ndarray:
    matrix, _ = np.linalg.qr(random.normal(size=(3, 3)))
    return matrix * np.sign(np.linalg.det(matrix))


def _closest(atoms: np.ndarray, placed: np.ndarray, box: np.ndarray) -> float:
    """Return the shortest distance between atoms and placed ones, images included."""
    if len(placed) == 0:
        return np.inf
    apart = atoms[:, None] - placed[None]
    apart -= box * np.round(apart / box)
    return float(np.sqrt((apart**2).sum(axis=2).min()))
