"""The active-learning campaign: train, sample, select, label, to a budget of labels."""

from uncv.learning.campaign import learn
from uncv.learning.results import CampaignProgress, CampaignResult

__all__ = ["CampaignProgress", "CampaignResult", "learn"]
