"""Which sampled frames are worth a label: uncertain, and not too high in energy.

P_U = ½ [1 + erf((U − Ū − s σ_U) / (g σ_U √0.2))] rises with the uncertainty U of a frame, from
0.001 one standard deviation above the mean over ½ at s = 2 to 0.999 at three (g = 1).
P_E = min(1, exp(ln 0.2 · (E − Ē − σ_E) / (0.8 σ_E))) falls with its energy E, from 1 at one
standard deviation above the mean to 0.2 at 1.8. A frame is accepted with probability P_U · P_E.
Means and standard deviations are those of a fixed reference set.

Source: Kang, Purcell, Carbogno, Scheffler, arXiv 2409.11808 (ALmoMD).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.acceptance_factors import BoltzmannFactor, EnergyFactor, UncertaintyFactor
from uncv.config.selection import AcceptanceConfig
from uncv.errors import DataError

FloatArray = NDArray[np.float64]

__all__ = [
    "Acceptance",
    "BoltzmannFactor",
    "EnergyFactor",
    "UncertaintyFactor",
    "make_acceptance",
]


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


def make_acceptance(
    config: AcceptanceConfig, uncertainty: ArrayLike, energy: ArrayLike, temperature: float
) -> Acceptance | None:
    """Return the acceptance that a configuration asks for, None if it accepts all.

    Parameters
    ----------
    config : AcceptanceConfig
        The section.
    uncertainty, energy : array_like
        Of the reference set; see `Acceptance.from_reference`.
    temperature : float
        Of the dynamics, K, where the section names none.

    Raises
    ------
    DataError
        As `Acceptance.from_reference`.
    """
    if config.kind == "none":
        return None
    if config.kind == "boltzmann":
        temperature = config.temperature_k or temperature
        return Acceptance.from_reference(
            uncertainty, energy, s=config.s, g=config.g, temperature=temperature
        )
    return Acceptance.from_reference(uncertainty, energy, s=config.s, g=config.g)


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
