"""Which sampled frames are worth a label: uncertain, and not too high in energy.

P_U = ½ [1 + erf((U − Ū − s σ_U) / (g σ_U √0.2))] rises with the uncertainty U of a frame, from
0.001 one standard deviation above the mean over ½ at s = 2 to 0.999 at three (g = 1).
P_E = min(1, exp(ln 0.2 · (E − Ē − σ_E) / (0.8 σ_E))) falls with its energy E, from 1 at one
standard deviation above the mean to 0.2 at 1.8. A frame is accepted with probability P_U · P_E.
Means and standard deviations are those of a fixed reference set.

Source: Kang, Purcell, Carbogno, Scheffler, arXiv 2409.11808 (ALmoMD).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erf

from uncv.errors import DataError
from uncv.units import KB_IN_EV_PER_K

FloatArray = NDArray[np.float64]
WIDTH = math.sqrt(0.2)
LOW, LOW_AT = 0.2, 0.8
"""P_E falls to the first within the second, in standard deviations."""


@dataclass(frozen=True)
class UncertaintyFactor:
    """P_U: rises from 0 to 1 with the uncertainty of a frame.

    Parameters
    ----------
    mean, std : float
        Of the uncertainty on the reference set.
    s : float
        Where the factor is ½, in standard deviations above the mean.
    g : float
        Width of the rise; 1 as published.

    Examples
    --------
    >>> factor = UncertaintyFactor(mean=0.0, std=1.0)
    >>> [round(float(factor(u)), 3) for u in (1.0, 1.5, 2.0, 2.5, 3.0)]
    [0.001, 0.057, 0.5, 0.943, 0.999]
    """

    mean: float
    std: float
    s: float = 2.0
    g: float = 1.0

    def __post_init__(self) -> None:
        _check_positive(std=self.std, g=self.g)

    def __call__(self, uncertainty: ArrayLike) -> FloatArray:
        """Return the factor for uncertainties of any shape."""
        above = np.asarray(uncertainty, dtype=np.float64) - self.mean - self.s * self.std
        return np.asarray(0.5 * (1.0 + erf(above / (self.g * self.std * WIDTH))))


@dataclass(frozen=True)
class EnergyFactor:
    """P_E: 1 for all but high energies, then falling exponentially.

    Parameters
    ----------
    mean, std : float
        Of the potential energy on the reference set, eV.

    Examples
    --------
    >>> factor = EnergyFactor(mean=0.0, std=1.0)
    >>> [round(float(factor(e)), 2) for e in (-5.0, 1.0, 1.8, 2.6)]
    [1.0, 1.0, 0.2, 0.04]
    """

    mean: float
    std: float

    def __post_init__(self) -> None:
        _check_positive(std=self.std)

    def __call__(self, energy: ArrayLike) -> FloatArray:
        """Return the factor for energies of any shape, in eV."""
        above = np.asarray(energy, dtype=np.float64) - self.mean - self.std
        return np.exp(np.minimum(math.log(LOW) * above / (LOW_AT * self.std), 0.0))


@dataclass(frozen=True)
class BoltzmannFactor:
    """min(1, exp(−(E − E0)/k_BT)) in place of P_E.

    Total energies of many atoms spread by far more than k_BT, so a factor for all but the lowest
    of them is small; E0 may be chosen as the highest energy that is welcome.

    Parameters
    ----------
    zero : float
        E0, eV.
    temperature : float
        T, K.

    Examples
    --------
    >>> factor = BoltzmannFactor(zero=-1.0, temperature=300.0)
    >>> [round(float(factor(e)), 3) for e in (-2.0, -1.0, -0.9)]
    [1.0, 1.0, 0.021]
    """

    zero: float
    temperature: float

    def __post_init__(self) -> None:
        _check_positive(temperature=self.temperature)

    def __call__(self, energy: ArrayLike) -> FloatArray:
        """Return the factor for energies of any shape, in eV."""
        above = np.asarray(energy, dtype=np.float64) - self.zero
        return np.exp(-np.maximum(above, 0.0) / (KB_IN_EV_PER_K * self.temperature))


@dataclass(frozen=True)
class Acceptance:
    """The probability that a frame is accepted, as a product of two factors.

    Parameters
    ----------
    uncertainty : UncertaintyFactor
        P_U.
    energy : EnergyFactor or BoltzmannFactor
        P_E, or what takes its place.
    """

    uncertainty: UncertaintyFactor
    energy: EnergyFactor | BoltzmannFactor

    @classmethod
    def from_reference(
        cls,
        uncertainty: ArrayLike,
        energy: ArrayLike,
        *,
        s: float = 2.0,
        g: float = 1.0,
        temperature: float | None = None,
    ) -> Self:
        """Return the acceptance whose scales are those of a reference set.

        Parameters
        ----------
        uncertainty, energy : array_like
            Of the n frames of the set; energies in eV, of the kind that `probability` is asked for.
        s, g : float
            See `UncertaintyFactor`.
        temperature : float, optional
            In K; with it the energy has a `BoltzmannFactor` from the mean energy on.

        Raises
        ------
        DataError
            If there are fewer than two frames, values are not finite, or all are the same.

        Notes
        -----
        Standard deviations have the divisor n − 1.
        """
        of_u = _scale("uncertainty", uncertainty)
        of_e = _scale("energy", energy)
        rising = UncertaintyFactor(*of_u, s, g)
        if temperature is None:
            return cls(rising, EnergyFactor(*of_e))
        return cls(rising, BoltzmannFactor(of_e[0], temperature))

    def probability(self, uncertainty: ArrayLike, energy: ArrayLike) -> FloatArray:
        """Return the probability of each frame (F,).

        Parameters
        ----------
        uncertainty : array_like
            (F,), in the unit of the reference set.
        energy : array_like
            (F,), eV.

        Raises
        ------
        DataError
            If the shapes differ, or a value is NaN.
        """
        u, e = np.asarray(uncertainty, np.float64), np.asarray(energy, np.float64)
        if u.shape != e.shape:
            raise DataError(
                f"uncertainties have shape {u.shape} and energies {e.shape}; give one of each for "
                "every frame"
            )
        if np.isnan(u).any() or np.isnan(e).any():
            raise DataError("an uncertainty or energy is NaN; remove these frames first")
        return self.uncertainty(u) * self.energy(e)

    def accept(self, uncertainty: ArrayLike, energy: ArrayLike, seed: int) -> NDArray[np.bool_]:
        """Return for each frame (F,) whether it is accepted, by the seed.

        Raises
        ------
        DataError
            As `probability`.
        """
        chance = self.probability(uncertainty, energy)
        return np.random.default_rng(seed).random(chance.shape) < chance


def _scale(name: str, values: ArrayLike) -> tuple[float, float]:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or len(found) < 2:
        raise DataError(
            f"the {name} of the reference set has shape {found.shape}; expected one value for each "
            "of at least 2 frames"
        )
    if not np.isfinite(found).all():
        raise DataError(f"the {name} of the reference set holds NaN or infinite values")
    mean, std = float(found.mean()), float(found.std(ddof=1))
    if not std > 1e-12 * abs(mean):
        raise DataError(
            f"the {name} of all {len(found)} reference frames is the same ({mean:g}); take frames "
            "that differ, such as every tenth of a run"
        )
    return mean, std


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name} is {value}; expected a positive number")
