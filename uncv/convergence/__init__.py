"""When labelling more is of no use: rules that look at the rounds so far and give a reason."""

from uncv.convergence.base import RoundRecord, StopRule, judge
from uncv.convergence.choice import make_rules, observe
from uncv.convergence.counting import LabelBudget, RoundsWithoutCandidate, StepsWithoutCandidate
from uncv.convergence.series import CoverageStays, ObservableStays, UncertaintyBelow
from uncv.convergence.torsions import TorsionsStay, torsion_counts

__all__ = [
    "CoverageStays",
    "LabelBudget",
    "ObservableStays",
    "RoundRecord",
    "RoundsWithoutCandidate",
    "StepsWithoutCandidate",
    "StopRule",
    "TorsionsStay",
    "UncertaintyBelow",
    "judge",
    "make_rules",
    "observe",
    "torsion_counts",
]
