"""What acts on a structure beside E: a bias of uncv, PLUMED, or both."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from uncv.ase.adaptive import AdaptiveForces, Coefficients
from uncv.ase.plumed import PlumedAction, PlumedAtoms
from uncv.bias import AdaptiveBias, Bias, CappedBias, ScheduledBias
from uncv.driver.native import Gradients, NativeBias
from uncv.errors import EngineError
from uncv.schedule import Constant
from uncv.step import FusedStep, StepForces, StepValues

FloatArray = NDArray[np.float64]
AseBias = Bias | AdaptiveBias | CappedBias | ScheduledBias
"""The biases that ASE's calculator takes."""


class _Begun(NamedTuple):
    """The structure evaluated last."""

    step: int
    slope: float
    action: PlumedAction | None
    volume: float


class Drive:
    """Biases of one structure, and what they remember from step to step.

    Parameters
    ----------
    bias : AseBias, optional
        As given to the calculator.
    stress_strength : float, optional
        Of the adaptive bias.
    plumed : PlumedAtoms, optional
        PLUMED for these atoms.
    atoms : ase.Atoms
        Gives elements and periodic directions.

    Attributes
    ----------
    capped : int
        Steps whose bias force was shortened by a cap.
    """

    def __init__(
        self,
        bias: AseBias | None,
        stress_strength: float | None,
        plumed: PlumedAtoms | None,
        atoms: Atoms,
    ) -> None:
        self.plumed = plumed
        self._key = _key(atoms)
        self._native = None if bias is None else NativeBias(bias, atoms.numbers, 1)
        self._schedule = Constant(1.0) if self._native is None else self._native.schedule
        self._bias, self._stress_strength, self._numbers = bias, stress_strength, atoms.numbers
        self._adaptive = self._windows()
        self._begun: _Begun | None = None
        self._counted = -1

    def __getstate__(self) -> dict[str, Any]:
        """Refuse to be copied with a live PLUMED instance."""
        if self.plumed is not None:
            raise EngineError(
                "a calculator with PLUMED in it cannot be copied once it has run; make another one"
            )
        return self.__dict__

    @property
    def capped(self) -> int:
        """Steps whose bias force was shortened by a cap."""
        return 0 if self._native is None else self._native.capped

    def fits(self, atoms: Atoms) -> bool:
        """Whether this is of these elements and periodic directions."""
        return self._key == _key(atoms)

    def coefficients(self) -> Coefficients | None:
        """Return c_F and c_S of the adaptive bias, None without one."""
        return None if self._adaptive is None else self._adaptive.coefficients()

    def forget(self) -> None:
        """Empty the windows of the adaptive bias."""
        self._adaptive = self._windows()

    def begin(self, step: int, atoms: Atoms, values: StepValues) -> float:
        """Return V in eV of a structure that is evaluated; 0 for the adaptive bias.

        Parameters
        ----------
        step : int
            Completed steps.
        atoms : ase.Atoms
            The structure.
        values : StepValues
            Its energy and uncertainty.
        """
        energy, slope, action = 0.0, 0.0, None
        if self._native is not None:
            u, active = values.uncertainty, np.ones(1, dtype=bool)
            both = self._native.energy_and_slope(u, step, active)
            energy, slope = float(both[0][0]), float(both[1][0])
        if self.plumed is not None:
            action = self.plumed.act(step, atoms, values)
            energy += action.bias
            slope += action.slope
        volume = atoms.get_volume() if atoms.pbc.all() else 0.0
        self._begun = _Begun(step, slope, action, volume)
        return energy

    def forces(self, fused: FusedStep) -> StepForces:
        """Return forces and stress of the structure that was begun."""
        if self._begun is None:
            raise RuntimeError("forces were asked for before the energy; this is a bug in uncv")
        begun, slope = self._begun, np.array([self._begun.slope])
        completed, self._counted = begun.step != self._counted, begun.step
        if self._adaptive is not None:
            factor = self._schedule.at(begun.step)
            both = fused.gradients_apart()
            return self._adaptive.forces(*both, completed=completed, factor=factor)
        if self._native is not None and self._native.apart:
            return self._capped(self._native, fused, slope, completed)
        if begun.action is None:
            return fused.derivatives(slope, np.ones(1))
        return _with_plumed(fused, slope, begun.action, begun.volume)

    def _windows(self) -> AdaptiveForces | None:
        inner = innermost(self._bias)
        if not isinstance(inner, AdaptiveBias):
            return None
        strength = inner.strength if self._stress_strength is None else self._stress_strength
        return AdaptiveForces(inner, strength, self._numbers)

    def _capped(
        self, native: NativeBias, fused: FusedStep, slope: FloatArray, completed: bool
    ) -> StepForces:
        """Shorten the bias force and, by the same share, the bias stress."""
        of_u, of_energy = fused.gradients_apart()
        gradients = Gradients(of_u.positions.numpy(), of_energy.positions.numpy())
        native.force(gradients, slope, self._counted, np.array([completed]))
        left = native.share(gradients, slope) * slope
        forces = -gradients.of_energy - left[:, None, None] * gradients.of_u
        if of_u.stress is None or of_energy.stress is None:
            return StepForces(forces, None)
        stress = of_energy.stress.numpy() + left[:, None, None] * of_u.stress.numpy()
        return StepForces(forces, stress)


def innermost(bias: AseBias | None) -> Bias | AdaptiveBias | None:
    """Return what a schedule and a cap stand around."""
    if isinstance(bias, ScheduledBias):
        bias = bias.bias
    return bias.bias if isinstance(bias, CappedBias) else bias


def _with_plumed(
    fused: FusedStep, slope: FloatArray, action: PlumedAction, volume: float
) -> StepForces:
    through = fused.derivatives(slope, np.array([1.0 + action.weight]), action.atomic)
    stress = through.stress
    if stress is not None:
        stress = stress + action.by_strain / volume
    return StepForces(through.forces + action.forces, stress)


def _key(atoms: Atoms) -> tuple[bytes, bytes]:
    return atoms.numbers.tobytes(), atoms.pbc.tobytes()
