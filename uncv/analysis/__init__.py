"""What was visited and how likely it is: torsions, coverage, weights, free energies, errors."""

from uncv.analysis.analyze import Analysis, AnalysisSettings, analyze
from uncv.analysis.blocks import BlockError, block_error, walker_error
from uncv.analysis.colvar import ColvarTable, is_colvar, read_colvar
from uncv.analysis.comparison import SurfaceComparison, compare_surfaces
from uncv.analysis.coverage import (
    accessible_coverage,
    coverage,
    coverage_series,
    expected_coverage,
)
from uncv.analysis.dihedrals import ALANINE_PHI_PSI, dihedrals
from uncv.analysis.free_energy import FreeEnergyDifference, free_energy_difference
from uncv.analysis.perturbation import Perturbation, perturb
from uncv.analysis.ramachandran import FreeEnergyMap, ramachandran
from uncv.analysis.regions import C7AX, C7EQ, Region, parse_region
from uncv.analysis.reweighting import bias_weights, effective_sample_size
from uncv.analysis.samples import Samples, joined, samples_of_colvar, samples_of_frames
from uncv.analysis.surface import FreeEnergySurface, free_energy_surface
from uncv.analysis.surface_file import SavedSurface, is_surface, load_surface, save_surface

__all__ = [
    "ALANINE_PHI_PSI",
    "Analysis",
    "AnalysisSettings",
    "BlockError",
    "C7AX",
    "C7EQ",
    "ColvarTable",
    "FreeEnergyDifference",
    "FreeEnergyMap",
    "FreeEnergySurface",
    "Perturbation",
    "Region",
    "Samples",
    "SavedSurface",
    "SurfaceComparison",
    "accessible_coverage",
    "analyze",
    "bias_weights",
    "block_error",
    "compare_surfaces",
    "coverage",
    "coverage_series",
    "dihedrals",
    "effective_sample_size",
    "expected_coverage",
    "free_energy_difference",
    "free_energy_surface",
    "is_colvar",
    "is_surface",
    "joined",
    "load_surface",
    "parse_region",
    "perturb",
    "ramachandran",
    "read_colvar",
    "samples_of_colvar",
    "samples_of_frames",
    "save_surface",
    "walker_error",
]
