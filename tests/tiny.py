"""Small molecules and small potentials with random weights, for tests that must be quick."""

from __future__ import annotations

import numpy as np
import torch
from ase.build import molecule
from openmm import app

from uncv.cv import UncertaintyCV
from uncv.data import Dataset, concatenate
from uncv.models import AniPotential, AniSettings
from uncv.models.aev import AevSettings
from uncv.uncertainty import EnsembleUncertainty

ELEMENTS = (1, 6, 7, 8)
AEV = AevSettings(
    radial_cutoff=3.6,
    angular_cutoff=2.8,
    radial_eta=4.0,
    angular_eta=2.0,
    radial_shifts=(0.9, 1.6, 2.4),
    angular_shifts=(0.9, 1.8),
    zeta=8.0,
    angle_shifts=(0.5, 1.6, 2.7),
)
KJ = 96.48533212331  # kJ/mol in one eV


def potential(members: int = 3, seed: int = 0, **settings) -> AniPotential:
    """Random weights in float64; the members differ."""
    values = {"elements": ELEMENTS, "hidden": ((8,),) * 4, "aev": AEV, **settings}
    made = AniPotential(AniSettings(members=members, **values)).to(torch.float64)
    generator = torch.Generator().manual_seed(seed)
    for network in made.networks:
        network.initialise(generator)
    return made.requires_grad_(False)


def same_members(members: int = 3) -> AniPotential:
    """Members that all are the first one."""
    made = potential(members)
    with torch.no_grad():
        for network in made.networks:
            network.first.weight.copy_(network.first.weight[:, :1].expand_as(network.first.weight))
            network.first.bias.zero_()
            for layer in network.rest:
                layer.weight.copy_(layer.weight[:1].expand_as(layer.weight))
    return made


def cv(of: str = "energy", reduce: str = "mean", calibrator=None, **settings) -> UncertaintyCV:
    """A collective variable of a small potential."""
    return UncertaintyCV(potential(**settings), EnsembleUncertainty(of), reduce, calibrator)


def frames(name: str = "CH3OH", count: int = 1, spread: float = 0.05, seed: int = 0) -> Dataset:
    """Structures of a g2 molecule with random displacements (Å)."""
    atoms = molecule(name)
    noise = np.random.default_rng(seed).normal(size=(count, len(atoms), 3))
    return Dataset(atoms.numbers, atoms.positions + spread * noise)


def mixed() -> Dataset:
    """Frames of three molecules, padded."""
    return concatenate([frames("CH3OH"), frames("NH3", 2, seed=1), frames("H2O", seed=2)])


def crystal(count: int = 1, seed: int = 0) -> Dataset:
    """A small triclinic cell, shorter than the cutoff along one axis, atoms outside of it too."""
    random = np.random.default_rng(seed)
    cell = np.array([[3.1, 0.0, 0.0], [0.9, 4.2, 0.0], [-0.7, 1.1, 5.0]])
    scaled = np.array([[0.05, 0.1, 0.0], [0.5, 0.45, 0.3], [0.1, 0.6, 0.65], [1.6, -0.9, 0.35]])
    noise = 0.05 * random.normal(size=(count, 4, 3))
    return Dataset([6, 8, 1, 7], scaled @ cell + noise, cell=cell)


def topology(data: Dataset, box: np.ndarray | None = None) -> app.Topology:
    """An OpenMM topology of the first frame, bonds by distance; box vectors as rows, nm."""
    made = app.Topology()
    residue = made.addResidue("MOL", made.addChain())
    atoms = [
        made.addAtom(f"A{i}", app.Element.getByAtomicNumber(int(z)), residue)
        for i, z in enumerate(data.numbers[0])
    ]
    x = data.positions[0]
    for i, one in enumerate(atoms):
        for j, two in enumerate(atoms[:i]):
            light = data.numbers[0][[i, j]].min() == 1
            if np.linalg.norm(x[i] - x[j]) < (1.25 if light else 1.75):
                made.addBond(one, two)
    if box is not None:
        from openmm import Vec3, unit

        made.setPeriodicBoxVectors([Vec3(*row) for row in box] * unit.nanometer)
    return made


def central_differences(function, x: np.ndarray, width: float = 1e-4) -> np.ndarray:
    """∂function/∂x of an array of any shape; of several values, with their axes at the end."""
    slopes = []
    for index in np.ndindex(x.shape):
        shift = np.zeros_like(x)
        shift[index] = width
        slopes.append((function(x + shift) - function(x - shift)) / (2 * width))
    return np.array(slopes).reshape(x.shape + np.shape(slopes[0]))


def rotation(seed: int = 0) -> np.ndarray:
    """A proper rotation matrix."""
    matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return matrix * np.sign(np.linalg.det(matrix))
