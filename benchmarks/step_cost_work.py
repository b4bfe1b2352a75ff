"""Operations and bytes that one step of an ANI-type ensemble cannot do without.

Networks: each weight is used once on the way up and once on the way down for each atom, a
multiplication and an addition each time. Biases and activations (some 3 % more) are left out.
Descriptor: the terms of Smith et al., Chem. Sci. 8, 3192 (2017) for each pair within the radial
cutoff and each pair of near neighbours of one atom (a triple), then the product of a cotangent with
their derivatives. Exponentials, roots, divisions and sines count as below. Bytes: weights once, and
descriptors and their cotangents written and read once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list

import uncv
from uncv.models import AniPotential, AniSettings

EXPONENTIAL, ROOT, DIVISION, SINE_COSINE = 20, 8, 8, 20
FLOAT = 4
"""Bytes of a number."""


class Work(NamedTuple):
    """What a step needs.

    Attributes
    ----------
    pairs, triples : int
        Within the cutoffs, of all walkers.
    network_operations, descriptor_operations : float
        Floating-point operations, forward and backward.
    weights, descriptor_bytes : float
        Bytes.
    """

    pairs: int
    triples: int
    network_operations: float
    descriptor_operations: float
    weights: float
    descriptor_bytes: float


def work(potential: AniPotential, frame: uncv.Dataset, walkers: int) -> Work:
    """Return what one step of W walkers at the first frame needs."""
    settings, numbers = potential.settings, frame.numbers[0]
    pairs, triples = pairs_and_triples(frame, settings)
    per_atom = weights_by_element(potential)
    counts = {z: int((numbers == z).sum()) for z in settings.elements}
    products = settings.members * sum(per_atom[z] * counts[z] for z in counts)
    stored = settings.members * sum(per_atom[z] for z in counts if counts[z])
    rows = walkers * len(numbers) * potential.aev.width
    described = pairs * pair_operations(settings) + triples * triple_operations(settings)
    return Work(
        walkers * pairs,
        walkers * triples,
        4.0 * walkers * products,
        float(walkers * described),
        float(FLOAT * stored),
        4.0 * FLOAT * rows,
    )


def weights_by_element(potential: AniPotential) -> dict[int, int]:
    """Return the number of weights of one member's network for each element, without biases."""
    found = {}
    for z, hidden in zip(potential.elements, potential.settings.hidden, strict=True):
        widths = np.array([potential.aev.width, *hidden, 1])
        found[z] = int((widths[:-1] * widths[1:]).sum())
    return found


def pairs_and_triples(frame: uncv.Dataset, settings: AniSettings) -> tuple[int, int]:
    """Return directed pairs within the radial cutoff, and pairs of near neighbours of one atom."""
    atoms = Atoms(
        frame.numbers[0], frame.positions[0], cell=frame.cell[0], pbc=frame.pbc[0].tolist()
    )
    pairs = len(neighbor_list("i", atoms, settings.aev.radial_cutoff))
    near = np.bincount(neighbor_list("i", atoms, settings.aev.angular_cutoff))
    return pairs, int((near * (near - 1) // 2).sum())


def pair_operations(settings: AniSettings) -> int:
    """Return operations of one directed pair: distance, switches, Gaussians, their slopes."""
    distance = 5 + ROOT + DIVISION + 3
    switches = 2 * (SINE_COSINE + 8)
    gaussian = EXPONENTIAL + 3 + 1 + 1  # offset, square, product with the switch; added up
    slope = 4 + 2  # slope of the product; times the cotangent, added up
    return distance + switches + len(settings.aev.radial_shifts) * (gaussian + slope) + 3


def triple_operations(settings: AniSettings) -> int:
    """Return operations of one triple: cosine, shells, sharpened angles and their slopes."""
    shells, angles = len(settings.aev.angular_shifts), len(settings.aev.angle_shifts)
    geometry = 6 + 2 + 1 + 2 + ROOT  # cosine, mean distance, switches, sine
    shell = EXPONENTIAL + 4
    power = 2 * int(np.ceil(np.log2(settings.aev.zeta)))
    angle = 5 + power + 1 + 6  # half, its power, times the switches; slope
    forward = shells * angles * 2
    backward = shells * angles * 5 + 6 * angles + 40  # sums over shells, over angles; two vectors
    return geometry + shells * shell + angles * angle + forward + backward
