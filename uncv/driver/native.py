"""The bias that uncv itself applies: an energy V(u), or a force beside that of the potential."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncv.bias import (
    AdaptiveBias,
    AnyBias,
    Bias,
    CappedBias,
    ExtendedBias,
    ExtendedVariables,
    ScheduledBias,
)
from uncv.driver.region import FloatArray
from uncv.driver.window import Window
from uncv.schedule import Constant, Schedule
from uncv.units import FS_IN_PS

LEAST = 1e-300
"""Keeps a quotient of forces finite where there is none."""


class _Evaluation(NamedTuple):
    """What the extended bias saw last: u of the walkers (W,) and which of them count (W,)."""

    step: int
    time: float
    u: FloatArray
    active: NDArray[np.bool_]


class Gradients(NamedTuple):
    """∇u and ∇E of each walker (W, A, 3)."""

    of_u: FloatArray
    of_energy: FloatArray


class NativeBias:
    """A bias of W walkers, with what it remembers from step to step.

    Parameters
    ----------
    bias : AnyBias
        As given to the engine.
    numbers : numpy.ndarray
        Atomic numbers (A,) of a walker.
    walkers : int
        W.

    Attributes
    ----------
    window : Window or None
        Of the adaptive bias.
    extended : ExtendedVariables or None
        λ of the walkers, and the free energy along u.
    capped : int
        Completed steps of walkers whose bias force was shortened by a cap.
    coefficient : numpy.ndarray or None
        c of the adaptive bias for each walker (W,) at the evaluation that came last.
    """

    def __init__(self, bias: AnyBias, numbers: NDArray[np.int64], walkers: int) -> None:
        self.schedule: Schedule = Constant(1.0)
        if isinstance(bias, ScheduledBias):
            self.schedule, bias = bias.schedule, bias.bias
        self._cap = bias if isinstance(bias, CappedBias) else None
        inner = bias.bias if isinstance(bias, CappedBias) else bias
        self._potential = inner if isinstance(inner, Bias) else None
        self.window = Window(inner, numbers, walkers) if isinstance(inner, AdaptiveBias) else None
        self.extended = (
            ExtendedVariables(inner, walkers) if isinstance(inner, ExtendedBias) else None
        )
        self.capped = 0
        self.coefficient: FloatArray | None = None
        self._last: _Evaluation | None = None
        self._now = (0, 0.0)

    @property
    def apart(self) -> bool:
        """Whether its force needs ∇u and ∇E apart, and is no derivative of an energy."""
        return self._cap is not None or self.window is not None

    def begin(self, step: int, time: float) -> None:
        """Complete what is due before an evaluation: λ of the extended bias moves on.

        Parameters
        ----------
        step, time : int, float
            Completed steps, and the time in ps.
        """
        last = self._last
        if self.extended is not None and last is not None and step > last.step:
            timestep = (time - last.time) / (step - last.step) / FS_IN_PS
            self.extended.advance(last.u, last.active, timestep)
        self._now = (step, time)

    def energy_and_slope(
        self, u: FloatArray, step: int, active: NDArray[np.bool_]
    ) -> tuple[FloatArray, FloatArray]:
        """Return V in eV and dV/du of each walker (W,); zero for the adaptive bias."""
        if self.extended is not None:
            self._last = _Evaluation(*self._now, u.copy(), active.copy())
            return self.extended.energy_and_slope(u)
        if self._potential is None:
            return np.zeros(len(u)), np.zeros(len(u))
        energy, slope = self._potential.at(u)
        factor = self.schedule.at(step)
        return factor * energy, factor * slope

    def force(
        self, gradients: Gradients, slope: FloatArray, step: int, completed: NDArray[np.bool_]
    ) -> FloatArray:
        """Return the bias force (W, A, 3) in eV/Å where it is not simply −V'(u) ∇u.

        Parameters
        ----------
        gradients : Gradients
            At this evaluation.
        slope : numpy.ndarray
            dV/du (W,).
        step : int
            Completed steps.
        completed : numpy.ndarray
            Walkers (W,) that have completed a step since the last evaluation.
        """
        if self.window is not None:
            return self._adaptive(self.window, gradients, step, completed)
        share = self.share(gradients, slope)
        self.capped += int((completed & (share < 1.0)).sum())
        return -(share * slope)[:, None, None] * gradients.of_u

    def share(self, gradients: Gradients, slope: FloatArray) -> FloatArray:
        """Return how much of −V'(u) ∇u of each walker (W,) a cap leaves, at most 1."""
        whole = -slope[:, None, None] * gradients.of_u
        return _share(self._cap, whole, gradients.of_energy)

    def forget(self, walker: int) -> None:
        """Begin anew for a walker that was restarted."""
        if self.window is not None:
            self.window.forget(walker)
        if self.extended is not None:
            self.extended.forget(walker)

    def state(self) -> dict[str, NDArray]:
        """Return what a checkpoint must hold."""
        kept = {"capped": np.array(self.capped)}
        if self.window is not None:
            kept |= {"squares": self.window.squares, "filled": self.window.filled}
        if self.extended is not None:
            kept |= self.extended.state()
        if self._last is not None:
            kept |= {f"native {k}": np.array(v) for k, v in self._last._asdict().items()}
        return kept

    def restore(self, kept: dict[str, NDArray]) -> None:
        """Take up the state that `state` gave."""
        self.capped = int(kept["capped"])
        if self.window is not None:
            self.window.squares = np.array(kept["squares"])
            self.window.filled = np.array(kept["filled"])
        if self.extended is not None:
            self.extended.restore(kept)
        if "native step" in kept:
            step, time = int(kept["native step"]), float(kept["native time"])
            self._last = _Evaluation(step, time, kept["native u"], kept["native active"])

    def _adaptive(
        self, window: Window, gradients: Gradients, step: int, completed: NDArray[np.bool_]
    ) -> FloatArray:
        window.push(gradients.of_energy, gradients.of_u, completed)
        self.coefficient = window.coefficient()
        strength = window.bias.strength * self.schedule.at(step)
        size = strength * self.coefficient[:, None, None]
        return size * window.weights * gradients.of_u


def _share(cap: CappedBias | None, bias: FloatArray, physical: FloatArray) -> FloatArray:
    """Return how much of the bias force of each walker (W,) a cap leaves, at most 1."""
    share = np.ones(len(bias))
    if cap is not None and cap.max_force is not None:
        largest = np.sqrt((bias**2).sum(axis=2)).max(axis=1)
        share = np.minimum(share, _shortening(largest, cap.max_force))
    if cap is not None and cap.max_ratio is not None:
        length, limit = (np.sqrt((x**2).sum(axis=(1, 2))) for x in (bias, physical))
        share = np.minimum(share, _shortening(length, cap.max_ratio * limit))
    return share


def _shortening(length: FloatArray, limit: FloatArray | float) -> FloatArray:
    """Return min(1, limit / length)."""
    return np.asarray(limit / np.maximum(np.maximum(length, limit), LEAST))
