"""The elements that a potential knows: their indices and their reference energies."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from ase.data import chemical_symbols
from torch import Tensor

from uncv.errors import ElementError

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
