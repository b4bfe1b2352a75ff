"""The bias of a round: as the configuration says, its depth and width from a short warm-up."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from uncv.bias import (
    UDD_RATIO,
    AdaptiveBias,
    AnyBias,
    Bias,
    CappedBias,
    CeilingBias,
    LinearBias,
    ScheduledBias,
    SumBias,
    TanhBias,
    UDDBias,
    WarmUp,
    choose_tanh,
    choose_udd,
)
from uncv.config.bias import SATURATING, BiasConfig
from uncv.learning.dynamics import Dynamics
from uncv.sampling import SampleSettings
from uncv.sampling_crystal import CrystalSettings
from uncv.schedule import Ramp, SawTooth
from uncv.uncertainty import EnsembleUncertainty

STRENGTH = 0.25
"""Of the linear and the adaptive bias, where none is given."""
STIFFNESS = 10.0
"""Of a ceiling: the wall holds the steepest drive at a tenth above the ceiling."""
WARM_UP_SHARE = 5
"""The warm-up takes at most one step in so many."""


def warm_up_steps(given: BiasConfig, settings: SampleSettings | CrystalSettings) -> int:
    """Return how many steps of each walker a warm-up takes; 0 where none is needed.

    With very short runs it is 0 too: the start structures then do in its place.
    """
    if not _needs_warm_up(given):
        return 0
    affordable = min(settings.steps // WARM_UP_SHARE, settings.steps - settings.stride)
    return min(given.warm_up_steps, affordable)


def choose_bias(
    given: BiasConfig, dynamics: Dynamics, warm_up: Callable[[], WarmUp] | None = None
) -> AnyBias | None:
    """Return the bias that a configuration asks for, None for plain dynamics.

    Parameters
    ----------
    given : BiasConfig
        The section.
    dynamics : Dynamics
        The run that it is for.
    warm_up : callable, optional
        Called for a warm-up if one is needed; by default that of the dynamics.

    Raises
    ------
    GradientError
        If depth or width are to be chosen and u does not change in the warm-up.
    """
    if given.kind == "none":
        return None
    if given.kind == "adaptive":
        strength = STRENGTH if given.strength is None else given.strength
        return _scheduled(
            given, AdaptiveBias(strength, given.hydrogen, given.window, given.elements)
        )
    drive = _drive(given, dynamics, warm_up or _own_warm_up(given, dynamics))
    if given.ceiling is not None:
        stiffness = STIFFNESS * drive.max_slope() / given.ceiling
        drive = SumBias(drive, CeilingBias(stiffness, given.ceiling))
    if given.cap_ev_per_angstrom is not None:
        return _scheduled(given, CappedBias(drive, max_force=given.cap_ev_per_angstrom))
    return _scheduled(given, drive)


def _own_warm_up(given: BiasConfig, dynamics: Dynamics) -> Callable[[], WarmUp]:
    return lambda: dynamics.warm_up(warm_up_steps(given, dynamics.settings))


def _drive(given: BiasConfig, dynamics: Dynamics, warm_up: Callable[[], WarmUp]) -> Bias:
    if given.kind == "udd":
        return _udd(given, dynamics, warm_up)
    if given.kind == "tanh":
        return _tanh(given, warm_up)
    return LinearBias(STRENGTH if given.strength is None else given.strength)


def _udd(given: BiasConfig, dynamics: Dynamics, warm_up: Callable[[], WarmUp]) -> UDDBias:
    uncertainty = dynamics.cv.uncertainty
    published = isinstance(uncertainty, EnsembleUncertainty) and uncertainty.of == "energy"
    members = dynamics.cv.potential.members if published else None
    atoms = int(np.max(dynamics.starts.frame_atoms)) if published else None
    depth, width = given.depth_ev, given.width
    if depth is None or width is None:
        chosen = choose_udd(warm_up(), _ratio(given), B=width, members=members, atoms=atoms)
        depth, width = depth or chosen.A, chosen.B
    return UDDBias(depth, width, members, atoms)


def _tanh(given: BiasConfig, warm_up: Callable[[], WarmUp]) -> TanhBias:
    depth, width = given.depth_ev, given.width
    if depth is None or width is None:
        chosen = choose_tanh(warm_up(), _ratio(given), width=width)
        depth, width = depth or chosen.depth, chosen.width
    return TanhBias(depth, width)


def _ratio(given: BiasConfig) -> float:
    return UDD_RATIO if given.strength is None else given.strength


def _needs_warm_up(given: BiasConfig) -> bool:
    return given.kind in SATURATING and (given.depth_ev is None or given.width is None)


def _scheduled(given: BiasConfig, bias: Bias | AdaptiveBias | CappedBias) -> AnyBias:
    if given.schedule_steps is None:
        return bias
    kind = Ramp if given.schedule == "ramp" else SawTooth
    return ScheduledBias(bias, kind(0.0, 1.0, given.schedule_steps))
