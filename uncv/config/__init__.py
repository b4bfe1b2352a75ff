"""The configuration of a campaign: one YAML file, a section for each matter, checked before use."""

from uncv.config.campaign import (
    CampaignConfig,
    dump_config,
    load_config,
    make_bias_section,
    make_config,
    make_oracle_section,
    make_uncertainty_section,
    parse_config,
)
from uncv.config.system import BudgetConfig, SystemConfig
from uncv.config.training import CalibrationConfig, PotentialConfig

__all__ = [
    "BudgetConfig",
    "CalibrationConfig",
    "CampaignConfig",
    "PotentialConfig",
    "SystemConfig",
    "dump_config",
    "load_config",
    "make_bias_section",
    "make_config",
    "make_oracle_section",
    "make_uncertainty_section",
    "parse_config",
]
