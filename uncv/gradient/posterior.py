"""The posterior variance of a linear model: one matrix W for which the uncertainty is |W φ|.

With training features Φ (n, D) and noise σ the variance at φ is u² = σ² φᵀ (ΦᵀΦ + σ²)⁻¹ φ. Any W
with WᵀW = σ² (ΦᵀΦ + σ²)⁻¹ gives u = |W φ|, a sum of squares: nothing is subtracted at the end, as
it is in |φ|² − kᵀ (K + σ²)⁻¹ k, which loses all digits where u is small. Of all W the symmetric one
is taken: the same matrix brings slopes back, and matrices from memory are what a query waits for.

Source: Holzmüller, Zaverkin, Kästner, Steinwart, JMLR 24 (2023).
"""

from collections.abc import Iterable, Sequence
from typing import Final, Self

import torch
from torch import Tensor

from uncv.fitted import FittedModule
from uncv.gradient.layout import joined, rows_of_elements
from uncv.gradient.norms import (
    NormsOfPlaces,
    NormsOfRows,
    NormTables,
    norms_of_places,
    norms_of_rows,
)
from uncv.groups import AtomGroups
from uncv.scripting import is_scripting

ROUNDING = 1e-14
"""Of the largest eigenvalue: what is below it is lost in float64."""


def in_feature_space(gram: Tensor, sigma: float) -> Tensor:
    """Return the symmetric W (D, D) from ΦᵀΦ = V Λ Vᵀ: σ V (Λ + σ²)^(−1/2) Vᵀ.

    Parameters
    ----------
    gram : torch.Tensor
        ΦᵀΦ (D, D), float64.
    sigma : float
        σ, in units of the features.

    Raises
    ------
    ValueError
        If σ is too small for float64.
    """
    values, vectors = torch.linalg.eigh(gram)
    if sigma**2 < ROUNDING * float(values[-1]):
        raise ValueError(
            f"sigma is {sigma:.3g} where the largest singular value of the training features is "
            f"{float(values[-1]) ** 0.5:.3g}, too far apart for float64; choose a larger sigma"
        )
    factor = vectors * (sigma**2 / (values.clamp(min=0.0) + sigma**2)) ** 0.25
    return factor @ factor.T


def in_kernel_space(rows: Tensor, sigma: float) -> Tensor:
    """Return the symmetric W (D, D) from the kernel matrix K = ΦΦᵀ = U Λ Uᵀ of few rows.

    With r² = Λ + σ², W = 1 − Cᵀ C, C = (r (r + σ))^(−1/2) Uᵀ Φ.

    Parameters
    ----------
    rows : torch.Tensor
        Φ (n, D), float64; n may be 0.
    sigma : float
        σ, in units of the features.
    """
    identity = torch.eye(rows.shape[1], dtype=torch.float64)
    if len(rows) == 0:
        return identity
    values, vectors = torch.linalg.eigh(rows @ rows.T)
    r = (values.clamp(min=0.0) + sigma**2).sqrt()
    factor = (vectors * (r * (r + sigma)).rsqrt()).T @ rows
    return identity - factor.T @ factor


class FeatureSums:
    """What a posterior needs of training features that come part by part, in float64.

    Rows are kept while there are fewer than features, so that the smaller of the two problems is
    solved in the end.

    Parameters
    ----------
    width : int
        D.
    """

    def __init__(self, width: int) -> None:
        self.count = 0
        self._square = 0.0
        self._rows = torch.zeros((0, width), dtype=torch.float64)
        self._gram = torch.zeros((0, 0), dtype=torch.float64)

    @classmethod
    def of(cls, blocks: Iterable[Sequence[Tensor]]) -> list[Self]:
        """Collect the rows of each element, part by part."""
        found: list[Self] = []
        for block in blocks:
            found = found or [cls(part.shape[1]) for part in block]
            for own, part in zip(found, block, strict=True):
                own.add(part)
        return found

    def add(self, rows: Tensor) -> None:
        """Add rows (n, D)."""
        self.count += len(rows)
        self._square += float(rows.square().sum())
        if len(self._gram) == 0:
            self._rows = torch.cat([self._rows, rows])
            if self.count >= rows.shape[1]:
                self._gram, self._rows = self._rows.T @ self._rows, self._rows[:0]
        else:
            self._gram.addmm_(rows.T, rows)

    @property
    def scale(self) -> float:
        """Root mean square length of the features, 1 if there are none."""
        return (self._square / self.count) ** 0.5 if self._square > 0.0 else 1.0

    def weight(self, sigma: float) -> Tensor:
        """Return W (D, D) for features as they were given, σ for features of mean square 1.

        Raises
        ------
        ValueError
            If σ is too small for float64.
        """
        scale = self.scale
        if len(self._gram) > 0:
            return in_feature_space(self._gram, sigma * scale) / scale
        return in_kernel_space(self._rows, sigma * scale) / scale


class Posterior(FittedModule):
    """|W φ| of the atoms of each element, or of frames as if they were of one.

    Parameters
    ----------
    sigma : float
        σ, for features of mean square 1.
    layout : str
        In which order the features come (`uncv.gradient.layout`).
    """

    weight: Tensor
    offset: Tensor
    elements: Tensor
    layout: Final[str]

    def __init__(self, sigma: float, layout: str) -> None:
        super().__init__()
        self.sigma = sigma
        self.layout = layout
        self.register_buffer("weight", torch.zeros((0, 0, 0)))
        self.register_buffer("offset", torch.zeros((0, 0)))
        self.register_buffer("elements", torch.zeros((0, 1), dtype=torch.int64))
        self._made: NormTables | None = None

    def learn(
        self,
        blocks: Iterable[Sequence[Tensor]],
        elements: Sequence[int],
        constant: Tensor,
        absent: float,
    ) -> None:
        """Solve for W of each element in float64, and keep it in the type of the features.

        Parameters
        ----------
        blocks : iterable of sequence of torch.Tensor
            Part by part, the training features (n, D), float64, of each element, or of frames.
        elements : sequence of int
            Atomic numbers of the elements.
        constant : torch.Tensor
            Value (c,) of the last features, which are the same for all and not asked with.
        absent : float
            What an element without training data gets.

        Raises
        ------
        ValueError
            If σ is too small for float64.
        """
        sums = FeatureSums.of(blocks)
        solved = torch.stack([s.weight(self.sigma) for s in sums])
        varied = solved.shape[1] - len(constant)
        offset = torch.matmul(constant.to(torch.float64), solved[:, varied:])
        for element, own in enumerate(sums):
            if own.count == 0:
                solved[element], offset[element] = 0.0, 0.0
                offset[element, 0] = absent
        self.weight = solved[:, :varied].to(constant.dtype).contiguous()
        self.offset = offset.to(constant.dtype)
        self.elements = torch.tensor(elements, dtype=torch.int64).unsqueeze(1)

    def forward(self, features: Tensor, groups: AtomGroups) -> Tensor:
        """Return the uncertainty of atoms (F, A), zero on padding, or of frames (F,).

        Raises
        ------
        ValueError
            If the features are of another width than those learnt from.
        """
        if features.shape[1] != self.weight.shape[1]:
            raise ValueError(
                f"the features have width {features.shape[1]}, but {self.weight.shape[1]} were "
                "learnt from; fit again"
            )
        if self.layout == "atoms":
            return self._of_places(features, groups).view(groups.numbers.shape)
        return joined([self._of_rows(features, groups)], groups, self.layout)

    def _of_places(self, features: Tensor, groups: AtomGroups) -> Tensor:
        own = (groups.numbers.reshape(-1, 1, 1) == self.elements).to(features.dtype)
        weight, offset = self.weight.to(features.dtype), self.offset.to(features.dtype)
        if is_scripting():
            return norms_of_places(features, own, weight.transpose(0, 1).flatten(1), offset)
        return NormsOfPlaces.apply(features, own, self._tables(weight), offset)

    def _of_rows(self, features: Tensor, groups: AtomGroups) -> Tensor:
        counts = rows_of_elements(groups, self.layout)
        weight, offset = self.weight.to(features.dtype), self.offset.to(features.dtype)
        if is_scripting():
            return norms_of_rows(features, counts, weight, offset)
        return NormsOfRows.apply(features, counts, weight, offset)

    def _tables(self, weight: Tensor) -> NormTables:
        """Return the weight in the orders in which products are quick, made when first used."""
        if self._made is None or self._made.weight is not weight:
            flat = weight.transpose(0, 1).flatten(1)
            self._made = NormTables(weight, flat, flat.t().contiguous())
        return self._made
