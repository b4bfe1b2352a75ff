"""Distance to the nearest of many stored points: smooth for dynamics, exact for stopping.

Features are scaled to mean square 1 first. With the squared distances d_t² to the points, the
soft minimum is −β⁻¹ log Σ_t exp(−β d_t²). It is negative where many points are near, so
β⁻¹ log(1 + 1/Σ_t exp(−β d_t²)) takes its place: positive, smooth, never larger for more points,
below the smallest d_t² by β⁻¹ log n at most and above it by β⁻¹ log 2 at most. 1/β is the median
squared distance from a point to the next, so that u is about as large at a training point as its
neighbours are far.

Source: Zaverkin et al., npj Comput. Mater. 10, 83 (2024), for the distance.
"""

from collections.abc import Iterable, Sequence
from typing import Final, List, Self  # noqa: UP035  TorchScript wants typing's names

import torch
from torch import Tensor

from uncv.fitted import FittedModule
from uncv.gradient.layout import by_element, joined
from uncv.groups import AtomGroups

POINTS = 1000
"""Points kept of each element; the time of a query grows with them."""
LOOKED_AT = 20_000
"""Of more rows than this a random choice of this size is thinned out."""
SAME = 1e-6
"""Squared distance, for features of mean square 1, below which two points count as one."""
SPACING = 1e-4
"""Smallest 1/β."""
NOWHERE = -1e30
"""Logarithm of the weight of a place in the table that holds no point."""


class FeatureRows:
    """Training features that come part by part, at most `LOOKED_AT` of them, in float64.

    Parameters
    ----------
    width : int
        D.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.count = 0
        self._square = 0.0
        self._rows = torch.zeros((0, width), dtype=torch.float64)
        self._lot = torch.zeros(0, dtype=torch.float64)
        self._generator = torch.Generator().manual_seed(0)

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
        lot = torch.rand(len(rows), generator=self._generator, dtype=torch.float64)
        self._rows, self._lot = torch.cat([self._rows, rows]), torch.cat([self._lot, lot])
        if len(self._lot) > LOOKED_AT:
            kept = self._lot.topk(LOOKED_AT, largest=False).indices.sort().values
            self._rows, self._lot = self._rows[kept], self._lot[kept]

    @property
    def scale(self) -> float:
        """Root mean square length of all that came, 1 if there are none."""
        return (self._square / self.count) ** 0.5 if self._square > 0.0 else 1.0

    def points(self, most: int) -> Tensor:
        """Return the scaled rows (n, D), no more than ``most``, far from each other.

        Taken one after the other, always the row farthest from those taken, beginning with the one
        farthest from the mean; rows that differ by less than `SAME` count once.
        """
        return thinned(self._rows / self.scale, most)


def thinned(rows: Tensor, most: int) -> Tensor:
    """Return rows (n, D) of these (N, D), far from each other; see `FeatureRows.points`."""
    if len(rows) == 0:
        return rows
    single = rows.to(torch.float32)  # to choose by; twice as quick
    square = single.square().sum(dim=1)
    chosen = [int((single - single.mean(dim=0)).square().sum(dim=1).argmax())]
    away = torch.full_like(square, torch.inf)
    while len(chosen) < most:
        last = single[chosen[-1]]
        torch.minimum(away, square - 2.0 * (single @ last) + square[chosen[-1]], out=away)
        farthest = int(away.argmax())
        if float(away[farthest]) <= SAME:
            break
        chosen.append(farthest)
    return rows[chosen]


def spacing(points: Tensor) -> float:
    """Return the median squared distance from a point (n, D) to the next, at least `SPACING`."""
    if len(points) < 2:
        return SPACING
    apart = torch.cdist(points, points).fill_diagonal_(torch.inf).amin(dim=1)
    return max(SPACING, float(apart.square().median()))


class Nearest(FittedModule):
    """Distance of the atoms of each element to its points, or of frames as if they were of one.

    Parameters
    ----------
    layout : str
        In which order the features come (`uncv.gradient.layout`).
    """

    twice: Tensor
    offset: Tensor
    curvature: Tensor
    width: Tensor
    layout: Final[str]

    def __init__(self, layout: str) -> None:
        super().__init__()
        self.layout = layout
        self.register_buffer("twice", torch.zeros((0, 0, 0), dtype=torch.float64))
        self.register_buffer("offset", torch.zeros((0, 0), dtype=torch.float64))
        self.register_buffer("curvature", torch.zeros(0, dtype=torch.float64))
        self.register_buffer("width", torch.zeros(0, dtype=torch.float64))

    def learn(
        self,
        blocks: Iterable[Sequence[Tensor]],
        elements: Sequence[int],
        constant: Tensor,
        absent: float,
    ) -> None:
        """Keep at most `POINTS` of each element; one without training data gets a constant.

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
        """
        rows = FeatureRows.of(blocks)
        kept = [r.points(POINTS)[:, : r.width - len(constant)] for r in rows]
        shape = (len(kept), kept[0].shape[1], max(1, *(len(p) for p in kept)))
        self.twice = torch.zeros(shape, dtype=torch.float64)
        self.offset = torch.full((shape[0], shape[2]), NOWHERE, dtype=torch.float64)
        self.curvature = torch.zeros(shape[0], dtype=torch.float64)
        self.width = torch.ones(shape[0], dtype=torch.float64)
        for element, (points, own) in enumerate(zip(kept, rows, strict=True)):
            if len(points) == 0:
                self.offset[element, 0] = -(absent**2)
                continue
            beta, number = 1.0 / spacing(points), len(points)
            self.twice[element, :, :number] = (2.0 * beta / own.scale) * points.T
            self.offset[element, :number] = -beta * points.square().sum(dim=1)
            self.curvature[element] = beta / own.scale**2
            self.width[element] = 1.0 / beta

    def forward(self, features: Tensor, groups: AtomGroups) -> Tensor:
        """Return the smooth distance of atoms (F, A), zero on padding, or of frames (F,).

        Differences of near points need float64, which is used whatever the features are. It is
        positive everywhere, so that its slope is finite.

        Raises
        ------
        ValueError
            If the features are of another width than those learnt from.
        """
        exact = features.to(torch.float64)
        parts: List[Tensor] = []  # noqa: UP006
        for element, rows in enumerate(by_element(exact, groups, self.layout)):
            nearness = torch.logsumexp(self._exponents(rows, element), dim=1)
            square = torch.nn.functional.softplus(-nearness) * self.width[element]
            parts.append(square.sqrt())
        return joined(parts, groups, self.layout)

    def smallest(self, features: Tensor, groups: AtomGroups) -> Tensor:
        """Return the distance to the nearest point without smoothing, (F, A) or (F,)."""
        exact = features.to(torch.float64)
        parts: List[Tensor] = []  # noqa: UP006
        for element, rows in enumerate(by_element(exact, groups, self.layout)):
            square = -self._exponents(rows, element).amax(dim=1) * self.width[element]
            parts.append(square.clamp(min=0.0).sqrt())
        return joined(parts, groups, self.layout)

    def _exponents(self, rows: Tensor, element: int) -> Tensor:
        """Return −β d_t² (n, P)."""
        if rows.shape[1] != self.twice.shape[1]:
            raise ValueError(
                f"the features have width {rows.shape[1]}, but {self.twice.shape[1]} were learnt "
                "from; fit again"
            )
        square = rows.square().sum(dim=1, keepdim=True) * self.curvature[element]
        return torch.addmm(self.offset[element], rows, self.twice[element]) - square
