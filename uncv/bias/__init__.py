"""Bias energies V(u) that are added to the potential: forces are −∇(E + V).

Each conservative bias is a small torch module from u (F,) to V (F,) in eV; u is in eV, eV/Å or
without unit, by the kind of the collective variable. Exploration needs dV/du < 0.
"""

from uncv.bias.adaptive import AdaptiveBias
from uncv.bias.base import Bias
from uncv.bias.choice import (
    SPREAD,
    WarmUp,
    choose_tanh,
    choose_udd,
    factor_for_ratio,
    mean_force_ratio,
)
from uncv.bias.czar import FreeEnergyProfile, czar
from uncv.bias.extended import ExtendedBias, ExtendedVariables
from uncv.bias.linear import LinearBias
from uncv.bias.modified import AnyBias, CappedBias, ScheduledBias, has_potential
from uncv.bias.saturating import ACETYLACETONE, GLYCINE, UDD_RATIO, TanhBias, UDDBias
from uncv.bias.springs import CeilingBias, HarmonicBias
from uncv.bias.sum import SumBias

__all__ = [
    "ACETYLACETONE",
    "GLYCINE",
    "SPREAD",
    "UDD_RATIO",
    "AdaptiveBias",
    "AnyBias",
    "Bias",
    "CappedBias",
    "CeilingBias",
    "ExtendedBias",
    "ExtendedVariables",
    "FreeEnergyProfile",
    "HarmonicBias",
    "LinearBias",
    "ScheduledBias",
    "SumBias",
    "TanhBias",
    "UDDBias",
    "WarmUp",
    "choose_tanh",
    "choose_udd",
    "czar",
    "factor_for_ratio",
    "has_potential",
    "mean_force_ratio",
]
