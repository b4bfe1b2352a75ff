"""The elements that a potential knows: their indices and their reference energies."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from ase.data import chemical_symbols
from torch import Tensor

from uncv.errors import ElementError
from uncv.groups import AtomGroups, group_atoms

HIGHEST = 118


def species_of(numbers: Tensor, elements: Sequence[int]) -> Tensor:
    """Return the index of each atom's element, −1 on padding.

    Parameters
    ----------
    numbers : torch.Tensor
        Atomic numbers, 0 on padding.
    elements : sequence of int
        Atomic numbers that the potential knows, in its order.

    Raises
    ------
    ElementError
        If the potential does not know an element.
    """
    table = torch.full((HIGHEST + 1,), -2, dtype=torch.int64, device=numbers.device)
    table[0] = -1
    table[list(elements)] = torch.arange(len(elements), device=numbers.device)
    species = table[numbers]
    if bool((species < -1).any()):
        strange = sorted({chemical_symbols[int(z)] for z in numbers[species < -1]})
        known = ", ".join(chemical_symbols[z] for z in elements)
        raise ElementError(
            f"the structure contains {', '.join(strange)} but the potential knows {known}; "
            "use a potential trained with these elements"
        )
    return species


class SortedAtoms:
    """Species and groups of atoms, kept for those that were asked for last.

    Neighbour lists of the same atoms are made again and again.

    Parameters
    ----------
    elements : sequence of int
        Atomic numbers that the potential knows, in its order.
    """

    def __init__(self, elements: Sequence[int]) -> None:
        self._elements = tuple(elements)
        self._last: tuple[Tensor, int, Tensor, AtomGroups] | None = None

    def of(self, numbers: Tensor) -> tuple[Tensor, AtomGroups]:
        """Return what `species_of` and `group_atoms` do, at once if the tensor is unchanged."""
        # Tensors of torch's inference mode do not count their changes, and are never kept.
        version = -1 if numbers.is_inference() else numbers._version  # noqa: SLF001
        if self._last is not None and self._last[0] is numbers and self._last[1] == version >= 0:
            return self._last[2:]
        species = species_of(numbers, self._elements)
        groups = group_atoms(numbers, self._elements)
        self._last = (numbers, version, species, groups) if version >= 0 else None
        return species, groups


def sum_references(numbers: Tensor, elements: Sequence[int], energies: Sequence[float]) -> Tensor:
    """Return the sum of the atoms' reference energies of each frame (F,), float64, eV.

    Parameters
    ----------
    numbers : torch.Tensor
        Atomic numbers (F, A), 0 on padding.
    elements : sequence of int
        Atomic numbers that the potential knows.
    energies : sequence of float
        Energy of the lone atom of each of them, eV.
    """
    table = torch.zeros(HIGHEST + 1, dtype=torch.float64, device=numbers.device)
    table[list(elements)] = torch.tensor(list(energies), dtype=torch.float64, device=numbers.device)
    return table[numbers].sum(dim=1)
