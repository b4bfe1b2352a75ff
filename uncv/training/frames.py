"""Labelled frames ready for training: descriptors, their derivatives and labels, kept for epochs.

Forces are F = −Jᵀg with the Jacobian J of the descriptors and g = ∂E/∂descriptor. J does not
change during training: it is kept, dense, for as many frames as a memory budget holds; for the
others `PullBack` multiplies by it without forming it. Neither differentiates a descriptor twice.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from uncv.data import Dataset
from uncv.models import AniPotential
from uncv.models.aev import Graph
from uncv.models.descriptor import KernelDescriptor, PullBack
from uncv.models.neighbours import pair_vectors
from uncv.training.centring import Centring
from uncv.training.jacobian import STRAINS, DenseProduct, dense_jacobian, join_graphs, voigt
from uncv.training.labels import Labels, read_labels


class FrameBatch(NamedTuple):
    """B frames, their N atoms one after the other.

    Attributes
    ----------
    ids : torch.Tensor
        Which frames (B,).
    rows : list of torch.Tensor
        Atoms (n_e,) of each element.
    inputs : list of torch.Tensor
        Their centred descriptors (n_e, D).
    frame : torch.Tensor
        Place in the batch of each atom's frame (N,).
    counts : torch.Tensor
        Atoms of each frame (B,).
    volumes : torch.Tensor
        (B,) in Å³; 1 without a cell.
    labels : Labels
        What they should be.
    """

    ids: Tensor
    rows: list[Tensor]
    inputs: list[Tensor]
    frame: Tensor
    counts: Tensor
    volumes: Tensor
    labels: Labels


class _Frame(NamedTuple):
    vectors: Tensor
    graph: Graph


class LabelledFrames:
    """Frames of a dataset as the training of a potential wants them.

    Parameters
    ----------
    potential : AniPotential
        Gives the descriptor, the elements, the reference energies and the floating-point type.
    data : Dataset
        Labelled frames.
    forces, strain : bool
        Which derivatives the loss needs.
    """

    def __init__(
        self, potential: AniPotential, data: Dataset, *, forces: bool = True, strain: bool = False
    ) -> None:
        self.aev, self.dtype = potential.aev, potential.dtype
        self.forces, self.strain = forces, strain
        self.elements = len(potential.elements)
        self.counts = torch.as_tensor(data.frame_atoms)
        self.begin = torch.cat([torch.zeros(1, dtype=torch.int64), self.counts.cumsum(0)])
        padded = potential.species(torch.as_tensor(data.numbers))
        self.species = padded[padded >= 0]
        self.volumes = _volumes(data).to(self.dtype)
        self.labels = read_labels(potential, data)
        self._frames = [self._frame(potential, data[i]) for i in range(len(data))]
        self.inputs = torch.cat(
            [KernelDescriptor.apply(f.vectors, self.aev, f.graph) for f in self._frames]
        )
        self._jacobians: list[Tensor | None] = [None] * len(data)

    def __len__(self) -> int:
        return len(self.counts)

    def centre(self, centring: Centring) -> None:
        """Take the mean of each element's descriptor off the inputs."""
        self.inputs = (self.inputs - centring.mean[self.species]).to(self.dtype)

    def keep_jacobians(self, budget: int) -> int:
        """Keep Jacobians of as many frames as a number of bytes holds; return the bytes taken."""
        taken = 0
        if not (self.forces or self.strain):
            return taken
        item = torch.finfo(self.dtype).bits // 8
        for i, (vectors, graph) in enumerate(self._frames):
            columns = 3 * graph.atoms + len(STRAINS) * self.strain
            size = item * graph.atoms * self.aev.width * columns
            if taken + size <= budget:
                self._jacobians[i] = dense_jacobian(self.aev, vectors, graph, strain=self.strain)
                taken += size
        return taken

    def batch(self, ids: Tensor) -> FrameBatch:
        """Return some frames."""
        counts = self.counts[ids]
        atoms = _ranges(self.begin[ids], counts)
        species = self.species[atoms]
        rows = [(species == e).nonzero().squeeze(1) for e in range(self.elements)]
        return FrameBatch(
            ids,
            rows,
            [self.inputs[atoms[r]] for r in rows],
            torch.repeat_interleave(torch.arange(len(ids)), counts),
            counts,
            self.volumes[ids],
            self.labels.select(ids, atoms),
        )

    def gradients(self, batch: FrameBatch, slopes: Tensor) -> tuple[Tensor, Tensor]:
        """Return ∂E/∂position (M, N, 3) and ∂E/∂strain (M, B, 6 or 0) of a batch.

        Parameters
        ----------
        batch : FrameBatch
            B frames of N atoms together.
        slopes : torch.Tensor
            ∂E/∂descriptor (M, N, D), differentiable.
        """
        ids, counts = batch.ids.tolist(), batch.counts.tolist()
        kept = [self._jacobians[i] for i in ids]
        dense = [j for j in kept if j is not None]
        if len(dense) == len(ids):
            return self._by_jacobians(slopes, dense, counts)
        if not dense:
            return self._by_pairs(slopes, ids)
        parts = []
        for block, jacobian, i in zip(slopes.split(counts, dim=1), kept, ids, strict=True):
            if jacobian is None:
                parts.append(self._by_pairs(block, [i]))
            else:
                parts.append(self._by_jacobians(block, [jacobian], [block.shape[1]]))
        return torch.cat([p[0] for p in parts], dim=1), torch.cat([p[1] for p in parts], dim=1)

    def _by_jacobians(
        self, slopes: Tensor, jacobians: list[Tensor], counts: list[int]
    ) -> tuple[Tensor, Tensor]:
        together = DenseProduct.apply(slopes, jacobians, counts)
        if not self.strain:
            return together.unflatten(1, (-1, 3)), slopes.new_zeros((len(slopes), len(counts), 0))
        parts = together.split([j.shape[1] for j in jacobians], dim=1)
        forces = [p[:, : 3 * n].unflatten(1, (n, 3)) for p, n in zip(parts, counts, strict=True)]
        strains = [p[:, 3 * n :] for p, n in zip(parts, counts, strict=True)]
        return torch.cat(forces, dim=1), torch.stack(strains, dim=1)

    def _by_pairs(self, slopes: Tensor, ids: list[int]) -> tuple[Tensor, Tensor]:
        frames = [self._frames[i] for i in ids]
        graph = join_graphs(self.aev, [f.graph for f in frames])
        vectors = torch.cat([f.vectors for f in frames])
        pulled = PullBack.apply(slopes, vectors, self.aev, graph)
        rows = pulled.transpose(0, 1).flatten(1)
        summed = rows.new_zeros((graph.atoms, rows.shape[1])).index_add(0, graph.pairs.other, rows)
        summed = summed.index_add(0, graph.pairs.centre, rows, alpha=-1)
        forces = summed.unflatten(1, (-1, 3)).transpose(0, 1)
        if not self.strain:
            return forces, slopes.new_zeros((len(slopes), len(ids), 0))
        lengths = torch.tensor([len(f.vectors) for f in frames])
        owner = torch.repeat_interleave(torch.arange(len(ids)), lengths)
        strains = slopes.new_zeros((len(slopes), len(ids), len(STRAINS)))
        return forces, strains.index_add(1, owner, voigt(pulled, vectors))

    def _frame(self, potential: AniPotential, one: Dataset) -> _Frame:
        atoms = int(one.frame_atoms[0])
        whole = Dataset(one.numbers[:, :atoms], one.positions[:, :atoms], one.cell, one.pbc)
        batch = whole.to_batch()
        graph = potential.prepare(batch).graph
        vectors = pair_vectors(batch.positions, batch.cell, graph.pairs)
        return _Frame(vectors.to(self.dtype), graph)


def _ranges(begin: Tensor, counts: Tensor) -> Tensor:
    """Return begin[0], begin[0] + 1, ... for counts[0] numbers, then the next."""
    before = counts.cumsum(0) - counts
    return torch.repeat_interleave(begin - before, counts) + torch.arange(int(counts.sum()))


def _volumes(data: Dataset) -> Tensor:
    periodic = np.all(data.pbc, axis=1)
    volumes = np.abs(np.linalg.det(np.where(periodic[:, None, None], data.cell, np.eye(3))))
    return torch.as_tensor(volumes)
