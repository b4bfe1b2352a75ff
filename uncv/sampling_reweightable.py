"""Whether exp(+V/k_BT) turns the frames of a run into an equilibrium average, and why not."""

from __future__ import annotations

from typing import NamedTuple

from uncv.bias import AnyBias, ExtendedBias, ScheduledBias
from uncv.driver import Driver
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
    bias: AnyBias | None, temperature: Schedule, plumed: object, driver: Driver
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
    driver : Driver
        Knows the stops, and how often a cap was reached.
    """
    changes = [_cap(driver)]
    if isinstance(bias, ScheduledBias) and bias.schedule.varies:
        changes.append("the strength of the bias changed during the run")
    if temperature.varies:
        changes.append("the temperature changed during the run")
    others = []
    if driver.stops:
        others.append(f"{len(driver.stops)} walkers were stopped and put back")
    if plumed is not None:
        others.append("PLUMED's bias may change in time: reweight by its own columns in COLVAR")
    if isinstance(bias, ExtendedBias):
        changes.append("λ of the extended bias moved: take the free energy along u of CZAR")
    adaptive = driver.native is not None and driver.native.window is not None
    first = "the adaptive bias has no potential" if adaptive else ""
    reason = "; ".join(filter(None, [first, *changes, *others]))
    return Verdict(not reason, reason, "; ".join(filter(None, changes)))


def _cap(driver: Driver) -> str:
    if driver.native is None or not driver.native.capped:
        return ""
    return f"the cap shortened the bias force in {driver.native.capped} steps of walkers"
