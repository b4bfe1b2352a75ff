"""A run in numbers: coverage, memory, free energy, basins, and the difference of two regions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from uncv.analysis.accessible import AccessibleCells
from uncv.analysis.autocorrelation import AutocorrelationTime, autocorrelation_times, slowest
from uncv.analysis.basins import Basins, find_basins
from uncv.analysis.coverage_interval import CoverageMeasure, Grid, measure_coverage
from uncv.analysis.difference import FreeEnergyDifference, free_energy_difference
from uncv.analysis.regions import Region
from uncv.analysis.reweighting import effective_sample_size
from uncv.analysis.samples import Samples
from uncv.analysis.surface import MOST_VARIABLES, FreeEnergySurface, free_energy
from uncv.analysis.transitions import FS_IN_NS, Transitions, count_transitions
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
        Cells of the surface for each variable.
    bandwidth : float
        Of its kernel, in radians (see `free_energy`); 0 for a histogram.
    regions : (Region, Region), optional
        Whose free energies are compared; of two torsions.
    base : int
        Cells per axis of the first level of the coverage, and the factor to the next.
    resamples : int
        Of the bootstrap over walkers.
    confidence : float
        Of its intervals, and those of rates.
    seed : int
        Of the bootstrap.
    window : float
        c of the window of the autocorrelation time.
    barrier : float, optional
        Least depth of a basin in eV; 2 k_BT by default.
    basins : bool
        Whether basins are looked for, and transitions between them counted.
    """

    temperature: float = 300.0
    levels: int = 5
    bins: int = 36
    bandwidth: float = 0.0
    regions: tuple[Region, Region] | None = None
    base: int = 2
    resamples: int = 1000
    confidence: float = 0.95
    seed: int = 0
    window: float = 5.0
    barrier: float | None = None
    basins: bool = True

    @property
    def grid(self) -> Grid:
        """How coverage is measured."""
        return Grid(self.levels, self.base, self.resamples, self.confidence, self.seed)


class Memory(NamedTuple):
    """How long the run remembers, and what that leaves of its frames.

    Attributes
    ----------
    times : tuple of (str, AutocorrelationTime)
        Of each variable, of torsions by cosine and sine.
    slowest : str
        Which of them is longest.
    effective : float
        Independent frames, by the slowest.
    per_ns : float or None
        Of them, in a nanosecond of a walker; None where time is not known.
    per_evaluation : float or None
        Of them, for each evaluation of the potential; None where steps are not known.
    """

    times: tuple[tuple[str, AutocorrelationTime], ...]
    slowest: str
    effective: float
    per_ns: float | None
    per_evaluation: float | None


class Analysis(NamedTuple):
    """What was found.

    Attributes
    ----------
    frames, walkers : int
        What was analyzed.
    coverage : float
        Of the variables, without weights, between 0 and 1.
    effective : float
        Kish's effective number of frames, by their weights alone.
    surface : FreeEnergySurface or None
        None beyond three variables.
    difference : FreeEnergyDifference or None
        None without regions.
    measure : CoverageMeasure or None
        Coverage with its interval, what uniform points would cover, and accessible cells.
    memory : Memory or None
        Autocorrelation times; None of a single frame.
    basins : Basins or None
        Of the surface; None where none holds enough frames, or they were not asked for.
    transitions : Transitions or None
        Between the basins.
    """

    frames: int
    walkers: int
    coverage: float
    effective: float
    surface: FreeEnergySurface | None
    difference: FreeEnergyDifference | None
    measure: CoverageMeasure | None = None
    memory: Memory | None = None
    basins: Basins | None = None
    transitions: Transitions | None = None


def analyze(
    samples: Samples,
    settings: AnalysisSettings | None = None,
    accessible: AccessibleCells | None = None,
) -> Analysis:
    """Return coverage, autocorrelation times, surface, basins and their transitions of a run.

    Parameters
    ----------
    samples : Samples
        The run.
    settings : AnalysisSettings, optional
        How.
    accessible : AccessibleCells, optional
        Cells that can be reached at all, by a long reference.

    Raises
    ------
    DataError
        If there is no frame, or the samples are not sound.
    """
    settings = settings or AnalysisSettings()
    if len(samples) == 0:
        raise DataError("there is no frame to analyze; give a longer run or discard less")
    weights = samples.weights(settings.temperature)
    measure = measure_coverage(
        samples.values,
        axes=samples.axes,
        walker=samples.walker,
        accessible=accessible,
        grid=settings.grid,
    )
    surface, difference = None, None
    if samples.values.shape[1] <= MOST_VARIABLES:
        surface = free_energy(
            samples.values,
            settings.temperature,
            axes=samples.axes,
            weights=weights,
            walker=samples.walker,
            bins=settings.bins,
            bandwidth=settings.bandwidth,
        )
    if settings.regions is not None and samples.values.shape[1] == 2:
        difference = free_energy_difference(
            samples.values,
            settings.temperature,
            first=settings.regions[0],
            second=settings.regions[1],
            weights=weights,
            walker=samples.walker,
        )
    return Analysis(
        len(weights),
        measure.walkers,
        measure.coverage.value,
        effective_sample_size(weights),
        surface,
        difference,
        measure,
        memory_of(samples, settings.window),
        *_kinetics(samples, surface, settings),
    )


def memory_of(samples: Samples, window: float = 5.0) -> Memory | None:
    """Return autocorrelation times and what they leave of a run; None of a single frame.

    Parameters
    ----------
    samples : Samples
        The run.
    window : float
        c of `integrated_autocorrelation_time`.
    """
    if len(samples) < 2:
        return None
    times = autocorrelation_times(
        samples.values, axes=samples.axes, walker=samples.pieces, window=window
    )
    name, longest = slowest(times)
    per_frame = longest.effective / len(samples)
    interval, steps = samples.interval_fs, samples.steps
    return Memory(
        times,
        name,
        longest.effective,
        None if interval is None else per_frame / (interval * FS_IN_NS),
        None if steps is None else per_frame / steps,
    )


def _kinetics(
    samples: Samples, surface: FreeEnergySurface | None, settings: AnalysisSettings
) -> tuple[Basins | None, Transitions | None]:
    if surface is None or not settings.basins:
        return None, None
    basins = find_basins(surface, settings.barrier)
    if len(basins.minima) == 0:
        return None, None
    transitions = count_transitions(
        basins.assign_cores(samples.values),
        len(basins.minima),
        samples.pieces,
        interval_fs=samples.interval_fs,
        confidence=settings.confidence,
    )
    return basins, transitions
