"""The bias whose force is kept at a fixed share of the physical one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from uncv.bias.base import finite


@dataclass(frozen=True)
class AdaptiveBias:
    """Bias force of fixed size relative to the physical force; exploration only.

    F_i = F̄_i + strength · c · a_i · ∇_i u, with c = sqrt(⟨Σ|F|²⟩ / ⟨Σ|∇u|²⟩) over the last
    ``window`` steps of the walker; no bias until the window is full. It has no potential: runs
    cannot be reweighted and energy is not conserved. c ∇u does not change when u is rescaled.

    Parameters
    ----------
    strength : float
        Size of the bias force relative to the physical one.
    hydrogen : float
        Weight a of hydrogen. The default 0 leaves fast modes alone.
    window : int
        Steps.
    elements : mapping of str to float
        Weights a of elements by their symbol, as ``{"O": 0.5}``; 1 for those that are not named. H
        in it goes before ``hydrogen``.

    Notes
    -----
    Source: Zaverkin et al., npj Comput. Mater. 10, 83 (2024).
    """

    strength: float = 0.25
    hydrogen: float = 0.0
    window: int = 100
    elements: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        finite("strength", self.strength)
        finite("hydrogen", self.hydrogen)
        if self.window < 1:
            raise ValueError(f"window is {self.window} steps; expected at least 1")
        object.__setattr__(self, "elements", dict(self.elements))  # ours from now on
        for symbol, weight in self.elements.items():
            if atomic_numbers.get(symbol, 0) < 1:
                raise ValueError(f"elements names {symbol!r}; expected symbols such as 'H' or 'Al'")
            finite(f"the weight of {symbol}", weight)

    def weights(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return a of each atom (A,) by its atomic number.

        >>> AdaptiveBias(elements={"O": 0.5}).weights(np.array([8, 1, 6])).tolist()
        [0.5, 0.0, 1.0]
        """
        given = {"H": self.hydrogen, **self.elements}
        return np.array([given.get(chemical_symbols[int(z)], 1.0) for z in numbers])
