"""Labelled frames ready for training: descriptors, their derivatives and labels, kept for epochs.

Forces are F = −Jᵀg with the Jacobian J of the descriptors and g = ∂E/∂descriptor. J does not
change during training: it is kept, dense, for as many frames as the memory budget holds; for the
others `PullBack` multiplies by it without forming it. Neither differentiates a descriptor twice.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from uncv.data import Dataset
from uncv.models.aev import Graph, Triples
from uncv.models.ani import AniPotential
from uncv.models.descriptor import KernelDescriptor, PullBack, PushForward
from uncv.models.neighbours import Pairs, pair_vectors
from uncv.training.centring import Centring

STRAINS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""Strain components in Voigt's order."""


class Labels(NamedTuple):
    """Labels of a batch, without the atomic reference energies; zero where unknown.

    Attributes
    ----------
    energy, has_energy : torch.Tensor
        (B,) in eV, and 1 or 0.
    forces, has_forces : torch.Tensor
        (N, 3) in eV/Å, and (B,).
    stress, has_stress : torch.Tensor
        (B, 6) in eV/Å³, Voigt's order, and (B,).
    """

    energy: Tensor
    has_energy: Tensor
    forces: Tensor
    has_forces: Tensor
    stress: Tensor
    has_stress: Tensor


class FrameBatch(NamedTuple):
    """Some frames, their atoms one after the other.

    Attributes
    ----------
    ids : torch.Tensor
        Frames (B,).
    rows : list of torch.Tensor
        Atoms (n_e,) of each element among the N atoms of the batch.
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
    """Frames of a dataset as a potential's training wants them.

    Parameters
    ----------
    potential : AniPotential
        Gives the descriptor, the elements, the reference energies and the floating-point type.
    data : Dataset
        Labelled frames.
    strain : bool
        Whether stress is wanted.
    """

    def __init__(self, potential: AniPotential, data: Dataset, *, strain: bool = False) -> None:
        self.aev, self.dtype, self.strain = potential.aev, potential.dtype, strain
        self.elements = len(potential.elements)
        self.counts = torch.as_tensor(data.frame_atoms)
        self.begin = torch.cat([torch.zeros(1, dtype=torch.int64), self.counts.cumsum(0)])
        padded = potential.species(torch.as_tensor(data.numbers))
        self.species = padded[padded >= 0]
        self._frames = [self._frame(potential, data[i]) for i in range(len(data))]
        self.described = torch.cat(
            [KernelDescriptor.apply(f.vectors, self.aev, f.graph) for f in self._frames]
        )
        self.volumes = _volumes(data).to(self.dtype)
        self.labels = self._labels(potential, data)
        self.inputs = self.described
        self._jacobians: list[Tensor | None] = [None] * len(data)

    def __len__(self) -> int:
        return len(self.counts)

    def prepare(self, centring: Centring, budget: int) -> int:
        """Centre the descriptors and keep Jacobians; return the bytes these take.

        Parameters
        ----------
        centring : Centring
            Mean of each element's descriptor.
        budget : int
            Bytes at most.
        """
        mean = centring.mean[self.species]
        self.inputs = (self.described.to(torch.float64) - mean).to(self.dtype)
        taken = 0
        item = torch.finfo(self.dtype).bits // 8
        for i in range(len(self)):
            atoms = int(self.counts[i])
            size = item * atoms * self.aev.width * (3 * atoms + len(STRAINS) * self.strain)
            wanted = self.labels.has_forces[i] + self.strain * self.labels.has_stress[i] > 0
            if wanted and taken + size <= budget:
                self._jacobians[i] = self._jacobian(i)
                taken += size
        return taken

    def batch(self, ids: Tensor) -> FrameBatch:
        """Return some frames."""
        counts = self.counts[ids]
        atoms = _ranges(self.begin[ids], counts)
        species = self.species[atoms]
        rows = [(species == e).nonzero().squeeze(1) for e in range(self.elements)]
        of = self.labels
        labels = Labels(
            of.energy[ids], of.has_energy[ids], of.forces[atoms], of.has_forces[ids],
            of.stress[ids], of.has_stress[ids],
        )
        frame = torch.repeat_interleave(torch.arange(len(ids)), counts)
        inputs = [self.inputs[atoms[r]] for r in rows]
        return FrameBatch(ids, rows, inputs, frame, counts, self.volumes[ids], labels)

    def gradients(self, batch: FrameBatch, slopes: Tensor) -> tuple[Tensor, Tensor]:
        """Return ∂E/∂position (M, N, 3) and ∂E/∂strain (M, B, 6 or 0) of a batch.

        Parameters
        ----------
        batch : FrameBatch
            B frames of N atoms together.
        slopes : torch.Tensor
            ∂E/∂descriptor, (M, N, D), differentiable.
        """
        ids = batch.ids.tolist()
        counts = batch.counts.tolist()
        kept = [self._jacobians[i] for i in ids]
        if all(j is not None for j in kept):
            return self._by_jacobian(slopes, kept, counts)
        if all(j is None for j in kept):
            return self._by_pairs(slopes, ids, counts)
        blocks = slopes.split(counts, dim=1)
        parts = []
        for block, jacobian, i in zip(blocks, kept, ids, strict=True):
            atoms = [block.shape[1]]
            parts.append(
                self._by_pairs(block, [i], atoms)
                if jacobian is None
                else self._by_jacobian(block, [jacobian], atoms)
            )
        return torch.cat([p[0] for p in parts], dim=1), torch.cat([p[1] for p in parts], dim=1)

    def _by_jacobian(
        self, slopes: Tensor, jacobians: list[Tensor | None], counts: list[int]
    ) -> tuple[Tensor, Tensor]:
        together = DenseProduct.apply(slopes, jacobians, counts)
        parts = together.split([3 * n + len(STRAINS) * self.strain for n in counts], dim=1)
        forces = torch.cat(
            [p[:, : 3 * n].unflatten(1, (n, 3)) for p, n in zip(parts, counts, strict=True)], dim=1
        )
        strains = torch.stack([p[:, 3 * n :] for p, n in zip(parts, counts, strict=True)], dim=1)
        return forces, strains

    def _by_pairs(
        self, slopes: Tensor, ids: list[int], counts: list[int]
    ) -> tuple[Tensor, Tensor]:
        frames = [self._frames[i] for i in ids]
        graph = join_graphs(self.aev.species, self.aev.species_pairs, [f.graph for f in frames])
        vectors = torch.cat([f.vectors for f in frames])
        pulled = PullBack.apply(slopes, vectors, self.aev, graph)
        zeros = slopes.new_zeros((slopes.shape[0], graph.atoms, 3))
        forces = zeros.index_add(1, graph.pairs.other, pulled)
        forces = forces.index_add(1, graph.pairs.centre, pulled, alpha=-1)
        if not self.strain:
            return forces, slopes.new_zeros((slopes.shape[0], len(ids), 0))
        virial = pulled.unsqueeze(3) * vectors.unsqueeze(1)
        voigt = torch.stack([0.5 * (virial[..., a, b] + virial[..., b, a]) for a, b in STRAINS], 2)
        owner = torch.repeat_interleave(
            torch.arange(len(ids)), torch.tensor([len(f.vectors) for f in frames])
        )
        strains = slopes.new_zeros((slopes.shape[0], len(ids), len(STRAINS)))
        return forces, strains.index_add(1, owner, voigt)

    def _frame(self, potential: AniPotential, one: Dataset) -> _Frame:
        one = one.trimmed() if hasattr(one, "trimmed") else _trimmed(one)
        batch = one.to_batch(torch.float64)
        graph = potential.prepare(batch).graph
        vectors = pair_vectors(batch.positions, batch.cell, graph.pairs).to(self.dtype)
        return _Frame(vectors, graph)

    def _jacobian(self, i: int) -> Tensor:
        """Return ∂descriptor/∂(position, strain), (A·D, 3A + 6 or 0)."""
        vectors, graph = self._frames[i]
        atoms = torch.arange(graph.atoms)
        moves = (graph.pairs.other == atoms[:, None]).to(self.dtype) - (
            graph.pairs.centre == atoms[:, None]
        ).to(self.dtype)
        eye = torch.eye(3, dtype=self.dtype)
        tangents = torch.einsum("ap,cx->acpx", moves, eye).flatten(0, 1)
        if self.strain:
            strains = [
                0.5 * (eye[a] * vectors[:, b : b + 1] + eye[b] * vectors[:, a : a + 1])
                for a, b in STRAINS
            ]
            tangents = torch.cat([tangents, torch.stack(strains)])
        with torch.no_grad():
            pushed = PushForward.apply(tangents.contiguous(), vectors, self.aev, graph)
        return pushed.flatten(1).T.contiguous()

    def _labels(self, potential: AniPotential, data: Dataset) -> Labels:
        frames = len(data)
        lone = potential.reference_energies(torch.as_tensor(data.numbers)).numpy()
        energy = np.full(frames, np.nan) if data.energy is None else data.energy - lone
        forces = np.full((*data.numbers.shape, 3), np.nan) if data.forces is None else data.forces
        stress = np.full((frames, 3, 3), np.nan) if data.stress is None else data.stress
        voigt = np.stack([stress[:, a, b] for a, b in STRAINS], axis=1)
        flat = forces[data.mask]
        whole = np.isfinite(forces).all(axis=2) | ~data.mask
        has = [np.isfinite(energy), whole.all(axis=1), np.isfinite(voigt).all(axis=1)]
        filled = [np.nan_to_num(v, nan=0.0) for v in (energy, flat, voigt)]
        e, f, s = (torch.as_tensor(v).to(self.dtype) for v in filled)
        he, hf, hs = (torch.as_tensor(v).to(self.dtype) for v in has)
        return Labels(e, he, f, hf, s, hs)


class DenseProduct(torch.autograd.Function):
    """Jᵀg of frames with kept Jacobians, side by side: (M, Σ(3A + 6 or 0)).

    ``DenseProduct.apply(slopes (M, N, D), jacobians [(A·D, 3A + 6 or 0)], counts [A])``. A loop
    over frames, since putting Jacobians into a batch would copy them.
    """

    @staticmethod
    def forward(ctx: Any, slopes: Tensor, jacobians: list[Tensor], counts: list[int]) -> Tensor:
        """Return the products."""
        ctx.jacobians, ctx.counts, ctx.width = jacobians, counts, slopes.shape[2]
        blocks = slopes.split(counts, dim=1)
        return torch.cat(
            [b.flatten(1) @ j for b, j in zip(blocks, jacobians, strict=True)], dim=1
        )

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient with respect to the slopes."""
        parts = cotangent.split([j.shape[1] for j in ctx.jacobians], dim=1)
        blocks = [
            (p @ j.T).unflatten(1, (n, ctx.width))
            for p, j, n in zip(parts, ctx.jacobians, ctx.counts, strict=True)
        ]
        return torch.cat(blocks, dim=1), None, None


def join_graphs(species: int, species_pairs: int, graphs: list[Graph]) -> Graph:
    """Return the graph of several frames' atoms, one frame after the other."""
    atoms = torch.tensor([0, *(g.atoms for g in graphs)]).cumsum(0).tolist()
    pairs = torch.tensor([0, *(len(g.pairs.centre) for g in graphs)]).cumsum(0).tolist()

    def joined(parts: list[Tensor], offsets: list[int]) -> Tensor:
        return torch.cat([p + o for p, o in zip(parts, offsets, strict=False)])

    radial = [species * a for a in atoms]
    angular = [species_pairs * a for a in atoms]
    return Graph(
        Pairs(
            joined([g.pairs.centre for g in graphs], atoms),
            joined([g.pairs.other for g in graphs], atoms),
            graphs[0].pairs.shift[:0],
        ),
        Triples(
            joined([g.triples.first for g in graphs], pairs),
            joined([g.triples.second for g in graphs], pairs),
            joined([g.triples.radial_slot for g in graphs], radial),
            joined([g.triples.angular_slot for g in graphs], angular),
        ),
        atoms[-1],
        torch.cat([*(g.begin[:-1] + p for g, p in zip(graphs, pairs, strict=False)),
                   torch.tensor(pairs[-1:])]),
        torch.cat([g.other_species for g in graphs]),
    )


def _ranges(begin: Tensor, counts: Tensor) -> Tensor:
    """Return begin[0], begin[0] + 1, ... for counts[0] numbers, then the next."""
    before = counts.cumsum(0) - counts
    return torch.repeat_interleave(begin - before, counts) + torch.arange(int(counts.sum()))


def _trimmed(one: Dataset) -> Dataset:
    atoms = int(one.frame_atoms[0])
    return Dataset(one.numbers[:, :atoms], one.positions[:, :atoms], one.cell, one.pbc)


def _volumes(data: Dataset) -> Tensor:
    periodic = data.pbc.all(axis=1)
    volumes = np.abs(np.linalg.det(np.where(periodic[:, None, None], data.cell, np.eye(3))))
    return torch.as_tensor(volumes)
