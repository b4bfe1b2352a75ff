"""The free-energy difference of two regions, with its block error."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.analysis.blocks import BlockError, block_error, walker_error
from uncv.analysis.pieces import pieces_of
from uncv.analysis.regions import C7AX, C7EQ, Region
from uncv.analysis.reweighting import effective_sample_size
from uncv.analysis.surface import checked
from uncv.errors import DataError
from uncv.units import KB_IN_EV_PER_K

FEWEST_FRAMES = 10.0
"""Effective frames in a region below which an error would mean nothing."""


class FreeEnergyDifference(NamedTuple):
    """F(first region) − F(second region).

    Attributes
    ----------
    regions : (Region, Region)
        The two.
    value : float
        −k_B T ln(p_first / p_second), eV; infinite where a region was not visited.
    error : float
        Standard error, eV; infinite where the run cannot tell, for the reason given.
    populations : (float, float)
        p of each region.
    frames : (int, int)
        Frames in each region.
    effective : (float, float)
        Kish's effective number of frames in each.
    crossings : int
        How often a walker went from one region to the other.
    blocks, block_length : int
        Number of blocks behind the error, and frames in each.
    walker_error : float
        Standard error from the scatter of whole walkers, eV, to set beside the error; NaN with
        fewer than four.
    reason : str
        What limits the error; '' if nothing does.
    """

    regions: tuple[Region, Region]
    value: float
    error: float
    populations: tuple[float, float]
    frames: tuple[int, int]
    effective: tuple[float, float]
    crossings: int
    blocks: int
    block_length: int
    walker_error: float
    reason: str = ""


def free_energy_difference(
    angles: ArrayLike,
    temperature: float = 300.0,
    *,
    first: Region = C7AX,
    second: Region = C7EQ,
    weights: ArrayLike | None = None,
    walker: ArrayLike | None = None,
) -> FreeEnergyDifference:
    """Return the free-energy difference of two regions.

    The error follows to first order from what each frame adds to ln p of the one region and of the
    other, in blocks of neighbours in time (`block_error`). It is infinite where a region holds
    fewer than 10 effective frames, where no walker went from one region to the other, since the
    populations are then those of the starts, and where the run is too short for its correlation.

    Parameters
    ----------
    angles : array_like
        φ and ψ (F, 2) in radians, in the order of time within each walker.
    temperature : float
        In K.
    first, second : Region
        Without a frame in common; by default the two sides of alanine dipeptide.
    weights : array_like, optional
        Of each frame (F,), as from `bias_weights`; equal by default.
    walker : array_like, optional
        Of each frame (F,), any labels; one by default.

    Raises
    ------
    DataError
        If the regions overlap, neither was visited, or the arrays do not fit together.
    """
    points, mass, labels = checked(angles, weights, walker)
    inside = np.stack([first.contains(points), second.contains(points)])
    if inside.all(axis=0).any():
        raise DataError(
            f"the regions {first.name} and {second.name} overlap: "
            f"{int(inside.all(axis=0).sum())} frames lie in both; give regions apart"
        )
    populations = inside @ mass
    if not populations.any():
        raise DataError(
            f"no frame lies in {first.name} or {second.name}; check the regions and the torsions"
        )
    effective = [effective_sample_size(mass[one]) for one in inside]
    crossings = _crossings(inside, labels)
    kt = KB_IN_EV_PER_K * temperature
    with np.errstate(divide="ignore"):
        value = -kt * float(np.log(populations[0]) - np.log(populations[1]))
    reason = _too_little((first.name, second.name), effective, crossings)
    found, scatter = _errors(inside, mass, labels, populations)
    return FreeEnergyDifference(
        (first, second),
        value,
        np.inf if reason else kt * found.error,
        (float(populations[0]), float(populations[1])),
        (int(inside[0].sum()), int(inside[1].sum())),
        (effective[0], effective[1]),
        crossings,
        found.blocks,
        found.length,
        kt * scatter,
        reason or found.reason,
    )


def _errors(
    inside: NDArray[np.bool_],
    mass: NDArray[np.float64],
    labels: NDArray[np.int64],
    populations: NDArray[np.float64],
) -> tuple[BlockError, float]:
    """Return the standard error of ln(p_first / p_second) by blocks and by whole walkers."""
    if not populations.all():
        return BlockError(np.inf, 0, 0), np.nan
    added = mass * (inside[0] / populations[0] - inside[1] / populations[1])
    return block_error(added, labels), walker_error(added, labels)


def _too_little(names: tuple[str, str], effective: list[float], crossings: int) -> str:
    for name, number in zip(names, effective, strict=True):
        if number == 0:
            return f"{name} was not visited"
        if number < FEWEST_FRAMES:
            return f"{name} holds {number:.1f} effective frames, fewer than {FEWEST_FRAMES:g}"
    if crossings == 0:
        return f"no walker went from {names[0]} to {names[1]} or back"
    return ""


def _crossings(inside: NDArray[np.bool_], labels: NDArray[np.int64]) -> int:
    """Return how often the region last visited changes within a walker."""
    here = np.flatnonzero(inside.any(axis=0))
    pieces = pieces_of(labels[here])
    side, number = inside[0, here][pieces.order], labels[here][pieces.order]
    return int(((side[1:] != side[:-1]) & (number[1:] == number[:-1])).sum())
