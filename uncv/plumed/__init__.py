"""Drives PLUMED: values in, derivatives out, and one update for each completed step."""

from uncv.plumed.driver import PlumedDriver, PlumedForces
from uncv.plumed.gate import StepGate
from uncv.plumed.kernel import plumed_kernel, plumed_version
from uncv.plumed.run import Plumed, plumed_of_run
from uncv.plumed.settings import PlumedSettings
from uncv.plumed.walkers import PlumedWalkers

__all__ = [
    "Plumed",
    "PlumedDriver",
    "PlumedForces",
    "PlumedSettings",
    "PlumedWalkers",
    "StepGate",
    "plumed_kernel",
    "plumed_of_run",
    "plumed_version",
]
