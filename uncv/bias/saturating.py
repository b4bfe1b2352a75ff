"""Biases with a floor: they drive towards high uncertainty and let go once it is high."""

import math

import numpy as np
import torch
from torch import Tensor

from uncv.bias.base import Bias, FloatArray, positive
from uncv.units import KCAL_PER_MOL_IN_EV

GLYCINE = (15.4 * KCAL_PER_MOL_IN_EV, 0.12 * KCAL_PER_MOL_IN_EV)
"""A and B (eV) of the source of `UDDBias` for glycine, learnt from 125 frames on."""
ACETYLACETONE = (6.3 * KCAL_PER_MOL_IN_EV, 0.45 * KCAL_PER_MOL_IN_EV)
"""A and B (eV) of the source of `UDDBias` for acetylacetone with ANI-1x."""
UDD_RATIO = 0.36
"""Mean |F_bias|/|F| of the source of `UDDBias` for glycine, by which it advises to choose."""


class UDDBias(Bias):
    """The bias of uncertainty-driven dynamics: V falls from 0 to −A as a Gaussian of u rises.

    With ``members`` and ``atoms`` it is the published form, for u the standard deviation of the
    energies of so many members (`EnsembleUncertainty` of energies):
    V(u) = A [exp(−(M − 1) u² / (2 M N B²)) − 1]. Without, for another uncertainty:
    V(u) = A [exp(−u² / (2 B²)) − 1]. It is steepest at u = `width`, the B of the second form.

    Parameters
    ----------
    A : float
        Depth in eV, positive; as large as the barriers of interest or some times that. By default
        that of the source for glycine, 15.4 kcal/mol.
    B : float, optional
        Published form: in eV, of an uncertainty per square root of an atom; by default that of the
        source for glycine, 0.12 kcal/mol. Otherwise in the unit of u.
    members, atoms : int, optional
        M and N of the published form; both or neither.

    Notes
    -----
    Source: Kulichenko et al., Nat. Comput. Sci. 3, 230 (2023). There σ² = ½ Σ(E_m − Ē)², which is
    (M − 1) u² / 2. A calibrated u changes its scale when the calibration is made anew, and with it
    what B means: `choose_udd` chooses A and B from a warm-up.

    Examples
    --------
    >>> bias = UDDBias(A=0.5, B=0.02, members=8, atoms=22)
    >>> round(bias.width, 6)
    0.100285
    """

    def __init__(
        self,
        A: float = GLYCINE[0],
        B: float | None = None,
        members: int | None = None,
        atoms: int | None = None,
    ) -> None:
        super().__init__()
        if (members is None) != (atoms is None):
            raise ValueError(
                f"members is {members} and atoms is {atoms}; give both for the published form, or "
                "neither"
            )
        if members is None and B is None:
            raise ValueError("B has no default without members and atoms; give it in u's unit")
        self.A = positive("A", A)
        self.B = positive("B", GLYCINE[1] if B is None else B)
        self.members = members
        self.atoms = atoms
        self.width = self.B * udd_widening(members, atoms)

    def forward(self, u: Tensor) -> Tensor:
        """Return V (F,) in eV."""
        scaled = u / self.width
        return self.A * torch.expm1(-0.5 * scaled * scaled)

    def written_out(self, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return V and dV/du (F,) in numpy."""
        scaled = u / self.width
        exponent = -0.5 * scaled * scaled
        return self.A * np.expm1(exponent), -self.A / self.width * scaled * np.exp(exponent)

    def formula(self, u: str) -> str:
        """Return V as an expression of a term u."""
        return f"{self.A!r}*(exp(-0.5*({u}/{self.width!r})^2)-1)"

    def scaled(self, factor: float) -> "UDDBias":
        """Return the bias factor · V(u)."""
        return UDDBias(factor * self.A, self.B, self.members, self.atoms)

    def max_slope(self) -> float:
        """Return |dV/du| at u = width, where it is largest."""
        return self.A / self.width * math.exp(-0.5)

    def extra_repr(self) -> str:
        """Return the settings in words."""
        form = "" if self.members is None else f", members={self.members}, atoms={self.atoms}"
        return f"A={self.A}, B={self.B}{form}"


def udd_widening(members: int | None, atoms: int | None) -> float:
    """Return width / B of a `UDDBias`: sqrt(M N / (M − 1)), or 1 without members and atoms.

    Raises
    ------
    ValueError
        If there are too few members or atoms for a standard deviation.
    """
    if members is None or atoms is None:
        return 1.0
    if members < 2 or atoms < 1:
        raise ValueError(
            f"{members} members and {atoms} atoms have no spread; expected at least 2 and 1"
        )
    return math.sqrt(members * atoms / (members - 1))


class TanhBias(Bias):
    """V(u) = −depth · tanh(u / width): as `LinearBias` while u is small, and bounded.

    Parameters
    ----------
    depth : float
        In eV, positive.
    width : float
        In the unit of u, positive: the slope at u = 0 is −depth/width, and little is left of it
        above twice the width.

    Examples
    --------
    >>> round(float(TanhBias(depth=2.0, width=0.5)(torch.tensor(5.0))), 6)
    -2.0
    """

    def __init__(self, depth: float, width: float) -> None:
        super().__init__()
        self.depth = positive("depth", depth)
        self.width = positive("width", width)

    def forward(self, u: Tensor) -> Tensor:
        """Return V (F,) in eV."""
        return -self.depth * torch.tanh(u / self.width)

    def written_out(self, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return V and dV/du (F,) in numpy."""
        risen = np.tanh(u / self.width)
        return -self.depth * risen, -self.depth / self.width * (1.0 - risen * risen)

    def formula(self, u: str) -> str:
        """Return V as an expression of a term u."""
        return f"{-self.depth!r}*tanh({u}/{self.width!r})"

    def scaled(self, factor: float) -> "TanhBias":
        """Return the bias factor · V(u)."""
        return TanhBias(factor * self.depth, self.width)

    def max_slope(self) -> float:
        """Return |dV/du| at u = 0, where it is largest."""
        return self.depth / self.width

    def extra_repr(self) -> str:
        """Return the settings in words."""
        return f"depth={self.depth}, width={self.width}"
