"""What a campaign would do, what it would cost, and the first thing that is in its way.

Nothing is written outside of a scratch folder; labels, a training and dynamics are tried in small
numbers on the start structure.
"""

from uncv.dry_run.rehearsal import dry_run
from uncv.dry_run.results import DryRun, PlannedStage

__all__ = ["DryRun", "PlannedStage", "dry_run"]
