"""What was visited and how likely it is: coverage, memory, weights, free energies, transitions."""

from uncv.analysis.accessible import (
    AccessibleCells,
    accessible_coverage,
    cells_below,
    cells_of_run,
)
from uncv.analysis.analyze import Analysis, AnalysisSettings, Memory, analyze, memory_of
from uncv.analysis.autocorrelation import (
    AutocorrelationTime,
    autocorrelation_times,
    integrated_autocorrelation_time,
)
from uncv.analysis.backbone import PhiPsi, ResidueTorsion, phi_psi, resolved
from uncv.analysis.basins import Basins, find_basins, region_cores
from uncv.analysis.blocks import BlockError, block_error, walker_error
from uncv.analysis.colvar import ColvarTable, is_colvar, read_colvar
from uncv.analysis.comparison import SurfaceComparison, compare_surfaces
from uncv.analysis.coverage import coverage, coverage_series, expected_coverage
from uncv.analysis.coverage_interval import CoverageMeasure, Grid, Share, measure_coverage
from uncv.analysis.difference import FreeEnergyDifference, free_energy_difference
from uncv.analysis.dihedrals import ALANINE_PHI_PSI, dihedrals
from uncv.analysis.equal_frames import equal_frames
from uncv.analysis.feature_coverage import (
    ElementCoverage,
    Environments,
    environment_coverage,
    environments,
)
from uncv.analysis.perturbation import Perturbation, perturb
from uncv.analysis.ramachandran import (
    FreeEnergyMap,
    ResidueMap,
    ramachandran,
    ramachandran_by_residue,
)
from uncv.analysis.regions import C7AX, C7EQ, Region, parse_region
from uncv.analysis.reweighting import bias_weights, effective_sample_size
from uncv.analysis.samples import Samples, joined, shared_axes
from uncv.analysis.samples_colvar import samples_of_colvar
from uncv.analysis.samples_frames import samples_of_frames
from uncv.analysis.samples_trajectory import samples_of_trajectory
from uncv.analysis.space import Axis
from uncv.analysis.surface import FreeEnergySurface, free_energy, free_energy_surface
from uncv.analysis.surface_file import SavedSurface, is_surface, load_surface, save_surface
from uncv.analysis.trajectory import is_trajectory, load_topology, trajectory_topology
from uncv.analysis.transitions import Transitions, count_transitions, states_of
from uncv.analysis.variable_text import parse_variable
from uncv.analysis.variables import Angle, Column, Distance, Torsion, Variable, Volume

__all__ = [
    "ALANINE_PHI_PSI",
    "AccessibleCells",
    "Analysis",
    "AnalysisSettings",
    "Angle",
    "AutocorrelationTime",
    "Axis",
    "Basins",
    "BlockError",
    "C7AX",
    "C7EQ",
    "Column",
    "ColvarTable",
    "CoverageMeasure",
    "Distance",
    "ElementCoverage",
    "Environments",
    "FreeEnergyDifference",
    "FreeEnergyMap",
    "FreeEnergySurface",
    "Grid",
    "Memory",
    "Perturbation",
    "PhiPsi",
    "Region",
    "ResidueMap",
    "ResidueTorsion",
    "Samples",
    "SavedSurface",
    "Share",
    "SurfaceComparison",
    "Torsion",
    "Transitions",
    "Variable",
    "Volume",
    "accessible_coverage",
    "analyze",
    "autocorrelation_times",
    "bias_weights",
    "block_error",
    "cells_below",
    "cells_of_run",
    "compare_surfaces",
    "count_transitions",
    "coverage",
    "coverage_series",
    "dihedrals",
    "effective_sample_size",
    "environment_coverage",
    "environments",
    "equal_frames",
    "expected_coverage",
    "find_basins",
    "free_energy",
    "free_energy_difference",
    "free_energy_surface",
    "integrated_autocorrelation_time",
    "is_colvar",
    "is_surface",
    "is_trajectory",
    "joined",
    "load_surface",
    "load_topology",
    "measure_coverage",
    "memory_of",
    "parse_region",
    "parse_variable",
    "perturb",
    "phi_psi",
    "ramachandran",
    "ramachandran_by_residue",
    "read_colvar",
    "region_cores",
    "resolved",
    "samples_of_colvar",
    "samples_of_frames",
    "samples_of_trajectory",
    "save_surface",
    "shared_axes",
    "states_of",
    "trajectory_topology",
    "walker_error",
]
