"""How far the members of a potential are apart on a frame: the uncertainties of ALmoMD.

All are standard deviations over the members with the divisor M − 1.

Source: Kang, Purcell, Carbogno, Scheffler, arXiv 2409.11808 (ALmoMD).
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.anharmonicity import HarmonicModel, anharmonicity_spread
from uncv.data import Dataset
from uncv.errors import DataError
from uncv.protocols import Potential

FloatArray = NDArray[np.float64]
Quantity = Literal["energy", "mean_force", "max_force", "anharmonicity"]


def committee_spread(
    potential: Potential,
    frames: Dataset,
    quantity: Quantity,
    harmonic: HarmonicModel | None = None,
) -> FloatArray:
    """Return the spread of what the members say of each frame (F,).

    Parameters
    ----------
    potential : Potential
        With at least two members.
    frames : Dataset
        Any, or for 'anharmonicity' those of the crystal of the harmonic model.
    quantity : str
        'energy' (eV), 'mean_force' or 'max_force' (eV/Å), or 'anharmonicity' (no unit).
    harmonic : HarmonicModel, optional
        Needed by 'anharmonicity'.

    Raises
    ------
    DataError
        If the potential has one member, or the harmonic model is missing or of another crystal.
    ValueError
        For an unknown quantity.
    """
    if quantity not in get_args(Quantity):
        raise ValueError(
            f"unknown quantity {quantity!r}; choose one of {', '.join(get_args(Quantity))}"
        )
    said = potential.evaluate(frames, member_forces=quantity != "energy")
    if quantity == "energy":
        return energy_spread(said.energies)
    if said.member_forces is None:
        raise DataError("the potential gives no forces of its members; choose quantity 'energy'")
    if quantity == "mean_force":
        return mean_force_spread(said.member_forces, frames.mask)
    if quantity == "max_force":
        return max_force_spread(said.member_forces, frames.mask)
    if harmonic is None:
        raise DataError("anharmonicity needs force constants; pass a HarmonicModel")
    return anharmonicity_spread(said.member_forces, harmonic.forces(frames))


def energy_spread(energies: ArrayLike) -> FloatArray:
    """Return the standard deviation (F,) of member energies (M, F).

    >>> energy_spread([[1.0, 5.0], [3.0, 5.0]]).round(3).tolist()
    [1.414, 0.0]
    """
    return _members("energies", energies, 2).std(axis=0, ddof=1)


def mean_force_spread(forces: ArrayLike, mask: ArrayLike | None = None) -> FloatArray:
    """Return the mean over the atoms of a frame (F,) of the spread of their forces.

    Parameters
    ----------
    forces : array_like
        Of the members (M, F, A, 3), eV/Å.
    mask : array_like, optional
        True on atoms, False on padding (F, A).

    Notes
    -----
    The spread of an atom is the square root of Σ_m |F_m − F̄|² / (3 (M − 1)): a root mean square
    per component.
    """
    spread, real = _atomic_spread(forces, mask)
    return np.sum(spread * real, axis=1) / real.sum(axis=1)


def max_force_spread(forces: ArrayLike, mask: ArrayLike | None = None) -> FloatArray:
    """Return the largest of the atoms' spreads of each frame (F,); see `mean_force_spread`."""
    spread, real = _atomic_spread(forces, mask)
    return np.max(np.where(real, spread, 0.0), axis=1)


def _atomic_spread(
    forces: ArrayLike, mask: ArrayLike | None
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return the spread of each atom (F, A), and which are atoms."""
    found = _members("forces", forces, 4)
    spread = np.sqrt(found.var(axis=0, ddof=1).mean(axis=2))
    real = np.ones(spread.shape, dtype=np.bool_) if mask is None else np.asarray(mask, np.bool_)
    if real.shape != spread.shape:
        raise DataError(f"the mask has shape {real.shape}; expected {spread.shape}, as the atoms")
    return spread, real


def _members(name: str, values: ArrayLike, dimensions: int) -> FloatArray:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != dimensions or len(found) < 2:
        expected = {2: "(members, frames)", 4: "(members, frames, atoms, 3)"}[dimensions]
        raise DataError(
            f"{name} have shape {found.shape}; expected {expected} with at least 2 members, "
            "without which there is no spread"
        )
    return found
