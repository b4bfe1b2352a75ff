"""The free energy along u of extended-system sampling, by the CZAR estimator."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.units import KB_IN_EV_PER_K

FloatArray = NDArray[np.float64]


class FreeEnergyProfile(NamedTuple):
    """A free energy along u.

    Attributes
    ----------
    centres : numpy.ndarray
        Of the bins (B,), in the unit of u.
    free_energy : numpy.ndarray
        (B,) in eV, its minimum 0; NaN where nothing was sampled.
    samples : numpy.ndarray
        In each bin (B,).
    """

    centres: FloatArray
    free_energy: FloatArray
    samples: NDArray[np.int64]


def czar(
    u: ArrayLike, position: ArrayLike, *, edges: ArrayLike, spring: float, temperature: float
) -> FreeEnergyProfile:
    """Return the free energy along u of series of u and λ, whatever drove λ.

    A'(u) = −k_BT d ln ρ(u)/du + k ⟨λ − u⟩_u, with the density ρ of u as it was sampled. Of PLUMED's
    EXTENDED_LAGRANGIAN, u and λ are the columns of its argument and of its ``_fict`` component,
    and k is KAPPA.

    Parameters
    ----------
    u, position : array_like
        u and λ (T,), in one unit.
    edges : array_like
        Of equal bins (B + 1,), rising.
    spring : float
        k in eV per squared unit.
    temperature : float
        In K.

    Raises
    ------
    ValueError
        If the series differ in length, the bins are not equal, or no two neighbours were sampled.
    """
    value, partner = np.asarray(u, dtype=np.float64), np.asarray(position, dtype=np.float64)
    bounds = np.asarray(edges, dtype=np.float64)
    widths = np.diff(bounds)
    if value.ndim != 1 or value.shape != partner.shape:
        raise ValueError(
            f"u has shape {value.shape} and λ {partner.shape}; expected two series of one length"
        )
    if len(bounds) < 3 or not (widths > 0).all() or np.ptp(widths) > 1e-6 * widths.mean():
        raise ValueError("edges must rise in equal steps, at least three of them")
    samples, _ = np.histogram(value, bounds)
    gaps, _ = np.histogram(value, bounds, weights=partner - value)
    return integrate(samples, gaps, bounds, spring, KB_IN_EV_PER_K * temperature)


def integrate(
    samples: NDArray[np.int64], gap_sum: FloatArray, edges: FloatArray, spring: float, kt: float
) -> FreeEnergyProfile:
    """Return the profile of what was gathered in bins of u; see `czar`.

    Parameters
    ----------
    samples : numpy.ndarray
        Of each bin (B,).
    gap_sum : numpy.ndarray
        Sum of λ − u over them (B,).
    edges : numpy.ndarray
        (B + 1,).
    spring, kt : float
        k and k_BT, eV.

    Raises
    ------
    ValueError
        If no two neighbouring bins were sampled.
    """
    seen = samples > 0
    if (seen[1:] & seen[:-1]).sum() == 0:
        raise ValueError(
            f"u was sampled in {int(seen.sum())} of {len(samples)} bins, none of them neighbours; "
            "run longer, or choose a range that u visits"
        )
    first, last = _longest_run(seen)
    inside = slice(first, last + 1)
    mean_force = spring * gap_sum[inside] / samples[inside]
    spacing = edges[1] - edges[0]
    # Between neighbouring centres, the mean force of the spring is that of both bins.
    rise = -kt * np.diff(np.log(samples[inside]))
    rise += 0.5 * spacing * (mean_force[1:] + mean_force[:-1])
    free = np.full(len(samples), np.nan)
    free[inside] = np.concatenate([[0.0], np.cumsum(rise)])
    centres = 0.5 * (edges[1:] + edges[:-1])
    return FreeEnergyProfile(centres, free - np.nanmin(free), samples.copy())


def _longest_run(seen: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the first and last bin of the longest stretch of sampled bins."""
    ends = np.flatnonzero(np.diff(np.concatenate([[False], seen, [False]]).astype(np.int8)))
    starts, stops = ends[::2], ends[1::2]
    best = int(np.argmax(stops - starts))
    return int(starts[best]), int(stops[best]) - 1
