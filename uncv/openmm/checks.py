"""Refusals of what OpenMM, PLUMED or a bias cannot do together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import openmm

from uncv.bias import (
    AdaptiveBias,
    AnyBias,
    Bias,
    CappedBias,
    ExtendedBias,
    ScheduledBias,
    has_potential,
)
from uncv.cv import UncertaintyCV
from uncv.driver import Driver, PlumedAlone
from uncv.errors import EngineError
from uncv.openmm.plumed_run import Plumed

Backend = Literal["python", "torchforce"]
BAROSTATS = (
    "MonteCarloAnisotropicBarostat",
    "MonteCarloBarostat",
    "MonteCarloFlexibleBarostat",
    "MonteCarloMembraneBarostat",
)


def check_region(
    walkers: int,
    atoms: Sequence[int] | None,
    system: openmm.System | None,
    hydrogen_mass: float | None,
) -> None:
    """Refuse walkers, parts and masses that do not go together."""
    if walkers < 1:
        raise ValueError(f"walkers is {walkers}; expected at least 1")
    if walkers > 1 and (atoms is not None or system is not None):
        raise EngineError("several walkers fill the System; give neither atoms= nor system=")
    if atoms is not None and system is None:
        raise EngineError(
            "atoms= names a part of a System; give that System by system=, or use energy_force"
        )
    if hydrogen_mass is not None and system is not None:
        raise EngineError("the masses are those of system=; set hydrogenMass when creating it")


def check_bias(
    cv: UncertaintyCV,
    bias: AnyBias | None,
    plumed: str | Path | Plumed | None,
    backend: str,
) -> None:
    """Refuse biases that the backend or PLUMED cannot hold."""
    if backend not in get_args(Backend):
        raise ValueError(f"backend {backend!r} is unknown; expected one of {get_args(Backend)}")
    if bias is not None and not isinstance(bias, AnyBias):
        raise TypeError(f"bias is a {type(bias).__name__}; expected a bias of uncv.bias")
    if bias is not None or plumed is not None:
        check_smooth(cv)
    if bias is None:
        return
    if plumed is not None and not has_potential(bias):
        raise EngineError(f"{name_of(bias)} has no potential and cannot be combined with PLUMED")
    if backend == "torchforce" and isinstance(bias, AdaptiveBias):
        raise EngineError("TorchForce cannot hold the adaptive bias's window; use backend='python'")
    if backend == "torchforce" and not isinstance(bias, Bias):
        raise EngineError(
            f"TorchForce cannot hold {name_of(bias)}, which is more than a function of u; use "
            "backend='python'"
        )


def check_smooth(cv: UncertaintyCV) -> None:
    """Refuse to bias by an uncertainty whose gradient jumps."""
    if not cv.smooth:
        raise EngineError(
            f"reduction {cv.reduce!r} has a gradient that jumps; bias by 'softmax' or 'mean' and "
            "keep 'max' for stopping"
        )


def check_system(system: openmm.System, driver: Driver | PlumedAlone) -> None:
    """Refuse barostats that cannot work with several walkers or the adaptive bias."""
    barostat = next(
        (f.__class__.__name__ for f in system.getForces() if f.__class__.__name__ in BAROSTATS),
        None,
    )
    if barostat is None:
        return
    if driver.walkers > 1:
        raise EngineError(f"{barostat} scales one box for all walkers; use walkers=1")
    bias = driver.bias if isinstance(driver, Driver) else None
    if bias is not None and not has_potential(bias):
        raise EngineError(
            f"{barostat} needs a potential and {name_of(bias)} has none; use a conservative bias"
        )


def name_of(bias: AnyBias) -> str:
    """Return what a bias is called in a message."""
    inner = bias.bias if isinstance(bias, ScheduledBias) else bias
    known = {
        AdaptiveBias: "the adaptive bias",
        CappedBias: "a capped bias",
        ExtendedBias: "the extended bias",
    }
    return known.get(type(inner), f"{type(bias).__name__}")
