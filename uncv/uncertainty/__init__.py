"""Uncertainties of interatomic potentials, one family a file."""

from __future__ import annotations

from typing import Any

from uncv.errors import FileFormatError
from uncv.uncertainty.base import UncertaintyBase
from uncv.uncertainty.ensemble import EnsembleUncertainty
from uncv.uncertainty.evidential import EvidentialUncertainty
from uncv.uncertainty.gmm import GMMUncertainty
from uncv.uncertainty.gradient import GradientUncertainty
from uncv.uncertainty.mve import MVEUncertainty
from uncv.uncertainty.reduce import REDUCTIONS, SMOOTH, reduce_atoms

__all__ = [
    "REDUCTIONS",
    "SMOOTH",
    "EnsembleUncertainty",
    "EvidentialUncertainty",
    "GMMUncertainty",
    "GradientUncertainty",
    "MVEUncertainty",
    "UncertaintyBase",
    "by_name",
    "reduce_atoms",
]

_FAMILIES: dict[str, type[UncertaintyBase]] = {
    "EnsembleUncertainty": EnsembleUncertainty,
    "EvidentialUncertainty": EvidentialUncertainty,
    "GMMUncertainty": GMMUncertainty,
    "GradientUncertainty": GradientUncertainty,
    "MVEUncertainty": MVEUncertainty,
}


def by_name(name: str, settings: dict[str, Any]) -> UncertaintyBase:
    """Make an uncertainty from the name of its class and its settings.

    Raises
    ------
    FileFormatError
        If there is no such family.
    """
    if name not in _FAMILIES:
        raise FileFormatError(
            f"uncertainty {name!r} is unknown; this uncv knows {', '.join(sorted(_FAMILIES))}"
        )
    return _FAMILIES[name](**settings)
