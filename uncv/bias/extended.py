"""Extended-system sampling of u: a fictitious variable λ, tied to u and driven along its range.

A walker feels only the spring k/2 (u − λ)². λ is a particle of its own with a Langevin thermostat,
pushed by an adaptive biasing force (ABF) and by well-tempered hills (WTM), both on a grid that all
walkers share: WTM-eABF. The free energy along u follows from u and λ alone by the CZAR estimator,
whatever pushes λ, so it needs no converged bias.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uncv.bias.czar import FreeEnergyProfile, integrate
from uncv.units import KB_IN_EV_PER_K

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class ExtendedBias:
    """λ tied to u by k/2 (u − λ)² with k = k_BT/width², and driven by WTM-eABF.

    Energies are in eV, u and λ in the unit of u (by the kind of the collective variable).

    Parameters
    ----------
    lower, upper : float
        Range of λ; it is reflected at its ends. u may leave it.
    width : float
        Thermal width of u around λ; a few bins, and no wider than the features of the free energy.
    temperature : float
        In K, that of the dynamics.
    bins : int
        Of the grids over the range.
    period : float
        Of the free oscillation of λ in its spring, fs; it sets the mass k (period/2π)².
    friction : float
        Of λ's thermostat, 1/ps.
    full_samples : int
        Samples in a bin at which ABF acts in full; below, it is scaled by their share.
    height : float
        Of a hill at its first deposit; 0 for ABF alone.
    hill_width : float
        Standard deviation of a hill in bins.
    bias_factor : float
        γ of the well-tempered heights: V → height · exp(−V/((γ − 1) k_BT)).
    pace : int
        Steps between hills of a walker.
    seed : int
        Of λ's thermostat.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Notes
    -----
    Sources: Fu, Shao, Cai and Chipot, Acc. Chem. Res. 52, 3254 (2019) for WTM-eABF; Lesage,
    Lelièvre, Stoltz and Hénin, J. Phys. Chem. B 121, 3676 (2017) for CZAR; Tan and others (2025)
    for its use with an uncertainty.
    """

    lower: float
    upper: float
    width: float
    temperature: float = 300.0
    bins: int = 100
    period: float = 100.0
    friction: float = 10.0
    full_samples: int = 200
    height: float = 0.0
    hill_width: float = 2.0
    bias_factor: float = 10.0
    pace: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lower) and self.lower < self.upper < math.inf):
            raise ValueError(f"the range is {self.lower} to {self.upper}; expected lower < upper")
        for name in ("width", "temperature", "period", "friction", "hill_width"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a positive number")
        for name, least in (("bins", 4), ("full_samples", 1), ("pace", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least {least}")
        if self.height < 0.0 or self.bias_factor <= 1.0:
            raise ValueError(
                f"height is {self.height} and bias_factor {self.bias_factor}; expected a height "
                "that is not negative and a factor above 1"
            )

    @property
    def kt(self) -> float:
        """k_BT in eV."""
        return KB_IN_EV_PER_K * self.temperature

    @property
    def spring(self) -> float:
        """Force constant k in eV per squared unit of u."""
        return self.kt / self.width**2

    @property
    def mass(self) -> float:
        """Mass of λ in eV fs² per squared unit of u."""
        return self.spring * (self.period / (2.0 * math.pi)) ** 2


class ExtendedVariables:
    """λ of each walker as it moves, and what was learned on the grids.

    Parameters
    ----------
    bias : ExtendedBias
        The settings.
    walkers : int
        W.
    """

    def __init__(self, bias: ExtendedBias, walkers: int) -> None:
        self.bias = bias
        self.edges = np.linspace(bias.lower, bias.upper, bias.bins + 1)
        self.position = np.full(walkers, np.nan)  # unknown until u is
        self.velocity = np.zeros(walkers)
        self.steps = np.zeros(walkers, dtype=np.int64)
        self.force_sum = np.zeros(bias.bins)  # of the spring on λ, by λ
        self.force_samples = np.zeros(bias.bins, dtype=np.int64)
        self.hills = np.zeros(bias.bins + 1)  # at the edges
        self.gap_sum = np.zeros(bias.bins)  # of λ − u, by u
        self.samples = np.zeros(bias.bins, dtype=np.int64)  # by u
        self._random = np.random.default_rng(bias.seed)

    def energy_and_slope(self, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return k/2 (u − λ)² (W,) in eV and its derivative by u (W,).

        A walker whose λ is unknown, at its first step or after a restart, gets λ = u within the
        range.
        """
        new = np.isnan(self.position) & np.isfinite(u)
        self.position[new] = np.clip(u[new], self.bias.lower, self.bias.upper)
        self.velocity[new] = self._thermal(int(new.sum()))
        gap = u - self.position
        return 0.5 * self.bias.spring * gap**2, self.bias.spring * gap

    def advance(self, u: FloatArray, active: NDArray[np.bool_], timestep: float) -> None:
        """Sample u and λ of a completed step, deposit what is due, and move λ by one step.

        Parameters
        ----------
        u : numpy.ndarray
            Of each walker (W,) at the step.
        active : numpy.ndarray
            Walkers that count (W,).
        timestep : float
            In fs.
        """
        walkers = np.flatnonzero(active & ~np.isnan(self.position))
        if not len(walkers):
            return
        self._sample(u[walkers], self.position[walkers])
        self.steps[walkers] += 1
        if self.bias.height > 0.0:
            due = walkers[self.steps[walkers] % self.bias.pace == 0]
            self._deposit(self.position[due])
        self._move(u, walkers, timestep)

    def forget(self, walker: int) -> None:
        """Begin anew for a walker that was restarted; the grids stay."""
        self.position[walker] = np.nan

    def push(self, position: FloatArray) -> FloatArray:
        """Return the force of ABF and hills on λ (n,), eV per unit of u."""
        place = self._bin(position)
        count = np.maximum(self.force_samples[place], 1)
        ramp = np.minimum(1.0, self.force_samples[place] / self.bias.full_samples)
        abf = -ramp * self.force_sum[place] / count
        spacing = self.edges[1] - self.edges[0]
        return abf - (self.hills[place + 1] - self.hills[place]) / spacing

    @property
    def has_profile(self) -> bool:
        """Whether u was sampled in neighbouring bins."""
        seen = self.samples > 0
        return bool((seen[1:] & seen[:-1]).any())

    def profile(self) -> FreeEnergyProfile:
        """Return the free energy along u by CZAR; see `czar`.

        Raises
        ------
        ValueError
            If no two neighbouring bins were sampled.
        """
        kt, spring = self.bias.kt, self.bias.spring
        return integrate(self.samples, self.gap_sum, self.edges, spring, kt)

    def state(self) -> dict[str, NDArray]:
        """Return what a checkpoint must hold."""
        kept = {name: getattr(self, name).copy() for name in _KEPT}
        random = json.dumps(self._random.bit_generator.state)
        return {f"extended {name}": value for name, value in kept.items()} | {
            "extended random": np.array(random)
        }

    def restore(self, kept: dict[str, NDArray]) -> None:
        """Take up the state that `state` gave."""
        for name in _KEPT:
            setattr(self, name, np.array(kept[f"extended {name}"]))
        self._random.bit_generator.state = json.loads(str(kept["extended random"]))

    def _sample(self, u: FloatArray, position: FloatArray) -> None:
        place = self._bin(position)
        np.add.at(self.force_sum, place, self.bias.spring * (u - position))
        np.add.at(self.force_samples, place, 1)
        inside = (u >= self.bias.lower) & (u < self.bias.upper)
        place = self._bin(u[inside])
        np.add.at(self.gap_sum, place, position[inside] - u[inside])
        np.add.at(self.samples, place, 1)

    def _deposit(self, position: FloatArray) -> None:
        bias = self.bias
        width = bias.hill_width * (self.edges[1] - self.edges[0])
        for centre in position:
            now = float(np.interp(centre, self.edges, self.hills))
            height = bias.height * math.exp(-now / ((bias.bias_factor - 1.0) * bias.kt))
            self.hills += height * np.exp(-0.5 * ((self.edges - centre) / width) ** 2)

    def _move(self, u: FloatArray, walkers: NDArray[np.int64], timestep: float) -> None:
        """Kick, drift, thermostat, drift, kick (BAOAB), reflected at the ends of the range."""
        bias = self.bias
        x, v = self.position[walkers], self.velocity[walkers]
        half = 0.5 * timestep / bias.mass
        keep = math.exp(-bias.friction * timestep * 1e-3)
        v = v + half * self._force(u[walkers], x)
        x, v = self._reflected(x + 0.5 * timestep * v, v)
        v = keep * v + math.sqrt(1.0 - keep**2) * self._thermal(len(v))
        x, v = self._reflected(x + 0.5 * timestep * v, v)
        v = v + half * self._force(u[walkers], x)
        self.position[walkers], self.velocity[walkers] = x, v

    def _force(self, u: FloatArray, position: FloatArray) -> FloatArray:
        return self.bias.spring * (u - position) + self.push(position)

    def _reflected(self, x: FloatArray, v: FloatArray) -> tuple[FloatArray, FloatArray]:
        lower, upper = self.bias.lower, self.bias.upper
        out = (x < lower) | (x > upper)
        x = np.where(x < lower, 2.0 * lower - x, np.where(x > upper, 2.0 * upper - x, x))
        return np.clip(x, lower, upper), np.where(out, -v, v)

    def _thermal(self, count: int) -> FloatArray:
        return self._random.normal(size=count) * math.sqrt(self.bias.kt / self.bias.mass)

    def _bin(self, x: FloatArray) -> NDArray[np.int64]:
        share = (x - self.bias.lower) / (self.bias.upper - self.bias.lower)
        return np.clip((share * self.bias.bins).astype(np.int64), 0, self.bias.bins - 1)


_KEPT = (
    "position",
    "velocity",
    "steps",
    "force_sum",
    "force_samples",
    "hills",
    "gap_sum",
    "samples",
)
