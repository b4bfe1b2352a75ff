"""Where the time of a step in OpenMM goes: one thing varied at a time from a base case.

The base is alanine dipeptide (22 atoms), one walker, the eight members of ANI-1x, a bias on the
spread of their energies, the Python backend, one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from openmm import app
from step_cost_simulation import simulation
from step_cost_spans import ENGINE, PARTS, Spans
from step_cost_systems import (
    MIL53,
    EnergyAlone,
    ani1x,
    drawn,
    ensemble,
    fitted,
    structure,
)
from step_cost_turns import Contender, Took, take_turns

import uncv

EXPORTED = "exported model and engine"
ALONE: dict[str, tuple[str, Callable[[], Any]]] = {
    "posterior, last layer": ("", lambda: uncv.GradientUncertainty("posterior", "last_layer")),
    "posterior, sketched": ("", lambda: uncv.GradientUncertainty("posterior", "sketched")),
    "distance, last layer": ("", lambda: uncv.GradientUncertainty("distance", "last_layer")),
    "distance, sketched": ("", lambda: uncv.GradientUncertainty("distance", "sketched")),
    "GMM, last layer": ("", lambda: uncv.GMMUncertainty(features="last_layer")),
    "GMM, descriptor": ("", lambda: uncv.GMMUncertainty(features="descriptor")),
    "mean-variance": ("mean_variance", uncv.MVEUncertainty),
    "evidential": ("evidential", uncv.EvidentialUncertainty),
}
"""Uncertainties of one model: its head, and how to make them."""


@dataclass(frozen=True)
class Case:
    """One row of the profile."""

    atoms: int = 22
    walkers: int = 1
    members: int = 8
    estimator: str = "energy"
    backend: str = "python"
    plumed: bool = False
    threads: int = 1


def cases(*, quick: bool) -> list[Case]:
    """Return the rows; quick: one of each kind of path."""
    base = Case()
    if quick:
        return [base, replace(base, walkers=2, plumed=True), replace(base, members=1)]
    sizes = [replace(base, atoms=n) for n in (76, 200, 1000) if n != 76 or MIL53.is_file()]
    return [
        base,
        *sizes,
        *(replace(base, walkers=w) for w in (8, 64)),
        *(replace(base, members=m) for m in (4, 2, 1)),
        *(replace(base, estimator=of) for of in ("atomic_energy", "forces")),
        *(replace(base, estimator=name, members=1) for name in ALONE),
        *(replace(base, plumed=True, walkers=w) for w in (1, 8)),
        *(replace(base, backend="torchforce", walkers=w) for w in (1, 8)),
        replace(base, backend="torchforce", atoms=200),
        *(replace(base, threads=2, walkers=w) for w in (1, 8, 64)),
        *(replace(one, threads=2) for one in sizes[-2:]),
    ]


def variable(case: Case) -> uncv.UncertaintyCV:
    """Return potential and uncertainty of a row."""
    frame = structure(case.atoms)
    if case.estimator in ALONE:
        head, make = ALONE[case.estimator]
        return fitted(make(), drawn(frame.elements, 1, head, "silu"), frame)
    if case.members == 1:
        return uncv.UncertaintyCV(drawn(frame.elements, 1), EnergyAlone())
    return ensemble(_ensemble(case, frame), case.estimator)


def _ensemble(case: Case, frame: uncv.Dataset) -> Any:
    if case.estimator == "forces":  # their spread wants smooth networks
        return drawn(frame.elements, case.members, activation="silu")
    is_ani1x = case.members == 8 and set(frame.elements) <= {1, 6, 7, 8}
    return ani1x() if is_ani1x else drawn(frame.elements, case.members)


class Row:
    """A simulation of one row, and what its steps took so far."""

    def __init__(self, case: Case, folder: Path, seconds: float) -> None:
        self.case = case
        self.cv = variable(case)
        temperature = 300.0 if self.cv.potential is ani1x() else 1.0
        self.run: app.Simulation = simulation(
            self.cv,
            structure(case.atoms),
            walkers=case.walkers,
            backend=case.backend,
            plumed=folder if case.plumed else None,
            temperature=temperature,
        )
        torch.set_num_threads(case.threads)
        self.run.step(5)
        begun = time.perf_counter()
        self.run.step(3)
        self.steps = int(np.clip(seconds * 3 / (time.perf_counter() - begun), 6, 200))
        self.turns: list[dict[str, float]] = []

    def turn(self) -> Took:
        """Make the steps of a turn and note where their time went."""
        torch.set_num_threads(self.case.threads)
        processor = time.process_time()
        with Spans() as spans:
            self.run.step(self.steps)
        took = Took(sum(spans.seconds.values()), time.process_time() - processor)
        if self.case.backend == "torchforce":  # no watching inside of it
            spans.seconds[EXPORTED] = spans.seconds.pop(ENGINE)
        self.turns.append(spans.seconds)
        return took


def profile(folder: Path, *, turns: int, seconds: float, quick: bool) -> list[dict[str, Any]]:
    """Return each row's milliseconds of a step, by the clock and processor, and its parts."""
    rows = []
    for number, case in enumerate(cases(quick=quick)):
        rows.append(Row(case, folder / str(number), seconds))
    named = {str(n): Contender(row.turn, row.steps) for n, row in enumerate(rows)}
    times = take_turns(named, turns, warm=1)
    found = []
    for name, row in zip(named, rows, strict=True):
        kept = row.turns[1:]
        total = sum(sum(turn.values()) for turn in kept)
        found.append(
            asdict(row.case)
            | {
                "steps": row.steps * turns,
                "ms": total / (row.steps * turns) * 1e3,
                "processor_ms": float(times[name].processor.mean() * 1e3),
                "shares": {
                    part: sum(turn.get(part, 0.0) for turn in kept) / total
                    for part in (*PARTS, EXPORTED)
                },
            }
        )
        if row.case.plumed:
            uncv.openmm.finish(row.run)
            row.run.system.uncv_driver.close()
    return found
