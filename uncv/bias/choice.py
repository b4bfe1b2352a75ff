"""How strong a bias should be, from a short run without it.

The strength is chosen by the mean ratio r = ⟨|F_bias,i| / |F_i|⟩ over frames and atoms, as the
source of uncertainty-driven dynamics advises (equation 5 of Kulichenko et al., Nat. Comput. Sci. 3,
230 (2023)). The bias force on an atom is −V'(u) ∇_i u, so a bias that is α times as strong has α
times the ratio, and the strength follows without iteration.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from uncv.bias.base import Bias, positive
from uncv.bias.saturating import UDD_RATIO, TanhBias, UDDBias, udd_widening
from uncv.errors import DataError, GradientError

FloatArray = NDArray[np.float64]
SPREAD = 3.0
"""Width of a chosen saturating bias over the root mean square of u in the warm-up."""


@dataclass(frozen=True)
class WarmUp:
    """What a run without a bias says of u and of the forces.

    Parameters
    ----------
    uncertainty : array_like
        u of each frame (T,).
    gradient : array_like
        ∇u: vectors (T, A, 3), their norms (T, A), or the norms over all atoms (T,); per Å.
    force : array_like
        The physical forces in the same shape, eV/Å.

    Raises
    ------
    DataError
        If there are no frames, the shapes differ or a value is not finite.

    Examples
    --------
    >>> WarmUp([0.1, 0.2], gradient=[1.0, 1.0], force=[2.0, 4.0]).relative_gradient.tolist()
    [0.5, 0.25]
    """

    uncertainty: ArrayLike
    gradient: ArrayLike
    force: ArrayLike

    def __post_init__(self) -> None:
        u = np.asarray(self.uncertainty, dtype=np.float64)
        gradient, force = (np.asarray(x, dtype=np.float64) for x in (self.gradient, self.force))
        if u.ndim != 1 or not len(u) or gradient.shape != force.shape or len(force) != len(u):
            raise DataError(
                f"u, its gradient and the forces have shapes {u.shape}, {gradient.shape} and "
                f"{force.shape}; expected at least one frame, and two alike with as many frames"
            )
        if not all(np.isfinite(x).all() for x in (u, gradient, force)):
            raise DataError("the warm-up holds values that are NaN or infinite; leave them out")

    @property
    def relative_gradient(self) -> FloatArray:
        """⟨|∇_i u| / |F_i|⟩ over the atoms of each frame (T,); atoms without a force left out."""
        gradient, force = _norms(self.gradient), _norms(self.force)
        there = force > 0
        ratio = np.where(there, gradient / np.where(there, force, 1.0), np.nan)
        if not there.any(axis=1).all():
            raise DataError("a frame of the warm-up has no forces at all; leave it out")
        return np.asarray(np.nanmean(ratio, axis=1))

    @property
    def spread(self) -> float:
        """Root mean square of u."""
        return float(np.sqrt(np.mean(np.square(np.asarray(self.uncertainty, dtype=np.float64)))))


def mean_force_ratio(bias: Bias, warm_up: WarmUp) -> float:
    """Return r = ⟨|V'(u)| |∇_i u| / |F_i|⟩ over the frames and atoms of a warm-up."""
    u = torch.as_tensor(np.asarray(warm_up.uncertainty, dtype=np.float64))
    _, slope = bias.energy_and_slope(u)
    return float(np.mean(np.abs(slope.numpy()) * warm_up.relative_gradient))


def factor_for_ratio(bias: Bias, warm_up: WarmUp, ratio: float) -> float:
    """Return the factor ratio / r by which a bias has the mean force ratio wanted.

    Raises
    ------
    GradientError
        If the bias has no force in the warm-up.

    Examples
    --------
    >>> from uncv.bias import LinearBias
    >>> warm_up = WarmUp([0.1, 0.2], gradient=[1.0, 1.0], force=[2.0, 4.0])
    >>> round(factor_for_ratio(LinearBias(1.0), warm_up, 0.25), 6)
    0.666667
    """
    found = mean_force_ratio(bias, warm_up)
    if not found > 0:
        raise GradientError(
            f"{bias!r} has no force on the frames of the warm-up, so no strength reaches the ratio "
            f"{ratio}; warm up where u changes, or give the strength"
        )
    return positive("ratio", ratio) / found


def choose_udd(
    warm_up: WarmUp,
    ratio: float = UDD_RATIO,
    *,
    B: float | None = None,
    members: int | None = None,
    atoms: int | None = None,
) -> UDDBias:
    """Return the `UDDBias` whose mean force ratio in a warm-up is the one wanted.

    Parameters
    ----------
    warm_up : WarmUp
        A run without a bias.
    ratio : float
        ⟨|F_bias,i| / |F_i|⟩; by default that of the source.
    B : float, optional
        As of `UDDBias`. By default the bias is steepest at `SPREAD` times the root mean square of
        u in the warm-up, so that it still drives where the run has just come.
    members, atoms : int, optional
        As of `UDDBias`.

    Notes
    -----
    A = ratio / ⟨(|u|/w²) exp(−u²/2w²) ⟨|∇_i u|/|F_i|⟩_i⟩ with w the width of the bias.
    """
    if B is None:
        B = SPREAD * _spread(warm_up) / udd_widening(members, atoms)
    factor = factor_for_ratio(UDDBias(1.0, B, members, atoms), warm_up, ratio)
    return UDDBias(factor, B, members, atoms)


def choose_tanh(
    warm_up: WarmUp, ratio: float = UDD_RATIO, *, width: float | None = None
) -> TanhBias:
    """Return the `TanhBias` whose mean force ratio in a warm-up is the one wanted.

    The width is by default `SPREAD` times the root mean square of u in the warm-up.
    """
    width = SPREAD * _spread(warm_up) if width is None else width
    return TanhBias(factor_for_ratio(TanhBias(1.0, width), warm_up, ratio), width)


def _spread(warm_up: WarmUp) -> float:
    if not warm_up.spread > 0:
        raise GradientError(
            "u is 0 in the whole warm-up, so it gives no width; give the width of the bias"
        )
    return warm_up.spread


def _norms(values: ArrayLike) -> FloatArray:
    """Return norms (T, A); of values without an axis of atoms, (T, 1)."""
    array = np.abs(np.asarray(values, dtype=np.float64))
    if array.ndim == 3:
        return np.asarray(np.linalg.norm(array, axis=2))
    return array[:, None] if array.ndim == 1 else array
