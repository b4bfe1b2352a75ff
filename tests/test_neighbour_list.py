"""The compiled neighbour list against plain torch, pair by pair, and given broken input."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch

from uncv.data import Batch
from uncv.models import library
from uncv.models.aev import Aev, AevSettings
from uncv.models.neighbour_list import ListedGraph

needs_library = pytest.mark.skipif(not library.available(), reason=library.why_not() or "built")
pytestmark = needs_library
PERIODIC = [(False,) * 3, (True,) * 3, (True, True, False), (False, False, True)]


def frames(seed: int, pbc: tuple[bool, ...], atoms: int = 9) -> Batch:
    """Padded frames in random triclinic cells, some smaller than the cutoff."""
    rng = np.random.default_rng(seed)
    number = int(rng.integers(1, 4))
    sides = rng.uniform(2.0, 14.0, size=3)
    cell = np.diag(sides) + 0.8 * rng.normal(size=(number, 3, 3))
    cell[:, ~np.array(pbc)] = 0.0
    species = rng.integers(-1, 4, size=(number, atoms))
    positions = rng.uniform(-5.0, 8.0, size=(number, atoms, 3))
    directions = np.broadcast_to(np.array(pbc), (number, 3)).copy()
    return Batch(*(torch.from_numpy(x) for x in (species, positions, cell, directions)))


def both(batch: Batch) -> tuple:
    aev = Aev(4, AevSettings()).to(torch.float64)
    plain = aev.graph(batch.numbers, batch.positions, batch.cell, batch.pbc, 0.6)
    return plain, ListedGraph(aev, batch.numbers, batch, 0.6)


def check(batch: Batch) -> int:
    expected, found = both(batch)
    assert found.atoms == expected.atoms
    for name in ("begin", "other_species"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    for name in ("pairs", "triples"):
        for one, other in zip(getattr(found, name), getattr(expected, name), strict=True):
            assert torch.equal(one, other), name
    return len(expected.pairs.centre)


@pytest.mark.parametrize("pbc", PERIODIC)
def test_pairs_and_triples_are_those_of_plain_torch(pbc):
    assert sum(check(frames(seed, pbc)) for seed in range(12)) > 50


def test_many_atoms_in_many_bins(rng):
    x = torch.from_numpy(rng.uniform(0.0, 22.0, size=(1, 260, 3)))
    species = torch.zeros((1, 260), dtype=torch.int64)
    cell = torch.diag(torch.full((3,), 22.0, dtype=torch.float64)).unsqueeze(0)
    for pbc in (False, True):
        box = cell if pbc else torch.zeros_like(cell)
        assert check(Batch(species, x, box, torch.full((1, 3), pbc))) > 3000


def test_atoms_far_apart_need_no_more_memory():
    x = torch.zeros((1, 3, 3), dtype=torch.float64)
    x[0, 1, 0], x[0, 2] = 1.1, torch.tensor([1e9, -1e9, 1e9])
    nothing = torch.zeros((1, 3, 3), dtype=torch.float64)
    batch = Batch(torch.zeros((1, 3), dtype=torch.int64), x, nothing, nothing[:, 0] > 0)
    assert check(batch) == 2


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("pbc", [(False,) * 3, (True,) * 3])
def test_an_atom_that_is_nowhere_has_no_neighbours(pbc, value):
    batch = frames(3, pbc)
    batch.positions[0, 1, 2] = value
    _, found = both(batch)
    lost = 1
    assert not ((found.pairs.centre == lost) | (found.pairs.other == lost)).any()


def test_single_precision_takes_its_own_type():
    batch = tiny.crystal().to_batch()
    single = batch._replace(positions=batch.positions.float(), cell=batch.cell.float())
    aev = Aev(4, tiny.AEV)
    graph = ListedGraph(aev, torch.zeros_like(batch.numbers), single, 0.0)
    assert graph.pairs.shift.dtype is torch.float32
    assert len(graph.pairs.centre) > 0
