"""What was visited: dihedral angles, coverage, free-energy maps."""

from uncv.analysis.coverage import (
    accessible_coverage,
    coverage,
    coverage_series,
    expected_coverage,
)
from uncv.analysis.dihedrals import ALANINE_PHI_PSI, dihedrals
from uncv.analysis.ramachandran import FreeEnergyMap, ramachandran

__all__ = [
    "ALANINE_PHI_PSI",
    "FreeEnergyMap",
    "accessible_coverage",
    "coverage",
    "coverage_series",
    "dihedrals",
    "expected_coverage",
    "ramachandran",
]
