"""A run in numbers: coverage, free-energy surface, and the difference of two regions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from uncv.analysis.coverage import coverage
from uncv.analysis.free_energy import FreeEnergyDifference, free_energy_difference
from uncv.analysis.regions import Region
from uncv.analysis.reweighting import effective_sample_size
from uncv.analysis.samples import Samples
from uncv.analysis.surface import FreeEnergySurface, free_energy_surface
from uncv.errors import DataError


@dataclass(frozen=True)
class AnalysisSettings:
    """How a run is analyzed.

    Parameters
    ----------
    temperature : float
        In K.
    levels : int
        Of the grid of the coverage.
    bins : int
        Cells of the surface for each angle.
    bandwidth : float
        Of its kernel, in radians; 0 for a histogram.
    regions : (Region, Region), optional
        Whose free energies are compared.
    """

    temperature: float = 300.0
    levels: int = 5
    bins: int = 36
    bandwidth: float = 0.0
    regions: tuple[Region, Region] | None = None


class Analysis(NamedTuple):
    """What was found.

    Attributes
    ----------
    frames, walkers : int
        What was analyzed.
    coverage : float
        Of the angles, without weights, between 0 and 1.
    effective : float
        Kish's effective number of frames.
    surface : FreeEnergySurface or None
        None unless there are two angles.
    difference : FreeEnergyDifference or None
        None without regions.
    """

    frames: int
    walkers: int
    coverage: float
    effective: float
    surface: FreeEnergySurface | None
    difference: FreeEnergyDifference | None


def analyze(samples: Samples, settings: AnalysisSettings | None = None) -> Analysis:
    """Return coverage, effective frames, surface and free-energy difference of a run.

    Raises
    ------
    DataError
        If there is no frame, or the samples are not sound.
    """
    settings = settings or AnalysisSettings()
    if len(samples.angles) == 0:
        raise DataError("there is no frame to analyze; give a longer run or discard less")
    weights = samples.weights(settings.temperature)
    surface, difference = None, None
    if samples.angles.shape[1] == 2:
        surface = free_energy_surface(
            samples.angles,
            settings.temperature,
            weights=weights,
            walker=samples.walker,
            bins=settings.bins,
            bandwidth=settings.bandwidth,
        )
        if settings.regions is not None:
            difference = free_energy_difference(
                samples.angles,
                settings.temperature,
                first=settings.regions[0],
                second=settings.regions[1],
                weights=weights,
                walker=samples.walker,
            )
    return Analysis(
        len(weights),
        len(np.unique(samples.walker)),
        coverage(samples.angles, settings.levels),
        effective_sample_size(weights),
        surface,
        difference,
    )
