"""Steps of a biased ensemble without an engine, on positions that tremble."""

from __future__ import annotations

import numpy as np
from step_cost_spans import Spans
from step_cost_systems import ani1x, ensemble, structure

from uncv.step import FusedStep


class Stepper:
    """The eight members of ANI-1x, W walkers of one structure.

    Parameters
    ----------
    atoms, walkers : int
        See `step_cost_systems.structure`.
    slope : float
        dV/du; 0 for steps without a bias.

    Attributes
    ----------
    seconds : list of dict
        Of each part, of each turn.
    """

    def __init__(self, atoms: int, walkers: int, *, slope: float = -0.5) -> None:
        frame = structure(atoms)
        periodic = bool(frame.pbc.all())
        self.step = FusedStep(ensemble(ani1x()), frame.numbers[0], walkers, periodic=periodic)
        self.seconds: list[dict[str, float]] = []
        self._cell = frame.cell[0] if periodic else None
        noise = np.random.default_rng(0).normal(size=(8, walkers, *frame.positions.shape[1:]))
        self._positions = list(frame.positions + 0.01 * noise)
        self._slope, self._weight = np.full(walkers, slope), np.ones(walkers)
        self._turn = 0

    def __call__(self) -> None:
        """Make one step: energy, u, forces of E + V(u)."""
        self._turn += 1
        self.step.forward(self._positions[self._turn % 8], self._cell)
        self.step.forces(self._slope, self._weight)

    def watched(self) -> None:
        """Make one step and note where its time goes."""
        with Spans() as spans:
            self()
        self.seconds.append(spans.seconds)
