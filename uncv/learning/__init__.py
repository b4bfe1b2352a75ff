"""The active-learning campaign: train, sample, select, label, to a budget of labels."""

from uncv.learning.campaign import CampaignProgress, CampaignResult, learn

__all__ = ["CampaignProgress", "CampaignResult", "learn"]
