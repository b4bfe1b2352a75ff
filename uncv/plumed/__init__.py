"""Drives PLUMED: values in, derivatives out, and one update for each completed step."""

from uncv.plumed.driver import PlumedDriver, PlumedForces
from uncv.plumed.gate import StepGate
from uncv.plumed.kernel import plumed_kernel, plumed_version
from uncv.plumed.settings import PlumedSettings

__all__ = [
    "PlumedDriver",
    "PlumedForces",
    "PlumedSettings",
    "StepGate",
    "plumed_kernel",
    "plumed_version",
]
