"""Which frames are the same as others, whatever the order of like atoms and their orientation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uncv.data import Dataset
from uncv.features import stream
from uncv.protocols import Potential

IntArray = NDArray[np.int64]


def distinct(potential: Potential, frames: Dataset, known: Dataset, tolerance: float) -> IntArray:
    """Return the frames that are no duplicate of a known one or of an earlier frame.

    Two frames are the same if each atom of either has in the other an atom of its element whose
    invariant features differ by no more than the tolerance, relative to the root mean square
    length of the features of the frame's atoms. This holds for rotated, shifted and permuted
    copies, and for mirror images, which such features do not tell apart. One different atom
    suffices for another frame, however large the two are; how often an environment occurs does not
    matter.

    Parameters
    ----------
    potential : Potential
        Gives the features.
    frames, known : Dataset
        Frames in order of preference, and those that none may be the same as.
    tolerance : float
        Relative; 0 takes exact copies alone for the same.

    Returns
    -------
    numpy.ndarray
        Indices of the distinct frames, ascending.
    """
    if len(frames) == 0:
        return np.zeros(0, dtype=np.int64)
    features, numbers = _features(potential, frames)
    kept: list[int] = []
    taken = [_features(potential, known)] if len(known) else []
    for index in range(len(frames)):
        others = [(features[kept], numbers[kept]), *taken]
        frame = _Frame.of(features[index], numbers[index], tolerance)
        if not any(frame.is_among(*other) for other in others):
            kept.append(index)
    return np.array(kept, dtype=np.int64)


def _features(potential: Potential, frames: Dataset) -> tuple[Tensor, Tensor]:
    """Return features (F, A, D) and atomic numbers (F, A)."""
    parts = [part.output.features.to(torch.float64) for part in stream(potential, frames)]
    return torch.cat(parts), torch.from_numpy(frames.numbers)


class _Frame(NamedTuple):
    """The features (A, D) and atomic numbers (A,) of one frame, and how near the same ones are."""

    features: Tensor
    numbers: Tensor
    limit: Tensor

    @classmethod
    def of(cls, features: Tensor, numbers: Tensor, tolerance: float) -> _Frame:
        """Return a frame without its padding."""
        real = numbers > 0
        length = features[real].square().sum(dim=1).mean().sqrt()
        return cls(features[real], numbers[real], tolerance * length)

    def is_among(self, others: Tensor, numbers: Tensor) -> bool:
        """Return whether one of other frames (O, B, D) is the same.

        Others are given up with the first atom that has no counterpart in them.
        """
        atoms = len(self.numbers)
        alike = (numbers > 0).sum(dim=1) == atoms
        others, numbers = others[alike, :atoms], numbers[alike, :atoms]
        for feature, number in zip(self.features, self.numbers, strict=True):
            apart = torch.linalg.vector_norm(others - feature, dim=2)
            near = apart.masked_fill(numbers != number, torch.inf).amin(dim=1) <= self.limit
            others, numbers = others[near], numbers[near]
            if not len(others):
                return False
        back = (others.unsqueeze(2) - self.features).square().sum(dim=3).sqrt()  # (O, B, A)
        back = back.masked_fill(numbers.unsqueeze(2) != self.numbers, torch.inf)
        return bool((back.amin(dim=2).amax(dim=1) <= self.limit).any())
