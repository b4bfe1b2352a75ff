"""The uncertainty of a machine-learned interatomic potential as a collective variable.

Names are imported when they are first used, so ``import uncv`` is quick and starts no engine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from uncv._version import __version__

if TYPE_CHECKING:
    from uncv import (
        adversarial,
        analysis,
        ase,
        bias,
        evaluation,
        metrics,
        openmm,
        oracles,
        perturb,
        plots,
        plugin,
        report,
        schedule,
        status,
        structures,
        units,
    )
    from uncv.adversarial import AttackSettings, attack
    from uncv.bias import (
        AdaptiveBias,
        CappedBias,
        CeilingBias,
        ExtendedBias,
        HarmonicBias,
        LinearBias,
        ScheduledBias,
        SumBias,
        TanhBias,
        UDDBias,
    )
    from uncv.calibration import ConformalCalibrator
    from uncv.config import CampaignConfig
    from uncv.cv import UncertaintyCV
    from uncv.data import Dataset, concatenate
    from uncv.exporting import export_data
    from uncv.io import read, write
    from uncv.learning import learn
    from uncv.models import ModulePotential, load_mace, load_potential
    from uncv.sampling import SampledRun, SampleSettings, sample
    from uncv.sampling_crystal import CrystalSettings, sample_crystal
    from uncv.selection import select
    from uncv.stopping import StopRules
    from uncv.training import TrainSettings, train
    from uncv.uncertainty import (
        EnsembleUncertainty,
        EvidentialUncertainty,
        GMMUncertainty,
        GradientUncertainty,
        MVEUncertainty,
    )

_HOME = {
    "read": "uncv.io",
    "write": "uncv.io",
    "Dataset": "uncv.data",
    "concatenate": "uncv.data",
    "load_potential": "uncv.models",
    "load_mace": "uncv.models",
    "ModulePotential": "uncv.models",
    "train": "uncv.training",
    "TrainSettings": "uncv.training",
    "EnsembleUncertainty": "uncv.uncertainty",
    "GMMUncertainty": "uncv.uncertainty",
    "GradientUncertainty": "uncv.uncertainty",
    "MVEUncertainty": "uncv.uncertainty",
    "EvidentialUncertainty": "uncv.uncertainty",
    "UncertaintyCV": "uncv.cv",
    "ConformalCalibrator": "uncv.calibration",
    "LinearBias": "uncv.bias",
    "UDDBias": "uncv.bias",
    "TanhBias": "uncv.bias",
    "HarmonicBias": "uncv.bias",
    "CeilingBias": "uncv.bias",
    "ExtendedBias": "uncv.bias",
    "SumBias": "uncv.bias",
    "AdaptiveBias": "uncv.bias",
    "ScheduledBias": "uncv.bias",
    "CappedBias": "uncv.bias",
    "StopRules": "uncv.stopping",
    "sample": "uncv.sampling",
    "SampleSettings": "uncv.sampling",
    "SampledRun": "uncv.sampling",
    "sample_crystal": "uncv.sampling_crystal",
    "CrystalSettings": "uncv.sampling_crystal",
    "export_data": "uncv.exporting",
    "select": "uncv.selection",
    "attack": "uncv.adversarial",
    "AttackSettings": "uncv.adversarial",
    "learn": "uncv.learning",
    "CampaignConfig": "uncv.config",
}
_SUBMODULES = (
    "adversarial", "analysis", "ase", "bias", "evaluation", "metrics", "openmm", "oracles",
    "perturb", "plots", "plugin", "report", "schedule", "status", "structures", "units",
)  # fmt: skip

__all__ = [
    "__version__",
    "read",
    "write",
    "Dataset",
    "concatenate",
    "load_potential",
    "load_mace",
    "ModulePotential",
    "train",
    "TrainSettings",
    "EnsembleUncertainty",
    "GMMUncertainty",
    "GradientUncertainty",
    "MVEUncertainty",
    "EvidentialUncertainty",
    "UncertaintyCV",
    "ConformalCalibrator",
    "LinearBias",
    "UDDBias",
    "TanhBias",
    "HarmonicBias",
    "CeilingBias",
    "ExtendedBias",
    "SumBias",
    "AdaptiveBias",
    "ScheduledBias",
    "CappedBias",
    "StopRules",
    "sample",
    "SampleSettings",
    "SampledRun",
    "sample_crystal",
    "CrystalSettings",
    "export_data",
    "select",
    "attack",
    "AttackSettings",
    "learn",
    "CampaignConfig",
    "adversarial",
    "analysis",
    "ase",
    "bias",
    "evaluation",
    "metrics",
    "openmm",
    "oracles",
    "perturb",
    "plots",
    "plugin",
    "report",
    "schedule",
    "status",
    "structures",
    "units",
]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f"uncv.{name}")
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'uncv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
