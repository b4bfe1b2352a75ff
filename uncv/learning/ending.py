"""Whether a campaign has come to its end, and why."""

from __future__ import annotations

from uncv.config import CampaignConfig
from uncv.learning.directory import RunDirectory


def reason_to_end(config: CampaignConfig, directory: RunDirectory) -> str:
    """Return why the campaign ends after the rounds that are complete, '' where it goes on.

    It depends on the configuration, the labels and the journal alone, so a campaign that is begun
    again comes to the same answer.
    """
    labels = directory.labelled_count()
    if labels >= config.budget.labels:
        return f"the budget of {config.budget.labels} labels is spent"
    return ""
