"""A crystal as atoms on springs: forces from displacements and force constants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.data import Dataset
from uncv.errors import DataError

FloatArray = NDArray[np.float64]
SAME_CELL = 1e-4
"""Å by which the cell of a frame may differ from the reference."""
NEAR = 0.2
"""Å by which a place of the same crystal in another file may differ."""


@dataclass(frozen=True, eq=False)
class HarmonicModel:
    """Forces −Σ_J Φ_IJ ΔR_J around reference positions, at a fixed cell.

    Parameters
    ----------
    positions : array_like
        Reference positions (A, 3), Å, where the forces are zero.
    cell : array_like
        Cell vectors as rows (3, 3), Å; zero in directions that are not periodic.
    force_constants : array_like
        Second derivatives of the energy Φ (A, A, 3, 3), eV/Å^2, of all atoms of the cell.

    Raises
    ------
    DataError
        If shapes do not fit together, a value is not finite, or Φ is not symmetric.

    Examples
    --------
    >>> spring = 2.0 * np.array([[1.0, -1.0], [-1.0, 1.0]])[:, :, None, None] * np.eye(3)
    >>> pair = HarmonicModel([[0, 0, 0], [2, 0, 0]], np.diag([5.0, 5.0, 5.0]), spring)
    >>> pair.forces([[[0, 0, 0], [2.1, 0, 0]]])[0, :, 0].round(6).tolist()
    [0.2, -0.2]
    """

    positions: FloatArray
    cell: FloatArray
    force_constants: FloatArray

    def __post_init__(self) -> None:
        for name in ("positions", "cell", "force_constants"):
            value = np.array(getattr(self, name), dtype=np.float64)
            if not np.isfinite(value).all():
                raise DataError(f"{name} of the harmonic model hold NaN or infinite values")
            object.__setattr__(self, name, value)
        atoms = len(self.positions)
        shapes = self.positions.shape, self.cell.shape, self.force_constants.shape
        expected = (atoms, 3), (3, 3), (atoms, atoms, 3, 3)
        if shapes != expected:
            raise DataError(
                f"positions, cell and force constants have shapes {shapes}; expected {expected}: "
                "force constants of all atoms of the cell, not of a primitive one"
            )
        other = self.force_constants.transpose(1, 0, 3, 2)
        largest = np.abs(self.force_constants).max(initial=0.0)
        if np.abs(self.force_constants - other).max(initial=0.0) > 1e-2 * largest:
            raise DataError(
                "the force constants are not symmetric (Φ_IJ is not the transpose of Φ_JI to 1 % "
                "of the largest); is the order of the atoms that of the positions?"
            )

    def displacements(self, frames: Dataset | ArrayLike) -> FloatArray:
        """Return how far the atoms are from the reference (F, A, 3), Å, by the nearest image.

        The nearest image is that of an atom's place relative to the first atom, so a crystal that
        drifts as a whole stays together.

        Parameters
        ----------
        frames : Dataset or array_like
            Positions (F, A, 3) in Å.

        Raises
        ------
        DataError
            If a frame has another number of atoms or another cell.
        """
        from ase.geometry import find_mic

        positions = self._checked(frames)
        moved = positions - self.positions
        first = moved[:, :1]
        vectors = np.concatenate([first, moved[:, 1:] - first], axis=1)
        periodic = np.abs(self.cell).sum(axis=1) > 0
        nearest, _ = find_mic(vectors.reshape(-1, 3), self.cell, periodic)
        found = nearest.reshape(positions.shape)
        found[:, 1:] += found[:, :1]
        return found

    def forces(self, frames: Dataset | ArrayLike) -> FloatArray:
        """Return the harmonic forces (F, A, 3), eV/Å, of frames as in `displacements`."""
        moved = self.displacements(frames)
        atoms = len(self.positions)
        matrix = self.force_constants.transpose(0, 2, 1, 3).reshape(3 * atoms, 3 * atoms)
        return -(moved.reshape(-1, 3 * atoms) @ matrix.T).reshape(moved.shape)

    def in_order_of(self, reference: Dataset) -> HarmonicModel:
        """Return the same model with its atoms in the order of a frame of the same crystal.

        Parameters
        ----------
        reference : Dataset
            One frame, its atoms within `NEAR` of their places here.

        Raises
        ------
        DataError
            If the cell differs, or an atom is not where one of this model is.
        """
        from ase.geometry import find_mic

        positions = self._checked(reference)
        if len(positions) != 1:
            raise DataError(f"the reference has {len(positions)} frames; expected one")
        atoms = len(self.positions)
        vectors = (positions[0][:, None] - self.positions).reshape(-1, 3)
        lengths = find_mic(vectors, self.cell, np.abs(self.cell).sum(axis=1) > 0)[1]
        distances = lengths.reshape(atoms, atoms)
        order = distances.argmin(axis=1)
        if len(np.unique(order)) < atoms or distances.min(axis=1).max() > NEAR:
            raise DataError(
                f"an atom of the reference is {distances.min(axis=1).max():.3g} Å from the next "
                "place of the harmonic model; take the crystal the force constants were made for"
            )
        constants = self.force_constants[np.ix_(order, order)]
        return HarmonicModel(self.positions[order], self.cell, constants)

    def _checked(self, frames: Dataset | ArrayLike) -> FloatArray:
        if isinstance(frames, Dataset):
            apart = np.abs(frames.cell - self.cell).max(initial=0.0)
            if apart > SAME_CELL:
                raise DataError(
                    f"a frame's cell differs from that of the force constants by {apart:.3g} Å; "
                    "force constants belong to one cell: take frames of constant volume"
                )
        positions = frames.positions if isinstance(frames, Dataset) else np.asarray(frames, float)
        if positions.ndim != 3 or positions.shape[1:] != self.positions.shape:
            raise DataError(
                f"positions have shape {positions.shape}; expected (frames, "
                f"{len(self.positions)}, 3), as the force constants"
            )
        return positions
