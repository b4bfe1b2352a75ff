"""The factors of an acceptance: one rises with the uncertainty, the other falls with the energy.

Source: Kang, Purcell, Carbogno, Scheffler, arXiv 2409.11808 (ALmoMD).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erf

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


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name} is {value}; expected a positive number")
