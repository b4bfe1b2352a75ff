"""When a walker has left the region where its potential can be trusted."""

from uncv.stopping.checker import StopChecker
from uncv.stopping.molecule import BOND_FACTOR
from uncv.stopping.rules import StopRules

__all__ = ["BOND_FACTOR", "StopChecker", "StopRules"]
