"""Neighbours against ASE's list, pair by pair."""

from __future__ import annotations

import ase
import numpy as np
import pytest
import tiny
import torch
from ase.neighborlist import neighbor_list

from uncv.data import concatenate
from uncv.models.neighbours import find_pairs, image_shifts, pair_vectors, wrap

TRICLINIC = np.array([[3.1, 0.0, 0.0], [0.9, 4.2, 0.0], [-0.7, 1.1, 5.0]])
SKEWED = np.array([[3.0, 0.0, 0.0], [7.5, 3.2, 0.0], [-4.0, 6.0, 3.5]])  # far from reduced
CASES = {
    "no cell": (np.zeros((3, 3)), (False,) * 3),
    "large cell": (np.diag([12.0, 13.0, 14.0]), (True,) * 3),
    "cell below the cutoff": (np.diag([2.6, 3.0, 3.4]), (True,) * 3),
    "triclinic": (TRICLINIC, (True,) * 3),
    "skewed": (SKEWED, (True,) * 3),
    "left-handed": (TRICLINIC[[1, 0, 2]], (True,) * 3),
    "slab": (TRICLINIC, (True, True, False)),
    "wire without other vectors": (np.diag([3.0, 0.0, 0.0]), (True, False, False)),
}


def ours(data, cutoff):
    """The pairs of each frame as sorted rows: centre, other, vector."""
    batch = data.to_batch()
    mask = batch.numbers > 0
    pairs = find_pairs(batch.positions, batch.cell, batch.pbc, mask, cutoff)
    vectors = pair_vectors(batch.positions, batch.cell, pairs).numpy()
    centre, other = pairs.centre.numpy(), pairs.other.numpy()
    assert (np.diff(centre) >= 0).all()
    atoms = data.positions.shape[1]
    assert (centre // atoms == other // atoms).all()
    found = []
    for frame in range(len(data)):
        here = centre // atoms == frame
        found.append(rows(centre[here] % atoms, other[here] % atoms, vectors[here]))
    return found


def rows(centre, other, vectors):
    table = np.column_stack([centre, other, np.round(vectors, 8)]) + 0.0
    return table[np.lexsort(table.T[::-1])]


def ases(data, frame, cutoff):
    real = data.mask[frame]
    atoms = ase.Atoms(
        data.numbers[frame][real],
        data.positions[frame][real],
        cell=data.cell[frame],
        pbc=data.pbc[frame],
    )
    return rows(*neighbor_list("ijD", atoms, cutoff))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("outside", [0.0, 1.0], ids=["inside", "outside the cell"])
def test_pairs_are_ases(case, outside, rng):
    cell, pbc = CASES[case]
    full = np.where(np.abs(cell).sum(axis=1, keepdims=True) > 0, cell, 4 * np.eye(3))
    scaled = rng.random((3, 5, 3)) + outside * rng.integers(-3, 4, (3, 5, 3))
    data = tiny.Dataset([1, 6, 7, 8, 1], scaled @ full, cell=cell, pbc=pbc)
    for cutoff in (2.0, 5.2):
        found = ours(data, cutoff)
        for frame in range(3):
            expected = ases(data, frame, cutoff)
            assert found[frame].shape == expected.shape
            np.testing.assert_allclose(found[frame], expected, atol=1e-6)


def test_a_batch_of_molecules_and_crystals_is_its_parts():
    data = concatenate([tiny.frames("CH3OH"), tiny.crystal(2), tiny.frames("H2O")])
    found = ours(data, 4.0)
    for frame in range(len(data)):
        np.testing.assert_allclose(found[frame], ases(data, frame, 4.0), atol=1e-6)
    assert len(found[1]) > 20


def test_a_lone_atom_sees_its_own_images_only():
    alone = tiny.Dataset([6], np.zeros((1, 1, 3)))
    assert len(ours(alone, 5.0)[0]) == 0
    crystal = tiny.Dataset([6], np.zeros((1, 1, 3)), cell=3.0 * np.eye(3))
    (found,) = ours(crystal, 3.1)
    assert len(found) == 6
    np.testing.assert_allclose(np.linalg.norm(found[:, 2:], axis=1), 3.0)


def test_wrapping_moves_by_whole_cells():
    data = tiny.crystal(2)
    batch = data.to_batch()
    wrapped, home = wrap(batch.positions, batch.cell, batch.pbc)
    scaled = wrapped.numpy() @ np.linalg.inv(data.cell)
    assert scaled.min() > -1e-12
    assert scaled.max() < 1 + 1e-12
    assert (home == home.round()).all()
    back = wrapped + home @ batch.cell
    np.testing.assert_allclose(back.numpy(), data.positions, atol=1e-12)


def test_images_reach_as_far_as_the_cutoff():
    cell = torch.diag(torch.tensor([2.0, 10.0, 4.9], dtype=torch.float64))[None]
    shifts = image_shifts(cell, torch.tensor([[True, True, False]]), 5.0)
    assert shifts.abs().amax(dim=0).tolist() == [3, 1, 0]
    assert len(torch.unique(shifts, dim=0)) == 7 * 3


def test_vectors_are_differentiable_in_positions_and_cell():
    batch = tiny.crystal().to_batch()
    mask = batch.numbers > 0
    pairs = find_pairs(batch.positions, batch.cell, batch.pbc, mask, 3.5)
    positions, cell = batch.positions.requires_grad_(), batch.cell.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, box: pair_vectors(x, box, pairs).square().sum(), (positions, cell)
    )
