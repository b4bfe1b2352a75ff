"""In which order the rows of a table stand for atoms or frames, and how to get at an element's own.

'atoms': all F·A places of a batch, padding included; 'elements': the N atoms, element after element
in the order of the groups; 'frames': the F frames, as if they were atoms of one element.

Written in the subset of Python that TorchScript compiles.
"""

from typing import List  # noqa: UP035  TorchScript wants typing's names

import torch
from torch import Tensor

from uncv.groups import AtomGroups


def by_element(table: Tensor, groups: AtomGroups, layout: str) -> List[Tensor]:  # noqa: UP006
    """Return the rows (n_e, D) of each element."""
    if layout == "atoms":
        return [table.index_select(0, row) for row in groups.rows]
    return list(torch.split(table, rows_of_elements(groups, layout)))


def rows_of_elements(groups: AtomGroups, layout: str) -> List[int]:  # noqa: UP006
    """Return the number of rows of each element, or of frames."""
    if layout == "frames":
        return [groups.numbers.shape[0]]
    return [row.shape[0] for row in groups.rows]


def joined(parts: List[Tensor], groups: AtomGroups, layout: str) -> Tensor:  # noqa: UP006
    """Return values (n_e,) of each element as (F, A), zero on padding, or (F,) of frames."""
    if layout == "frames":
        return parts[0]
    padded = torch.nn.functional.pad(torch.cat(parts), [0, 1])
    return padded.index_select(0, groups.back).view_as(groups.numbers)
