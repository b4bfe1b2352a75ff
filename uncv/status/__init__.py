"""How far a campaign is, seen from another shell: read from its files, without its lock."""

from uncv.status.overview import CampaignStatus, run_directory, status

__all__ = ["CampaignStatus", "run_directory", "status"]
