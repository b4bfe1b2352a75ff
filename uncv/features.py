"""What a potential says of a dataset, in parts small enough for memory: the input of every fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from uncv.data import Dataset
from uncv.errors import DataError
from uncv.groups import AtomGroups, group_atoms
from uncv.protocols import MemberOutput, Potential

CHUNK_ATOMS = 2000
"""Atoms evaluated at once."""


class Part(NamedTuple):
    """What the members say of some frames, without gradients.

    Attributes
    ----------
    output : MemberOutput
        What they say.
    groups : AtomGroups
        Which atoms belong to which element of the potential.
    frames : numpy.ndarray
        Which frames of the dataset (F,).
    """

    output: MemberOutput
    groups: AtomGroups
    frames: np.ndarray


def stream(potential: Potential, data: Dataset, extra: str = "") -> Iterator[Part]:
    """Evaluate a dataset part by part, without gradients.

    Parameters
    ----------
    potential : Potential
        What to evaluate.
    data : Dataset
        Frames of any number and size.
    extra : str
        What is wanted beside energies and features: one of `uncv.protocols.EXTRAS` other than
        the members' forces, which need gradients.

    Raises
    ------
    DataError
        If there are no frames.
    ElementError
        If the potential does not know an element.
    """
    if len(data) == 0:
        raise DataError("there are no frames to fit to; give the training data of the potential")
    size = max(1, CHUNK_ATOMS // max(1, data.positions.shape[1]))
    for begin in range(0, len(data), size):
        frames = np.arange(begin, min(begin + size, len(data)))
        batch = data[frames].to_batch()
        with torch.no_grad():
            output = potential(batch, extra=extra)
        yield Part(output, group_atoms(batch.numbers, potential.elements), frames)
