"""Where the time of a step goes: calls of the library, timed where they are made.

While `Spans` is entered, the functions of `WATCHED` note when they begin and end. A part gets what
its calls take without the watched calls inside them, so that the parts add up to the whole; what is
in no call of the model is the engine's.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from importlib import import_module
from operator import attrgetter
from typing import Any, Self
from unittest.mock import patch

ENGINE, REST = "engine", "other Python and torch"
PARTS = (
    "neighbours", "descriptor", "networks", "descriptor, backward", "networks, backward",
    "other backward", "uncertainty", REST, "PLUMED", ENGINE,
)  # fmt: skip
WATCHED = {
    "uncv.openmm.forces:DriverCallback.__call__": REST,
    "uncv.step:FusedStep.forward": REST,
    "uncv.step:FusedStep.derivatives": REST,
    "uncv.cv:UncertaintyCV.prepare": "neighbours",
    "uncv.models.kernel:describe": "descriptor",
    "uncv.models.aev:Aev.forward": "descriptor",
    "uncv.models.kernel:pull_back": "descriptor, backward",
    "uncv.models.kernel:push_forward": "descriptor, backward",
    "uncv.models.kernel:curve": "other backward",
    "uncv.models.pairs:vectors_of": "descriptor",
    "uncv.models.pairs:gather": "descriptor, backward",
    "uncv.models.readout_kernel:CompiledNetworks.run": "networks",
    "uncv.models.readout_kernel:CompiledNetworks.back": "networks, backward",
    "uncv.models.readout_pass:combine": "networks, backward",
    "uncv.models.member_table:MemberTable.describe": "descriptor",
    "uncv.models.member_table:MemberTable.read": "networks",
    "uncv.models.member_table:MemberTable.combine": "networks, backward",
    "uncv.models.member_table:MemberTable.gather": "descriptor, backward",
    "uncv.models.ani_readout:AniReadout.read": "networks",
    "uncv.models.ani:tape_pass": "networks",
    "uncv.models.ani:read_with_forces": "networks",
    "torch.autograd:grad": "other backward",
    "uncv.step_spread:SpreadSteps.spread": "uncertainty",
    "uncv.uncertainty.ensemble:EnsembleUncertainty.forward": "uncertainty",
    "uncv.uncertainty.gradient:GradientUncertainty.forward": "uncertainty",
    "uncv.uncertainty.gmm:GMMUncertainty.forward": "uncertainty",
    "uncv.uncertainty.mve:MVEUncertainty.forward": "uncertainty",
    "uncv.uncertainty.evidential:EvidentialUncertainty.forward": "uncertainty",
    "uncv.plumed.walkers:PlumedWalkers.check_time": "PLUMED",
    "uncv.plumed.walkers:PlumedWalkers.begin": "PLUMED",
    "uncv.plumed.walkers:PlumedWalkers.needs": "PLUMED",
    "uncv.plumed.walkers:PlumedWalkers.finish": "PLUMED",
    "uncv.plumed.walkers:PlumedWalkers.stopped": "PLUMED",
}


@cache
def watched_places() -> dict[tuple[Any, str], str]:
    """Return the parts of `WATCHED` by module or class and name."""
    found = {}
    for place, part in WATCHED.items():
        module, _, path = place.partition(":")
        *owner, name = path.split(".")
        where: Any = import_module(module)
        found[attrgetter(".".join(owner))(where) if owner else where, name] = part
    return found


class Spans:
    """Times parts of what runs inside ``with spans:``.

    Attributes
    ----------
    seconds : dict
        Of each part since `clear`; they add up to the time inside ``with``.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._open: list[str] = []
        self._since = 0.0
        self._patches = ExitStack()

    def clear(self) -> None:
        """Begin anew."""
        self.seconds = dict.fromkeys(PARTS, 0.0)

    def __enter__(self) -> Self:
        for (where, name), part in watched_places().items():
            watched = self._watch(getattr(where, name), part)
            self._patches.enter_context(patch.object(where, name, watched))
        self._since = time.perf_counter()
        self._open.append(ENGINE)
        return self

    def __exit__(self, *_: object) -> None:
        self._note()
        self._open.pop()
        self._patches.close()

    def _note(self) -> None:
        """Give the time since the last note to the part that is open."""
        now = time.perf_counter()
        self.seconds[self._open[-1]] += now - self._since
        self._since = now

    def _watch(self, call: Callable[..., Any], part: str) -> Callable[..., Any]:
        @functools.wraps(call)
        def watched(*given: Any, **named: Any) -> Any:
            self._note()
            self._open.append(part)
            try:
                return call(*given, **named)
            finally:
                self._note()
                self._open.pop()

        return watched
