"""Which frames count as the same: copies turned, shifted, permuted and mirrored, and no others."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import tiny

import uncv
from uncv.adversarial.distinct import distinct
from uncv.data import Dataset, concatenate

NONE = tiny.frames("NH3")[:0]


def copies(data: Dataset) -> Dataset:
    """A frame, and five that are the same to anything invariant."""
    x = data.positions[0]
    order = np.array([0, 3, 1, 2])
    made = [
        x,
        x + np.array([3.0, -1.0, 20.0]),
        x @ tiny.rotation(),
        x[order],
        x * np.array([1, 1, -1]),
        2 * x - x,
    ]
    return Dataset(data.numbers[0], made)


def test_copies_are_the_same():
    data = tiny.frames("NH3", seed=5)
    assert distinct(tiny.potential(), copies(data), NONE, 1e-6).tolist() == [0]


def test_known_frames_are_left_out():
    data = tiny.frames("NH3", 4, spread=0.1)
    turned = copies(data[2])[2]
    assert distinct(tiny.potential(), data, turned, 1e-6).tolist() == [0, 1, 3]


def test_the_first_of_two_is_kept():
    data = tiny.frames("NH3", 3, spread=0.1)
    both = concatenate([data[1], data, copies(data[0])[1]])
    assert distinct(tiny.potential(), both, NONE, 1e-6).tolist() == [0, 1, 3]


def test_one_atom_is_enough_however_many_there_are():
    """The far half of the atoms is untouched, and as many again do not dilute the difference."""
    data, found = tiny.frames("NH3"), []
    for molecules in (1, 12):
        shifts = 20.0 * np.arange(molecules)[:, None, None] * np.array([1.0, 0.0, 0.0])
        x = (data.positions + shifts).reshape(-1, 3)
        bent = x.copy()
        bent[1] += 0.05
        many = Dataset(np.tile(data.numbers[0], molecules), [x, bent])
        low, high = 0.0, 1.0  # the tolerance at which the two become the same
        for _ in range(14):
            middle = 0.5 * (low + high)
            same = len(distinct(tiny.potential(), many, many[:0], middle)) == 1
            low, high = (low, middle) if same else (middle, high)
        found.append(high)
    assert found[0] == pytest.approx(found[1], rel=0.1)
    assert 0.01 < found[0] < 0.99


def test_other_elements_are_other_frames():
    """The same places with another element, and other numbers of atoms."""
    data = tiny.frames("NH3")
    other = Dataset([6, 1, 1, 1], data.positions)
    fewer = Dataset([7, 1, 1], data.positions[:, :3])
    frames = concatenate([data, other, fewer])
    assert distinct(tiny.potential(), frames, NONE, 0.9).tolist() == [0, 1, 2]


def test_no_frames():
    assert len(distinct(tiny.potential(), NONE, NONE, 0.1)) == 0


def test_the_same_frames_can_be_superposed(data_dir):
    """Each duplicate lies within 0.01 Å on a frame that was kept, hydrogens in some order."""
    data = uncv.read(data_dir / "ammonia" / "ammonia.xyz", slice(36))
    kept = distinct(tiny.potential(), data, data[:0], 0.003)
    x = data.positions - data.positions.mean(axis=1, keepdims=True)
    dropped = np.setdiff1d(np.arange(len(data)), kept)
    assert len(dropped) > 10
    orders = [[0, *order] for order in permutations((1, 2, 3))]
    targets = np.concatenate([x[kept][:, order] * sign for order in orders for sign in (1, -1)])
    for frame in x[dropped]:
        assert superposed(frame, targets).min() < 0.01


def superposed(frame: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The largest distance of an atom (A, 3) from its target (T, A, 3), turned the best: Kabsch."""
    left, _, right = np.linalg.svd(np.einsum("ai,taj->tij", frame, targets))
    sign = np.sign(np.linalg.det(left @ right))
    left[:, :, 2] *= sign[:, None]
    return np.linalg.norm(frame @ (left @ right) - targets, axis=2).max(axis=1)
