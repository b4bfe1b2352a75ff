"""A batch whose descriptor is what is differentiated by: many gradients, one way back to atoms.

What a potential and an uncertainty say follows from the descriptors alone. So the gradients of E
and of u by these are a small matter, and one product with the descriptor's transposed Jacobian
brings all of them back to positions and strain, at little more than the price of one.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uncv.models import kernel, pairs
from uncv.models.aev import Aev, Graph

FloatArray = NDArray[np.float64]


class Described:
    """The descriptors of F frames of A atoms, by compiled code.

    Parameters
    ----------
    aev : Aev
        The descriptor; on the CPU.
    graph : Graph
        Neighbours.
    positions, cells : numpy.ndarray
        (F, A, 3) and (F, 3, 3) in Å, float64.

    Attributes
    ----------
    leaf : torch.Tensor
        Descriptors (F·A, D), requiring a gradient and connected to nothing.
    """

    def __init__(self, aev: Aev, graph: Graph, positions: FloatArray, cells: FloatArray) -> None:
        self._aev, self._graph = aev, graph
        self._shape = (positions.shape[0], positions.shape[1])
        self._vectors = pairs.vectors_of(
            np.ascontiguousarray(positions),
            np.ascontiguousarray(cells),
            graph,
            aev.radial_shifts.dtype,
        )
        described = kernel.describe(aev, self._vectors, graph.begin, graph.other_species)
        self.leaf = described.requires_grad_()

    def pull_back(self, cotangents: list[Tensor], *, strain: bool) -> pairs.Gathered:
        """Return gradients by positions and strain from K gradients by the descriptors.

        Parameters
        ----------
        cotangents : list of torch.Tensor
            K of (F·A, D).
        strain : bool
            Whether a strain is wanted too.
        """
        graph = self._graph
        all_at_once = (
            cotangents[0].unsqueeze(0) if len(cotangents) == 1 else torch.stack(cotangents)
        )
        by_vectors = kernel.pull_back(
            self._aev, all_at_once, self._vectors, graph.begin, graph.other_species
        )
        return pairs.gather(by_vectors, self._vectors, graph, self._shape, strain=strain)
