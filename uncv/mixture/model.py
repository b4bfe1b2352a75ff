"""Gaussian mixtures of the elements of a potential, evaluated: from features to u.

The atoms of an element take two matrix products: to the axes of its mixture, z, whitening included,
and to y_k = P_kᵀ (z − μ_k) for all components at once, with Σ_k⁻¹ = P_k P_kᵀ.

Source: Tan, Dietschreit, Gómez-Bombarelli, J. Chem. Phys. 162, 034114 (2025).
"""

import math
from collections.abc import Sequence
from typing import List, NamedTuple  # noqa: UP035  TorchScript wants typing's names

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uncv.fitted import FittedModule
from uncv.groups import AtomGroups, ungroup
from uncv.mixture.gradient import LastLayout, Parameters
from uncv.scripting import is_scripting

SPREAD_FLOOR = 0.1
"""Smallest spread of −log p, relative to that of a Gaussian of as many axes, √(axes/2)."""


class Mixture(NamedTuple):
    """A mixture of K Gaussians on d axes of D features.

    −log p(φ) = −log Σ_k exp(log_weights_k − ½ |z factors_k + offsets_k|²) with z = φ axes + origin:
    whitened, and on the axes that were kept.

    Attributes
    ----------
    axes, origin : numpy.ndarray
        (D, d) and (d,).
    factors, offsets : numpy.ndarray
        Cholesky factors P_k of the precisions (K, d, d), and −P_kᵀ μ_k (K, d).
    log_weights : numpy.ndarray
        (K,), with the normalisation of each Gaussian.
    centres : numpy.ndarray
        Means of the components as features (K, D).
    converged : bool
        Whether expectation maximisation ended by its tolerance and not by its number of steps.
    """

    axes: NDArray[np.float64]
    origin: NDArray[np.float64]
    factors: NDArray[np.float64]
    offsets: NDArray[np.float64]
    log_weights: NDArray[np.float64]
    centres: NDArray[np.float64]
    converged: bool


class Mixtures(FittedModule):
    """One mixture for each element E, padded to K components on d axes.

    u = softplus((−log p − q) / s) + δ with quantile q and spread s of the training atoms.

    Parameters
    ----------
    delta : float
        δ, the least u.
    """

    axes: Tensor
    origin: Tensor
    factors: Tensor
    offsets: Tensor
    log_weights: Tensor
    centres: Tensor
    slope: Tensor
    shift: Tensor

    def __init__(self, delta: float) -> None:
        super().__init__()
        self.delta = delta
        self.register_buffer("axes", _empty(3))  # (E, D, d)
        self.register_buffer("origin", _empty(2))  # (E, d)
        self.register_buffer("factors", _empty(3))  # (E, d, K·d)
        self.register_buffer("offsets", _empty(2))  # (E, K·d)
        self.register_buffer("log_weights", _empty(2))  # (E, K)
        self.register_buffer("centres", _empty(3))  # (E, K, D)
        self.register_buffer("slope", _empty(1))  # 1/s
        self.register_buffer("shift", _empty(1))  # −q/s
        self._last = LastLayout()

    def learn(self, mixtures: Sequence[Mixture | None], absent: float) -> None:
        """Take mixtures; the zero of u follows by `level`.

        Parameters
        ----------
        mixtures : sequence of Mixture or None
            In the order of the elements (E,); None for one without training data.
        absent : float
            Its u.
        """
        known = [m for m in mixtures if m is not None]
        count = max(len(m.factors) for m in known)
        width, axes = known[0].axes.shape[0], max(m.axes.shape[1] for m in known)
        shapes = {
            "axes": (width, axes),
            "origin": (axes,),
            "factors": (count, axes, axes),
            "offsets": (count, axes),
            "log_weights": (count,),
            "centres": (count, width),
        }
        for name, shape in shapes.items():
            padding = -math.inf if name == "log_weights" else 0.0
            padded = torch.full((len(mixtures), *shape), padding, dtype=torch.float64)
            for index, m in enumerate(mixtures):
                if m is not None:
                    own = torch.from_numpy(getattr(m, name))
                    padded[index][tuple(slice(size) for size in own.shape)] = own
            setattr(self, name, padded)
        self.log_weights[[m is None for m in mixtures], 0] = 0.0
        self.factors = self.factors.transpose(1, 2).flatten(2)
        self.offsets = self.offsets.flatten(1)
        self.slope = torch.zeros(len(mixtures), dtype=torch.float64)
        self.shift = torch.full_like(self.slope, absent)

    def level(self, index: int, features: NDArray[np.float64], zero: float, axes: int) -> None:
        """Count u of an element from a quantile of −log p of its training atoms, by its spread.

        The spread is 1.4826 times the median deviation from the median.

        Parameters
        ----------
        index : int
            Which element.
        features : numpy.ndarray
            Of its training atoms (n, D).
        zero : float
            Which quantile.
        axes : int
            Number of axes of its mixture.
        """
        nll = self.nll(torch.from_numpy(features), index).numpy()
        spread = 1.4826 * float(np.median(np.abs(nll - np.median(nll))))
        spread = max(spread, SPREAD_FLOOR * math.sqrt(0.5 * axes))
        self.slope[index] = 1.0 / spread
        self.shift[index] = -float(np.quantile(nll, zero)) / spread

    def nll(self, features: Tensor, index: int) -> Tensor:
        """Return −log p of features (n, D) under the mixture of one element (n,), float64."""
        x = features.to(torch.float64)
        z = torch.addmm(self.origin[index], x, self.axes[index])
        y = torch.addmm(self.offsets[index], z, self.factors[index])
        square = y.unflatten(1, [self.log_weights.shape[1], -1]).square().sum(dim=2)
        return -torch.logsumexp(self.log_weights[index] - 0.5 * square, dim=1)

    def forward(self, features: Tensor, groups: AtomGroups) -> Tensor:
        """Return u of each atom (F, A) from features (F, A, D), 0 on padding; differentiable once.

        Raises
        ------
        ValueError
            If the features have another width than those fitted.
        """
        self.check_width(features)
        if not is_scripting():
            if not self._last.holds(groups, self.axes):
                own = Parameters(*(getattr(self, name) for name in Parameters._fields))
                self._last.make(groups, own)
            return self._last.uncertainty(features, self.delta)
        flat = features.flatten(0, 1)
        parts: List[Tensor] = []  # noqa: UP006
        for index, rows in enumerate(groups.rows):
            nll = self.nll(flat.index_select(0, rows), index)
            steps = self.slope[index] * nll + self.shift[index]
            parts.append(torch.nn.functional.softplus(steps) + self.delta)
        return ungroup(parts, groups)

    def check_width(self, features: Tensor) -> None:
        """Refuse features (..., D) of another width than those fitted.

        Raises
        ------
        ValueError
        """
        if features.shape[-1] != self.axes.shape[1]:
            raise ValueError(
                f"features have width {features.shape[-1]} but the mixtures were fitted to width "
                f"{self.axes.shape[1]}; fit to what this potential gives"
            )


def _empty(dimensions: int) -> Tensor:
    return torch.zeros((0,) * dimensions, dtype=torch.float64)
