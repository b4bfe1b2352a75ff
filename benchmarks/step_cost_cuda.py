"""Steps on a GPU, where there is one: energy, u and forces of E + V(u) in plain torch.

`FusedStep` works on the CPU; on another device it is the collective variable that is evaluated and
differentiated, neighbours being listed once.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from step_cost_systems import ani1x, ensemble, structure
from step_cost_turns import Contender, take_turns

import uncv
from uncv.data import Batch

CASES = ((22, 1), (22, 64), (1000, 1))


class OnDevice:
    """One evaluation of W walkers on a device."""

    def __init__(self, atoms: int, walkers: int, device: str) -> None:
        frame = structure(atoms)
        many = uncv.Dataset(
            np.tile(frame.numbers, (walkers, 1)), np.tile(frame.positions, (walkers, 1, 1)),
            cell=np.tile(frame.cell, (walkers, 1, 1)), pbc=np.tile(frame.pbc, (walkers, 1)),
        )  # fmt: skip
        self.cv = ensemble(copy.deepcopy(ani1x()).to(device))
        self.batch = Batch(*(values.to(device) for values in many.to_batch()))
        self.prepared = self.cv.prepare(self.batch, 0.6)
        self.device = device

    def __call__(self) -> None:
        """Evaluate, and wait for the device."""
        leaf = self.batch.positions.detach().requires_grad_()
        out = self.cv(self.batch._replace(positions=leaf), self.prepared)
        torch.autograd.grad((out.energy - 0.5 * out.uncertainty).sum(), leaf)
        if self.device == "cuda":
            torch.cuda.synchronize()


def cuda(*, quick: bool, device: str = "cuda") -> dict[str, Any]:
    """Return milliseconds of a step on a device, or why there are none."""
    if device == "cuda" and not torch.cuda.is_available():
        return {"skipped": "torch sees no CUDA device"}
    cases = CASES[:1] if quick else CASES
    runs = {f"{a} atoms, {w} walkers": Contender(OnDevice(a, w, device)) for a, w in cases}
    times = take_turns(runs, 3 if quick else 50, warm=1 if quick else 10)
    name = torch.cuda.get_device_name() if device == "cuda" else device
    return {"device": name, "ms": {case: found.milliseconds for case, found in times.items()}}
