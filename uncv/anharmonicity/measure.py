"""σ^A: the part of the forces that a harmonic crystal does not have.

σ^A = sqrt(Σ ⟨(F − F_ha)²⟩ / Σ ⟨F²⟩), sums over atoms and components, ⟨⟩ the mean over frames. It is
0 for a harmonic crystal; above 0.2 a material counts as strongly anharmonic.

Source: Knoop, Purcell, Scheffler, Carbogno, Phys. Rev. Materials 4, 083809 (2020).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.errors import DataError

FloatArray = NDArray[np.float64]


class Anharmonicity(NamedTuple):
    """σ^A, without unit.

    Attributes
    ----------
    trajectory : float
        Of all frames together.
    frames : numpy.ndarray
        Of each frame (F,).
    groups : numpy.ndarray
        Which groups of atoms there are (G,), ascending.
    of_groups : numpy.ndarray
        Of each group, all frames together (G,).
    """

    trajectory: float
    frames: FloatArray
    groups: NDArray
    of_groups: FloatArray


def anharmonicity(
    forces: ArrayLike, harmonic: ArrayLike, groups: ArrayLike | None = None
) -> Anharmonicity:
    """Return σ^A of a trajectory, of each of its frames, and of groups of atoms.

    Parameters
    ----------
    forces : array_like
        (F, A, 3), eV/Å.
    harmonic : array_like
        Those of the harmonic model (F, A, 3), eV/Å.
    groups : array_like, optional
        Group of each atom (A,), such as the atomic numbers; by default all are of group 0.

    Raises
    ------
    DataError
        If the shapes differ, a value is not finite, or all forces of a frame or group are zero.

    Notes
    -----
    The squares of the frames' values are not the square of the trajectory's on average: a frame
    with large forces weighs more in the latter.
    """
    real, ideal = _forces(forces, 3), _forces(harmonic, 3)
    if real.shape != ideal.shape:
        raise DataError(f"forces have shape {real.shape}, harmonic ones {ideal.shape}")
    number = real.shape[1]
    kinds = np.zeros(number, dtype=np.int64) if groups is None else np.asarray(groups)
    if kinds.shape != (number,):
        raise DataError(f"groups have shape {kinds.shape}; expected ({number},), one of each atom")
    of_atoms = np.sum((real - ideal) ** 2, axis=2), np.sum(real**2, axis=2)
    names = np.unique(kinds)
    in_group = (kinds == names[:, None]).astype(np.float64)
    of_groups = _ratio(*(in_group @ part.sum(axis=0) for part in of_atoms))
    of_frames = _ratio(*(part.sum(axis=1) for part in of_atoms))
    whole = _ratio(*(part.sum(keepdims=True) for part in of_atoms)).item()
    return Anharmonicity(whole, of_frames, names, of_groups)


def anharmonicity_spread(forces: ArrayLike, harmonic: ArrayLike) -> FloatArray:
    """Return the standard deviation over members of each frame's σ^A (F,), divisor M − 1.

    Parameters
    ----------
    forces : array_like
        Of the members (M, F, A, 3), eV/Å.
    harmonic : array_like
        Of one harmonic model (F, A, 3), or of one for each member (M, F, A, 3), eV/Å.

    Raises
    ------
    DataError
        If there are fewer than two members, or as `anharmonicity`.
    """
    real = _forces(forces, 4)
    if len(real) < 2:
        raise DataError(f"there is {len(real)} member; a spread needs at least 2")
    ideal = np.asarray(harmonic, dtype=np.float64)
    ideal = np.broadcast_to(ideal, real.shape) if ideal.shape == real.shape[1:] else ideal
    if ideal.shape != real.shape:
        raise DataError(f"forces have shape {real.shape}, harmonic ones {ideal.shape}")
    members = [anharmonicity(f, h).frames for f, h in zip(real, ideal, strict=True)]
    return np.std(members, axis=0, ddof=1)


def _ratio(apart: FloatArray, whole: FloatArray) -> FloatArray:
    if not (whole > 0).all():
        raise DataError(
            "all forces of a frame or group are zero, which leaves σ^A undefined; leave the "
            "undisplaced crystal out"
        )
    return np.sqrt(apart / whole)


def _forces(values: ArrayLike, dimensions: int) -> FloatArray:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != dimensions or found.shape[-1] != 3 or found.size == 0:
        expected = "(frames, atoms, 3)" if dimensions == 3 else "(members, frames, atoms, 3)"
        raise DataError(f"forces have shape {found.shape}; expected {expected}, none of them 0")
    if not np.isfinite(found).all():
        raise DataError("forces hold NaN or infinite values; remove these frames first")
    return found
