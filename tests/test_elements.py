"""Atoms sorted by element are kept for as long as the tensor is the same and unchanged."""

from __future__ import annotations

import torch

from uncv.groups import group_atoms
from uncv.models.elements import SortedAtoms, species_of

ELEMENTS = (1, 6, 8)


def same(found, numbers):
    species, groups = found
    expected = group_atoms(numbers, ELEMENTS)
    assert torch.equal(species, species_of(numbers, ELEMENTS))
    assert torch.equal(groups.back, expected.back)
    assert groups.numbers is numbers
    for one, other in zip(groups.rows, expected.rows, strict=True):
        assert torch.equal(one, other)


def test_the_same_atoms_are_sorted_once():
    sort, numbers = SortedAtoms(ELEMENTS), torch.tensor([[6, 1, 1, 8], [8, 1, 1, 0]])
    first = sort.of(numbers)
    same(first, numbers)
    assert sort.of(numbers)[1] is first[1]


def test_other_and_changed_atoms_are_sorted_anew():
    sort, numbers = SortedAtoms(ELEMENTS), torch.tensor([[6, 1, 1, 8]])
    sort.of(numbers)
    other = torch.tensor([[8, 1, 1, 6]])
    same(sort.of(other), other)
    same(sort.of(numbers), numbers)
    numbers[0, 1] = 8
    same(sort.of(numbers), numbers)


def test_atoms_of_inference_mode_are_sorted_too():
    """Their tensors do not count changes: nothing of them is kept."""
    made = SortedAtoms((1, 6))
    with torch.inference_mode():
        numbers = torch.tensor([[6, 1]])
        assert made.of(numbers)[0].tolist() == [[1, 0]]
        numbers[0, 0] = 1
        assert made.of(numbers)[0].tolist() == [[0, 0]]
