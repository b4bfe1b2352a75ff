"""Gradient ascent of many structures at once, each keeping the best it has found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uncv.adversarial.base import Geometry, Motion, Move
from uncv.adversarial.limits import Limits
from uncv.adversarial.objective import Objective, Values
from uncv.cv import Prepared, UncertaintyCV, check_gradient, gradient_of_uncertainty
from uncv.data import Batch

FloatArray = NDArray[np.float64]
SKIN = 0.6
"""Extra distance of the neighbour lists in Å, while the cell stays."""
NOT_FINITE = "the loss or its gradient is not finite"


class Ascent(NamedTuple):
    """Where F structures came to.

    Attributes
    ----------
    positions, cell : numpy.ndarray
        Of the best step of each (F, A, 3), (F, 3, 3), Å.
    step : numpy.ndarray
        Number of that step (F,), from 0; −1 where not even the first was sound.
    loss : numpy.ndarray
        Of every step taken (S, F); NaN once an attack has ended.
    reasons : tuple of str
        Why each attack ended, '' where it took all steps.
    """

    positions: FloatArray
    cell: FloatArray
    step: NDArray[np.int64]
    loss: FloatArray
    reasons: tuple[str, ...]


def ascend(
    objective: Objective,
    start: Batch,
    moves: Sequence[tuple[Move, Motion]],
    limits: Limits,
    steps: int,
    first: Sequence[FloatArray],
    progress: Callable[[int, int], None] | None = None,
) -> Ascent:
    """Climb by Adam, all structures as one batch.

    Parameters
    ----------
    objective : Objective
        What is climbed.
    start : Batch
        F structures.
    moves : sequence of (Move, Motion)
        What changes, in the order in which it acts.
    limits : Limits
        When an attack ends.
    steps : int
        Steps of each, at most.
    first : sequence of numpy.ndarray
        For each move the parameters (F, ...) that attacks begin with.
    progress : callable, optional
        Called with steps done and steps in all.

    Raises
    ------
    GradientError
        If the uncertainty does not depend on what moves, anywhere.
    """
    climb = _Climb(objective, start, moves, limits, first)
    for step in range(steps + 1):
        values = climb.look(step)
        if step == steps or not climb.active.any():
            break
        climb.move(values, check=step == 0)
        if progress is not None:
            progress(step + 1, steps)
    return climb.found()


def moved(start: Batch, motions: Sequence[Motion], values: Sequence[Tensor]) -> Batch:
    """Return structures moved by the parameters (F, ...) of each motion, one after the other."""
    geometry = Geometry(start.positions, start.cell)
    for motion, given in zip(motions, values, strict=True):
        geometry = motion.moved(geometry, given)
    return start._replace(positions=geometry.positions, cell=geometry.cell)


class _Climb:
    """The state of an ascent."""

    def __init__(
        self,
        objective: Objective,
        start: Batch,
        moves: Sequence[tuple[Move, Motion]],
        limits: Limits,
        first: Sequence[FloatArray],
    ) -> None:
        self._objective, self._start, self._limits = objective, start, limits
        self._motions = [motion for _, motion in moves]
        drawn = [torch.from_numpy(np.array(x, dtype=np.float64)) for x in first]
        inside = [m.projected(x) for m, x in zip(self._motions, drawn, strict=True)]
        self._leaves = [x.requires_grad_() for x in inside]
        groups = [
            {"params": [leaf], "lr": move.rate}
            for leaf, (move, _) in zip(self._leaves, moves, strict=True)
        ]
        self._adam = torch.optim.Adam(groups, maximize=True)
        self._neighbours = _Neighbours(objective.cv)
        count = len(start.positions)
        self.active = torch.ones(count, dtype=torch.bool)
        self._reasons = [""] * count
        self._best = start._replace(positions=start.positions.clone(), cell=start.cell.clone())
        self._best_loss = torch.full((count,), -torch.inf, dtype=torch.float64)
        self._best_step = torch.full((count,), -1, dtype=torch.int64)
        self._history: list[Tensor] = []

    def look(self, step: int) -> Values:
        """Evaluate all structures, end attacks and keep what is better than before."""
        batch = moved(self._start, self._motions, self._leaves)
        values = self._objective(batch, self._neighbours.of(batch))
        loss = values.loss.detach()
        for row, reason in enumerate(self._limits.reasons(batch, values)):
            if reason and self.active[row]:
                self._end(row, reason)
        for row in (self.active & ~loss.isfinite()).nonzero().flatten().tolist():
            self._end(row, NOT_FINITE)
        better = self.active & (loss > self._best_loss)
        self._best_loss[better] = loss[better]
        self._best_step[better] = step
        self._best.positions[better] = batch.positions.detach()[better]
        self._best.cell[better] = batch.cell.detach()[better]
        self._history.append(torch.where(self.active, loss, torch.nan))
        return values

    def move(self, values: Values, *, check: bool) -> None:
        """Take a step; structures whose attack has ended wait at their start."""
        if check:
            self._check(values)
        found = torch.autograd.grad(values.loss, self._leaves, self.active.to(torch.float64))
        for gradient in found:
            sound = gradient.flatten(1).isfinite().all(dim=1)
            for row in (self.active & ~sound).nonzero().flatten().tolist():
                self._end(row, NOT_FINITE)
        for leaf, gradient in zip(self._leaves, found, strict=True):
            leaf.grad = torch.where(_rows(self.active, leaf), gradient, 0.0)
        self._adam.step()
        with torch.no_grad():
            for leaf, motion in zip(self._leaves, self._motions, strict=True):
                inside = motion.projected(leaf)
                leaf.copy_(torch.where(_rows(self.active, leaf), inside, 0.0))

    def found(self) -> Ascent:
        """Return the best of each."""
        return Ascent(
            self._best.positions.numpy(),
            self._best.cell.numpy(),
            self._best_step.numpy(),
            torch.stack(self._history).numpy(),
            tuple(self._reasons),
        )

    def _end(self, row: int, reason: str) -> None:
        self.active[row] = False
        self._reasons[row] = reason

    def _check(self, values: Values) -> None:
        """Refuse an uncertainty that has no gradient while the energy has one."""
        leaves, rows = tuple(self._leaves), self.active
        of_u = gradient_of_uncertainty(values.uncertainty, leaves)
        of_energy = torch.autograd.grad(values.energy.sum(), leaves, retain_graph=True)
        for u, energy in zip(of_u, of_energy, strict=True):
            check_gradient(u[rows], energy[rows])


class _Neighbours:
    """Neighbour lists that are made anew when an atom or a cell has moved too far."""

    def __init__(self, cv: UncertaintyCV) -> None:
        self._cv = cv
        self._listed: Batch | None = None
        self._prepared: Prepared | None = None

    def of(self, batch: Batch) -> Prepared:
        """Return the neighbours of a batch."""
        if self._prepared is None or not self._valid(batch):
            positions, cell = batch.positions.detach().clone(), batch.cell.detach().clone()
            self._listed = batch._replace(positions=positions, cell=cell)
            self._prepared = self._cv.prepare(self._listed, SKIN)
        return self._prepared

    def _valid(self, batch: Batch) -> bool:
        if self._listed is None or not torch.equal(batch.cell, self._listed.cell):
            return False
        moves = (batch.positions.detach() - self._listed.positions).square().sum(dim=2)
        return bool(moves.max() < (0.5 * SKIN) ** 2)


def _rows(active: Tensor, like: Tensor) -> Tensor:
    return active.view(-1, *[1] * (like.dim() - 1))
