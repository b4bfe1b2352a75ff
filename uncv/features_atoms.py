"""Feature vectors of the training atoms of each element, at most so many of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uncv.data import Dataset
from uncv.errors import DataError
from uncv.features import Part, stream
from uncv.protocols import MemberOutput, Potential

FloatArray = NDArray[np.float64]
Look = Callable[[MemberOutput], Tensor]
"""From what the members say to features (F, A, D)."""


class Draw:
    """Which atoms of a dataset are taken: all, or so many of a kind at random.

    Parameters
    ----------
    most : int
        Of a kind.
    per_element : bool
        Whether the elements are kinds of their own, or all atoms are one.
    seed : int
        Of the draw.
    """

    def __init__(self, most: int, *, per_element: bool, seed: int) -> None:
        self.most = most
        self.per_element = per_element
        self.seed = seed

    def __call__(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return True (F, A) on the atoms taken, for atomic numbers (F, A), 0 on padding."""
        kinds = numbers if self.per_element else (numbers > 0).astype(np.int64)
        taken = numbers > 0
        generator = np.random.default_rng(self.seed)
        for kind in np.unique(kinds[taken]):
            places = np.flatnonzero(kinds == kind)
            if len(places) > self.most:
                left = generator.permutation(places)[self.most :]
                taken.flat[left] = False
        return taken


def atom_features(
    potential: Potential, data: Dataset, look: Look, draw: Draw, extra: str = ""
) -> list[FloatArray]:
    """Return the features (n_e, D) of atoms of each element of a potential, in its order.

    Parameters
    ----------
    potential : Potential
        What gives the features.
    data : Dataset
        Where the atoms are.
    look : callable
        From what the members say to features (F, A, D).
    draw : Draw
        Which atoms are taken.
    extra : str
        What the potential is to give for it.

    Raises
    ------
    DataError
        If there are no frames, or features are NaN or infinite.
    ElementError
        If the potential does not know an element.
    """
    taken = torch.from_numpy(draw(data.numbers))
    rows: list[list[Tensor]] = [[] for _ in potential.elements]
    for part in stream(potential, data, extra=extra):
        features = look(part.output).flatten(0, 1)
        here = taken[part.frames].flatten()
        for kept, group in zip(rows, part.groups.rows, strict=True):
            kept.append(features[group[here[group]]].to(torch.float64))
        _check_finite(rows, part)
    return [torch.cat(kept).numpy() for kept in rows]


def _check_finite(rows: list[list[Tensor]], part: Part) -> None:
    if not all(bool(torch.isfinite(kept[-1]).all()) for kept in rows):
        raise DataError(
            f"features among frames {part.frames[0]} to {part.frames[-1]} are NaN or infinite; "
            "look for atoms on top of each other, or for broken weights of the potential"
        )
