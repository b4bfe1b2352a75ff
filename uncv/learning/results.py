"""What a campaign tells while it runs, and what it came to."""

from pathlib import Path
from typing import NamedTuple


class CampaignProgress(NamedTuple):
    """How far a campaign is.

    Attributes
    ----------
    round : int
        The round at work; 0 while the first frames are labelled.
    stage : str
        'label', 'train', 'sample' or 'done'.
    labels, label_budget : int
        Labelled frames so far and in the end.
    coverage : float or None
        Coverage of torsions or volumes by the frames of the rounds before.
    fraction : float
        Estimated share of the whole campaign that is done, 0 to 1.
    share : float
        Share of the stage that is done, 0 to 1.
    """

    round: int
    stage: str
    labels: int
    label_budget: int
    coverage: float | None
    fraction: float
    share: float = 0.0


class CampaignResult(NamedTuple):
    """What a campaign came to.

    Attributes
    ----------
    directory : pathlib.Path
        The run directory.
    finished : bool
        Whether it came to its end; an interrupted campaign is continued by `learn`.
    labels : int
        Labelled frames.
    rounds : int
        Rounds that were labelled, the first frames aside.
    walker_steps : int
        Steps of all walkers together.
    coverage : float or None
        Coverage of torsions or volumes by all stored frames.
    cv : pathlib.Path or None
        The final .uncv file, trained on all labels.
    reason : str
        Why it ended; '' while it can go on.
    """

    directory: Path
    finished: bool
    labels: int
    rounds: int
    walker_steps: int
    coverage: float | None
    cv: Path | None
    reason: str
