"""The table of the members' energies: padded frames, memory that is kept, whose it is."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import tiny
import torch

from uncv.models import library
from uncv.models.member_table import MemberTable

pytestmark = pytest.mark.skipif(not library.available(), reason=library.why_not() or "built")


def expected_of(potential, data, cotangents):
    """Atomic energies, and the gradient of their weighted sum, by autograd."""
    batch = data.to_batch()
    leaf = batch.positions.clone().requires_grad_()
    said = potential(batch._replace(positions=leaf)).atomic_energies
    (gradient,) = torch.autograd.grad(said, leaf, torch.tensor(cotangents))
    return said.detach().numpy(), gradient.numpy()


def table_of(potential, data, former=None) -> MemberTable:
    found = potential.table(potential.prepare(data.to_batch()), former)
    assert isinstance(found, MemberTable)
    return found


def test_padded_frames_are_those_of_autograd(rng):
    potential, data = tiny.potential(), tiny.mixed()
    table = table_of(potential, data)
    weights = rng.normal(size=(2, 3, *data.numbers.shape))
    for _ in range(2):  # the second time in memory that was used
        energies = table.energies(data.positions, None)
        found = table.pull_back(list(weights), strain=False)
        for index, one in enumerate(weights):
            said, gradient = expected_of(potential, data, one)
            np.testing.assert_allclose(energies, said, atol=1e-12)
            np.testing.assert_allclose(found.positions[index], gradient, atol=1e-11)
        assert (found.positions[:, data.numbers == 0] == 0.0).all()
        assert found.strain is None


def test_one_number_for_all_members_and_atoms_fills_the_table():
    potential, data = tiny.potential(), tiny.frames("CH3OH", 2)
    table = table_of(potential, data)
    table.energies(data.positions, None)
    (found,) = table.pull_back([np.array(0.5)], strain=False).positions
    _, expected = expected_of(potential, data, np.full((3, *data.numbers.shape), 0.5))
    np.testing.assert_allclose(found, expected, atol=1e-11)


def test_neighbours_that_grow_in_number_find_room():
    """The same atoms, far apart and then close."""
    potential, data = tiny.potential(), tiny.frames("CH3CH2OH")
    numbers = data.to_batch().numbers
    table = None
    for size in (3.0, 1.0, 0.7, 1.5):
        batch = tiny.Dataset(data.numbers, size * data.positions).to_batch()
        prepared = potential.prepare(batch._replace(numbers=numbers))
        former, table = table, potential.table(prepared, table)
        assert former is None or former is table
        weights = np.ones((3, *data.numbers.shape))
        moved = tiny.Dataset(data.numbers, size * data.positions)
        said, gradient = expected_of(potential, moved, weights)
        np.testing.assert_allclose(table.energies(moved.positions, None), said, atol=1e-12)
        (found,) = table.pull_back([weights], strain=False).positions
        np.testing.assert_allclose(found, gradient, atol=1e-10 * max(1.0, np.abs(gradient).max()))


def test_a_table_is_of_its_members_and_atoms():
    potential, data = tiny.potential(), tiny.frames("CH3OH")
    table = table_of(potential, data)
    other = table_of(potential, data, table)  # another tensor of the same numbers
    assert other is not table
    with torch.no_grad():
        potential.networks[0].first.bias.add_(1.0)
    assert table_of(potential, data, other) is not other
    assert potential.table(potential.prepare(data.to_batch()), None) is not None
    assert pickle.loads(pickle.dumps(table)) is None


def test_what_is_not_compiled_has_no_table():
    data = tiny.frames("CH3OH")
    trained = tiny.potential().requires_grad_(True)
    headed = tiny.potential(head="evidential")
    for potential in (trained, headed):
        assert potential.table(potential.prepare(data.to_batch()), None) is None


def test_wrong_neighbours_are_refused():
    potential, data = tiny.potential(), tiny.frames("CH3OH")
    prepared = potential.prepare(data.to_batch())
    prepared.graph.other_species[0] = 9
    table = potential.table(prepared, None)
    with pytest.raises(ValueError, match="do not describe pairs sorted by centre"):
        table.energies(data.positions, None)
