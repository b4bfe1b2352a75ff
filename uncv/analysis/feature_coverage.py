"""Feature-space coverage: which atomic environments of a reference a run has come near to."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from uncv.data import Dataset
from uncv.errors import DataError
from uncv.protocols import Potential

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
QUANTILE = 0.95
"""Share of the reference's environments that have another frame's within the default distance."""
_ATOMS = 2000
_ROWS = 512
_FLOOR = 0.01
"""Least spread of a feature, as a share of the largest."""


class Environments(NamedTuple):
    """Atomic environments of one element.

    Attributes
    ----------
    element : int
        Atomic number.
    features : numpy.ndarray
        Of each atom (n, D).
    frame : numpy.ndarray
        In which frame each atom is (n,).
    """

    element: int
    features: FloatArray
    frame: IntArray


class ElementCoverage(NamedTuple):
    """How much of one element's environments a run has come near to.

    Attributes
    ----------
    element : int
        Atomic number.
    share : float
        Of the reference's environments with a visited one within the distance.
    distance : float
        In units of the reference's spread, per root feature; see `environment_coverage`.
    reference, visited : int
        Environments of each.
    """

    element: int
    share: float
    distance: float
    reference: int
    visited: int


def environments(
    potential: Potential, data: Dataset, *, most: int = 5000, seed: int = 0
) -> tuple[Environments, ...]:
    """Return the features of the atoms of each element, by a potential's invariant descriptors.

    Parameters
    ----------
    potential : Potential
        What gives the features; compare those of one potential only.
    data : Dataset
        Where the atoms are.
    most : int
        Atoms of an element; more are drawn from at random. Runs are compared fairly at equal
        numbers of frames.
    seed : int
        Of the draw.

    Raises
    ------
    DataError
        If there are no frames, or features are NaN or infinite.
    ElementError
        If the potential does not know an element.
    """
    if len(data) == 0:
        raise DataError("there are no frames to take environments of; give at least one")
    chosen = [_places(data, element, most, seed) for element in data.elements]
    found: list[list[FloatArray]] = [[] for _ in chosen]
    size = max(1, _ATOMS // data.positions.shape[1])
    for begin in range(0, len(data), size):
        with torch.no_grad():
            features = potential(data[begin : begin + size].to_batch()).features
        rows = features.to(torch.float64).numpy()
        if not np.isfinite(rows).all():
            raise DataError(
                f"features among frames {begin} to {begin + len(rows) - 1} are NaN or infinite; "
                "look for atoms on top of each other"
            )
        for kept, (frames, atoms) in zip(found, chosen, strict=True):
            here = (frames >= begin) & (frames < begin + len(rows))
            kept.append(rows[frames[here] - begin, atoms[here]])
    return tuple(
        Environments(element, np.concatenate(kept), frames)
        for element, kept, (frames, _) in zip(data.elements, found, chosen, strict=True)
    )


def environment_coverage(
    visited: tuple[Environments, ...],
    reference: tuple[Environments, ...],
    distance: float | None = None,
) -> tuple[ElementCoverage, ...]:
    """Return the share of a reference's environments that a run has come near to, by element.

    Features are divided by their standard deviation in the reference (by a hundredth of the largest
    at least), and a distance is a root mean square over the features. By default an environment
    counts as near within the distance inside of which 95 % of the reference's environments have one
    of another frame of the reference: a run of the same ensemble with as many frames then covers
    about 95 %.

    Parameters
    ----------
    visited, reference : tuple of Environments
        Of the run and of the reference, by `environments` of one potential.
    distance : float, optional
        In place of the default.

    Raises
    ------
    DataError
        If features have different lengths, the distance is not positive, or the reference has one
        frame only and no distance is given.
    """
    if distance is not None and not distance > 0.0:
        raise DataError(f"the distance is {distance:g}; expected one above 0")
    by_element = {one.element: one for one in visited}
    return tuple(_element(by_element.get(one.element), one, distance) for one in reference)


def _element(
    visited: Environments | None, reference: Environments, distance: float | None
) -> ElementCoverage:
    spread = reference.features.std(axis=0)
    largest = float(spread.max()) or 1.0
    scale = np.maximum(spread, _FLOOR * largest) * np.sqrt(reference.features.shape[1])
    there = reference.features / scale
    near = _default_distance(there, reference.frame) if distance is None else distance
    if visited is None or len(visited.features) == 0:
        return ElementCoverage(reference.element, 0.0, near, len(there), 0)
    if visited.features.shape[1] != there.shape[1]:
        raise DataError(
            f"features have {visited.features.shape[1]} and {there.shape[1]} entries; take both "
            "from one potential"
        )
    shortest = nearest(there, visited.features / scale)
    share = float((shortest <= near).mean())
    return ElementCoverage(reference.element, share, near, len(there), len(visited.features))


def _default_distance(features: FloatArray, frame: IntArray) -> float:
    if len(np.unique(frame)) < 2:
        raise DataError(
            "the reference has one frame only, which tells no distance; give more, or a distance"
        )
    return float(np.quantile(nearest(features, features, frame, frame), QUANTILE))


def nearest(
    points: FloatArray,
    others: FloatArray,
    frame: IntArray | None = None,
    other_frame: IntArray | None = None,
) -> FloatArray:
    """Return the distance from each point (n, D) to the nearest of the others (m, D).

    With the frames of both, only others of another frame count.
    """
    middle = others.mean(axis=0)
    points, others = points - middle, others - middle
    length = (others**2).sum(axis=1)
    found = np.empty(len(points))
    for begin in range(0, len(points), _ROWS):
        here = slice(begin, begin + _ROWS)
        squared = length - 2 * points[here] @ others.T
        if frame is not None and other_frame is not None:
            squared[frame[here][:, None] == other_frame] = np.inf
        best = squared.argmin(axis=1)
        found[here] = np.linalg.norm(points[here] - others[best], axis=1)
    return found


def _places(data: Dataset, element: int, most: int, seed: int) -> tuple[IntArray, IntArray]:
    """Return frames and places of atoms of an element, at most so many."""
    frames, atoms = np.nonzero(data.numbers == element)
    if len(frames) > most:
        drawn = np.random.default_rng(seed).choice(len(frames), most, replace=False)
        drawn.sort()
        frames, atoms = frames[drawn], atoms[drawn]
    return frames, atoms
