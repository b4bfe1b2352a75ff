"""Pairs of atoms in a cell, images included, without a matrix of all pairs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class ImagePairs(NamedTuple):
    """Pairs (P,) of an atom and an image of a later one, or of itself, by pair and distance.

    Attributes
    ----------
    first, second : numpy.ndarray
        Atoms, first ≤ second. An image of the atom itself is there twice, once on either side.
    distance : numpy.ndarray
        In Å, ascending within a pair of atoms.
    rank : numpy.ndarray
        0 for the nearest image of a pair, 1 for the next, and so on.
    """

    first: IntArray
    second: IntArray
    distance: FloatArray
    rank: IntArray

    def chosen(self, which: NDArray[np.bool_]) -> ImagePairs:
        """Return some of the pairs (P,)."""
        return ImagePairs(
            self.first[which], self.second[which], self.distance[which], self.rank[which]
        )


def image_pairs(
    positions: FloatArray, cell: FloatArray, pbc: NDArray[np.bool_], radius: float
) -> ImagePairs:
    """Return every pair closer than a radius, in a cell of any shape and size.

    Parameters
    ----------
    positions : numpy.ndarray
        (A, 3) in Å, finite; atoms may lie outside the cell.
    cell : numpy.ndarray
        Cell vectors as rows (3, 3) in Å.
    pbc : numpy.ndarray
        Periodic directions (3,).
    radius : float
        In Å.
    """
    from scipy.spatial import cKDTree

    filled = np.where(pbc[:, None], cell, np.eye(3))
    inverse = np.linalg.inv(filled)
    scaled = positions @ inverse
    scaled -= np.where(pbc, np.floor(scaled), 0.0)
    reach = np.where(pbc, radius * np.linalg.norm(inverse, axis=0), 0.0)
    images, atom = _images(scaled, reach)
    home, every = cKDTree(scaled @ filled), cKDTree(images @ filled)
    found = home.sparse_distance_matrix(every, radius, output_type="ndarray")
    # The atoms themselves are the first images.
    one, two, distance = found["i"].astype(np.int64), atom[found["j"]], found["v"]
    kept = (one < two) | ((one == two) & (found["j"] != one))
    return _ranked(one[kept], two[kept], distance[kept], len(positions))


def _images(scaled: FloatArray, reach: FloatArray) -> tuple[FloatArray, IntArray]:
    """Return scaled positions (I, 3) of the atoms and then their images in reach, and whose."""
    points, atom = scaled, np.arange(len(scaled))
    for axis in range(3):
        more, whose = [points], [atom]
        for shift in range(1, int(np.ceil(reach[axis])) + 1):
            for sign in (-1, 1):
                place = points[:, axis] + sign * shift
                near = (place >= -reach[axis]) & (place <= 1.0 + reach[axis])
                image = points[near].copy()
                image[:, axis] = place[near]
                more.append(image)
                whose.append(atom[near])
        points, atom = np.concatenate(more), np.concatenate(whose)
    return points, atom


def _ranked(first: IntArray, second: IntArray, distance: FloatArray, atoms: int) -> ImagePairs:
    key = first * atoms + second
    order = np.lexsort((distance, key))
    key = key[order]
    new = np.ones(len(key), dtype=bool)
    new[1:] = key[1:] != key[:-1]
    begin = np.flatnonzero(new)
    rank = np.arange(len(key)) - np.repeat(begin, np.diff(np.append(begin, len(key))))
    return ImagePairs(first[order], second[order], distance[order], rank)
