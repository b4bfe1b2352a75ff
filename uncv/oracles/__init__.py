"""References that label structures with energies and forces."""

from uncv.oracles.ase_calculator import AseOracle, CalculatorSource, ase_calculator
from uncv.oracles.base import FrameOracle, Labels, labelled_part
from uncv.oracles.bks import BKSSilica
from uncv.oracles.cache import CachedOracle, LabelCache
from uncv.oracles.choice import make_oracle
from uncv.oracles.command import CommandOracle
from uncv.oracles.openmm_forcefield import OpenMMForceField
from uncv.oracles.potential import PotentialOracle
from uncv.oracles.pyscf import PySCFOracle, ScfSettings
from uncv.oracles.xtb import XTBOracle

__all__ = [
    "AseOracle",
    "BKSSilica",
    "CachedOracle",
    "CalculatorSource",
    "CommandOracle",
    "FrameOracle",
    "LabelCache",
    "Labels",
    "OpenMMForceField",
    "PotentialOracle",
    "PySCFOracle",
    "ScfSettings",
    "XTBOracle",
    "ase_calculator",
    "labelled_part",
    "make_oracle",
]
