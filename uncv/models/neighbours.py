"""Which atoms see each other: pairs within a cutoff, periodic images included, any cell size.

Written in the subset of Python that TorchScript compiles, because exported models run it too.
"""

from typing import NamedTuple, Tuple  # noqa: UP035  TorchScript wants typing's names

import torch
from torch import Tensor


class Pairs(NamedTuple):
    """Directed pairs of atoms closer than a cutoff, sorted by their centre.

    Attributes
    ----------
    centre, other : torch.Tensor
        Indices (P,) into the atoms of all frames, frame by frame (frame·A + atom).
    shift : torch.Tensor
        Image of the other atom as whole numbers of cell vectors (P, 3); empty (0, 3) if no frame
        is periodic.
    """

    centre: Tensor
    other: Tensor
    shift: Tensor


def image_shifts(cell: Tensor, pbc: Tensor, cutoff: float) -> Tensor:
    """Return the whole-number shifts (S, 3) that may reach an atom of the home cell.

    The number of images along a vector is the cutoff over the height of the cell along it, rounded
    up: enough for atoms inside the home cell.

    Parameters
    ----------
    cell, pbc : torch.Tensor
        Cells (F, 3, 3) in Å and periodic directions (F, 3).
    cutoff : float
        In Å.
    """
    eye = torch.eye(3, dtype=cell.dtype, device=cell.device)
    filled = torch.where(pbc.unsqueeze(-1), cell, eye)
    heights = 1.0 / torch.linalg.inv(filled).square().sum(dim=1).sqrt()
    counts = torch.where(pbc, torch.ceil(cutoff / heights), torch.zeros_like(heights))
    largest = counts.amax(dim=0)
    a, b, c = int(largest[0].item()), int(largest[1].item()), int(largest[2].item())
    grid = torch.meshgrid(
        torch.arange(-a, a + 1, device=cell.device),
        torch.arange(-b, b + 1, device=cell.device),
        torch.arange(-c, c + 1, device=cell.device),
        indexing="ij",
    )
    return torch.stack([g.reshape(-1) for g in grid], dim=1)


def find_pairs(positions: Tensor, cell: Tensor, pbc: Tensor, mask: Tensor, cutoff: float) -> Pairs:
    """Return every directed pair of atoms closer than the cutoff.

    Parameters
    ----------
    positions : torch.Tensor
        (F, A, 3) in Å; atoms may lie outside the cell.
    cell, pbc : torch.Tensor
        (F, 3, 3) in Å and (F, 3).
    mask : torch.Tensor
        True on atoms (F, A).
    cutoff : float
        In Å.
    """
    frames, atoms = positions.shape[0], positions.shape[1]
    positions, cell = positions.detach(), cell.detach()
    if not bool(pbc.any().item()):
        distance2 = (positions.unsqueeze(1) - positions.unsqueeze(2)).square().sum(dim=-1)
        near = (distance2 < cutoff * cutoff) & mask.unsqueeze(1) & mask.unsqueeze(2)
        near.diagonal(dim1=1, dim2=2).fill_(False)
        found = near.nonzero()
        base = found[:, 0] * atoms
        shift = torch.zeros((0, 3), dtype=positions.dtype, device=positions.device)
        return Pairs(base + found[:, 1], base + found[:, 2], shift)
    wrapped, home = wrap(positions, cell, pbc)
    shifts = image_shifts(cell, pbc, cutoff).to(positions.dtype)
    moved = torch.matmul(shifts.unsqueeze(0), cell)  # (F, S, 3)
    allowed = ((shifts == 0).unsqueeze(0) | pbc.unsqueeze(1)).all(dim=-1)  # (F, S)
    delta = (wrapped.unsqueeze(1) - wrapped.unsqueeze(2)).unsqueeze(3) + moved[:, None, None]
    near = delta.square().sum(dim=-1) < cutoff * cutoff
    near &= (mask.unsqueeze(1) & mask.unsqueeze(2)).unsqueeze(3) & allowed[:, None, None]
    itself = (shifts == 0).all(dim=-1)[None, None, :] & torch.eye(
        atoms, dtype=torch.bool, device=positions.device
    ).unsqueeze(-1)
    found = (near & ~itself.unsqueeze(0)).nonzero()
    centre = found[:, 0] * atoms + found[:, 1]
    other = found[:, 0] * atoms + found[:, 2]
    home = home.reshape(frames * atoms, 3)
    return Pairs(centre, other, shifts[found[:, 3]] + home[centre] - home[other])


def wrap(positions: Tensor, cell: Tensor, pbc: Tensor) -> Tuple[Tensor, Tensor]:  # noqa: UP006
    """Move atoms into the home cell; return their positions and the cells they were away by.

    ``positions = wrapped + home @ cell`` with whole numbers ``home`` (F, A, 3).
    """
    eye = torch.eye(3, dtype=cell.dtype, device=cell.device)
    filled = torch.where(pbc.unsqueeze(-1), cell, eye)
    scaled = torch.matmul(positions, torch.linalg.inv(filled))
    home = torch.where(pbc.unsqueeze(1), torch.floor(scaled), torch.zeros_like(scaled))
    return positions - torch.matmul(home, filled), home


def pair_vectors(positions: Tensor, cell: Tensor, pairs: Pairs) -> Tensor:
    """Return the vectors from centre to other (P, 3), differentiable in positions and cell."""
    atoms = positions.shape[1]
    flat = positions.reshape(-1, 3)
    vectors = flat.index_select(0, pairs.other) - flat.index_select(0, pairs.centre)
    if pairs.shift.shape[0] > 0:
        shift = pairs.shift.to(positions.dtype)
        if cell.shape[0] == 1:
            return vectors + torch.matmul(shift, cell[0])
        frame = torch.div(pairs.centre, atoms, rounding_mode="floor")
        # Not as thousands of products of small matrices, whose derivative is slow.
        vectors = vectors + (shift.unsqueeze(2) * cell.index_select(0, frame)).sum(dim=1)
    return vectors
