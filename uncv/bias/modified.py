"""Biases that change with time, or are cut where their force is too large."""

from __future__ import annotations

from dataclasses import dataclass

from uncv.bias.adaptive import AdaptiveBias
from uncv.bias.base import Bias, positive
from uncv.bias.extended import ExtendedBias
from uncv.schedule import Schedule


@dataclass(frozen=True)
class CappedBias:
    """A conservative bias whose force is shortened where it is too long, its direction kept.

    F_b → F_b · min(1, max_force / max_i |F_b,i|, max_ratio · |F| / |F_b|), with F_b = −V'(u) ∇u of
    all atoms of a walker. A shortened force has no potential: energy is not conserved from then
    on, and the run cannot be reweighted. To bound a bias by its potential take one whose slope is
    bounded: `UDDBias`, `TanhBias`, or ``max_slope`` of `HarmonicBias` and `CeilingBias`.

    Parameters
    ----------
    bias : Bias
        The conservative one.
    max_force : float, optional
        Of the bias force on any atom, eV/Å.
    max_ratio : float, optional
        Of the norms over all atoms of the bias force and the physical force.

    Raises
    ------
    TypeError
        If the bias is not a function of u alone.
    ValueError
        If there is no limit, or one that is not positive.
    """

    bias: Bias
    max_force: float | None = None
    max_ratio: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.bias, Bias):
            raise TypeError(
                f"{type(self.bias).__name__} cannot be capped; expected a bias of u alone, such as "
                "LinearBias"
            )
        if self.max_force is None and self.max_ratio is None:
            raise ValueError("there is no cap; give max_force in eV/Å, max_ratio, or both")
        for name in ("max_force", "max_ratio"):
            if (value := getattr(self, name)) is not None:
                positive(name, value)


@dataclass(frozen=True)
class ScheduledBias:
    """A bias whose strength follows a schedule: factor(step) · V(u).

    While the factor changes there is no one ensemble to reweight to, and the bias does work on the
    system; at each single step the forces are those of factor · V.

    Parameters
    ----------
    bias : Bias, AdaptiveBias or CappedBias
        At factor 1.
    schedule : Schedule
        The factor after each number of completed steps.

    Raises
    ------
    TypeError
        If the bias is another thing, or the schedule.

    Examples
    --------
    >>> from uncv.bias import LinearBias
    >>> from uncv.schedule import Ramp
    >>> ScheduledBias(LinearBias(0.5), Ramp(0.0, 1.0, steps=1000))
    ScheduledBias(bias=LinearBias(strength=0.5), schedule=Ramp(start=0.0, end=1.0, steps=1000))
    """

    bias: Bias | AdaptiveBias | CappedBias
    schedule: Schedule

    def __post_init__(self) -> None:
        if not isinstance(self.bias, Bias | AdaptiveBias | CappedBias):
            raise TypeError(
                f"{type(self.bias).__name__} cannot follow a schedule; expected a bias of uncv.bias"
            )
        if not isinstance(self.schedule, Schedule):
            raise TypeError(
                f"the schedule is a {type(self.schedule).__name__}; expected one of uncv.schedule, "
                "such as Ramp"
            )


AnyBias = Bias | AdaptiveBias | CappedBias | ScheduledBias | ExtendedBias
"""What an engine takes as ``bias=``."""


def has_potential(bias: AnyBias) -> bool:
    """Return whether the forces of a bias are, at each step, those of an energy of u.

    >>> has_potential(AdaptiveBias())
    False
    """
    inner = bias.bias if isinstance(bias, ScheduledBias) else bias
    return isinstance(inner, Bias | ExtendedBias)
