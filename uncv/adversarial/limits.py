"""Which of many structures, each with a start of its own, have become unphysical."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from uncv.adversarial.objective import Values
from uncv.data import Batch, Dataset
from uncv.errors import ConfigError
from uncv.stopping import StopChecker, StopRules
from uncv.units import Kind

SLACK = 1e-6
"""Distances so close to a limit, in Å, are left to the stop rules."""


class _Part(NamedTuple):
    """The structures of one start: their rows, real atoms, whether periodic, and their checker."""

    rows: np.ndarray
    atoms: int
    periodic: bool
    checker: StopChecker


class Limits:
    """Stop rules for F structures.

    All distances in molecules are looked at at once; only those near or past a limit, and crystals,
    are handed to the stop rules of their start, which also say why.

    Parameters
    ----------
    rules : StopRules
        The limits, without one on the force.
    starts : Dataset
        Start structures (S frames), which define the bonds.
    count : int
        Structures F, whose starts take turns.
    kind : {'energy', 'force', 'dimensionless'}
        Of the uncertainty.

    Raises
    ------
    ConfigError
        If the rules limit the force, or are for another kind of uncertainty.
    """

    def __init__(self, rules: StopRules, starts: Dataset, count: int, kind: Kind) -> None:
        if rules.max_force is not None:
            raise ConfigError(
                "max_force is set but an attack takes no forces; lower the temperature instead"
            )
        self._parts = [
            _part(rules, starts, parent, count, kind) for parent in range(min(count, len(starts)))
        ]
        self._count = count
        self._screened = not starts.pbc.any()
        self._screened &= rules.max_uncertainty is None and rules.max_atomic_uncertainty is None
        turns = torch.arange(count) % len(starts)
        low, high = _bounds(rules, starts, self._parts)
        self._low, self._high = low[turns], high[turns]

    def reasons(self, batch: Batch, values: Values) -> list[str]:
        """Return for each structure why its attack must end, '' where it may go on."""
        found = [""] * self._count
        if self._screened:
            doubtful = ~self._sound(batch, values).numpy()
            if not doubtful.any():
                return found
        else:
            doubtful = np.ones(self._count, dtype=bool)
        for part in self._parts:
            rows = part.rows[doubtful[part.rows]]
            if len(rows):
                told = _told(part, rows, batch, values)
                for row, reason in zip(rows, told, strict=True):
                    found[row] = reason
        return found

    def _sound(self, batch: Batch, values: Values) -> Tensor:
        """Return which structures (F,) are clearly within the limits of distances."""
        x = batch.positions.detach()
        apart = (x.unsqueeze(1) - x.unsqueeze(2)).square().sum(dim=3).sqrt()
        inside = ((apart > self._low) & (apart < self._high)).flatten(1).all(dim=1)
        return inside & values.energy.isfinite() & values.uncertainty.isfinite()


def _part(rules: StopRules, starts: Dataset, parent: int, count: int, kind: Kind) -> _Part:
    atoms = int(starts.frame_atoms[parent])
    checker = rules.prepare(
        starts.numbers[parent, :atoms],
        starts.positions[parent, :atoms],
        kind,
        cell=starts.cell[parent],
        pbc=starts.pbc[parent],
    )
    rows = np.arange(parent, count, len(starts))
    return _Part(rows, atoms, bool(starts.pbc[parent].any()), checker)


def _bounds(rules: StopRules, starts: Dataset, parts: list[_Part]) -> tuple[Tensor, Tensor]:
    """Return distances (S, A, A) in Å between which a pair of a molecule is clearly sound."""
    from ase.data import covalent_radii

    size = starts.positions.shape[1]
    low = np.full((len(parts), size, size), -1.0)
    high = np.full((len(parts), size, size), np.inf)
    for number, (_, atoms, _, checker) in enumerate(parts):
        radii, x = covalent_radii[starts.numbers[number, :atoms]], starts.positions[number, :atoms]
        bonded = np.zeros((atoms, atoms), dtype=bool)
        i, j = checker.bonds.T
        bonded[i, j] = bonded[j, i] = True
        nearest = rules.min_distance_factor or 0.0
        apart = max(nearest, rules.min_contact_factor or 0.0)
        factor = np.where(bonded, nearest, apart)
        contact = factor * (radii[:, None] + radii) + SLACK
        low[number, :atoms, :atoms] = np.where(
            np.eye(atoms, dtype=bool) | (factor == 0), -1, contact
        )
        length = np.linalg.norm(x[:, None] - x, axis=2)
        if rules.max_bond_factor is not None:
            longest = rules.max_bond_factor * length - SLACK
            high[number, :atoms, :atoms] = np.where(bonded, longest, np.inf)
    return torch.from_numpy(low), torch.from_numpy(high)


def _told(part: _Part, rows: np.ndarray, batch: Batch, values: Values) -> list[str]:
    """Return what the stop rules say of some structures of one start."""
    x = _plain(batch.positions)[rows, : part.atoms]
    if not part.periodic:
        x = x - x.mean(axis=1, keepdims=True)
    atomic = None if values.atomic is None else _plain(values.atomic)[rows, : part.atoms]
    return part.checker.check(
        x,
        _plain(values.energy)[rows],
        _plain(values.uncertainty)[rows],
        atomic,
        np.zeros_like(x),
        cell=_plain(batch.cell)[rows] if part.periodic else None,
    )


def _plain(values: Tensor) -> np.ndarray:
    plain: np.ndarray = values.detach().numpy()
    return plain
