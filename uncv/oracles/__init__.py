"""References that label structures with energies and forces."""

from uncv.oracles.ase_calculator import AseOracle
from uncv.oracles.base import FrameOracle, labelled_part
from uncv.oracles.bks import BKSSilica
from uncv.oracles.openmm_forcefield import OpenMMForceField

__all__ = ["AseOracle", "BKSSilica", "FrameOracle", "OpenMMForceField", "labelled_part"]
