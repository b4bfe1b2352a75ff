"""References that label structures with energies and forces."""

from uncv.oracles.base import FrameOracle
from uncv.oracles.openmm_forcefield import OpenMMForceField

__all__ = ["FrameOracle", "OpenMMForceField"]
