"""Whether exp(+V/k_BT) turns the frames of a run into an equilibrium average, and why not."""

from __future__ import annotations

from typing import NamedTuple

from uncv.bias import AdaptiveBias, AnyBias, ExtendedBias, ScheduledBias
from uncv.schedule import Schedule


class Verdict(NamedTuple):
    """Whether a run can be reweighted by its bias energies.

    Attributes
    ----------
    reweightable : bool
        The answer.
    reason : str
        All that speaks against it; '' if nothing does.
    changed : str
        The part about V or the temperature, which no other column of the frames shows.
    """

    reweightable: bool
    reason: str
    changed: str


def judge_run(
    bias: AnyBias | None, temperature: Schedule, plumed: object, *, stops: int, capped: int
) -> Verdict:
    """Return whether a finished run can be reweighted by the bias energies of its frames.

    Parameters
    ----------
    bias : AnyBias or None
        The native bias.
    temperature : Schedule
        Of the thermostat.
    plumed : object
        PLUMED's input, None without.
    stops : int
        How often a walker was stopped.
    capped : int
        Steps of walkers at which a cap was reached.
    """
    cap = f"the cap shortened the bias force in {capped} steps of walkers" if capped else ""
    changes = [cap]
    if isinstance(bias, ScheduledBias) and bias.schedule.varies:
        changes.append("the strength of the bias changed during the run")
    if temperature.varies:
        changes.append("the temperature changed during the run")
    others = []
    if stops:
        others.append(f"{stops} walkers were stopped and put back")
    if plumed is not None:
        others.append("PLUMED's bias may change in time: reweight by its own columns in COLVAR")
    if isinstance(bias, ExtendedBias):
        changes.append("λ of the extended bias moved: take the free energy along u of CZAR")
    inner = bias.bias if isinstance(bias, ScheduledBias) else bias
    adaptive = isinstance(inner, AdaptiveBias)
    first = "the adaptive bias has no potential" if adaptive else ""
    reason = "; ".join(filter(None, [first, *changes, *others]))
    return Verdict(not reason, reason, "; ".join(filter(None, changes)))
