"""The calculator: one forward and, for a conservative bias, one backward pass a structure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.outputs import Properties, all_outputs
from ase.stress import full_3x3_to_voigt_6_stress

from uncv.ase.adaptive import Coefficients
from uncv.ase.checks import check_settings, checked_atoms
from uncv.ase.drive import AseBias, Drive, innermost
from uncv.ase.plumed import PlumedAtoms
from uncv.bias import AdaptiveBias
from uncv.cv import UncertaintyCV
from uncv.errors import EngineError
from uncv.plumed import Plumed
from uncv.step import FusedStep, StepForces, StepValues

VALUES = ("uncertainty", "bias", "energy_unbiased")
ARRAYS = ("atomic_uncertainty", "forces_unbiased")
"""Results of a structure, and of each atom, that ASE has no name for."""


class UncertaintyCalculator(Calculator):
    """The mean energy of an ensemble plus a bias of its uncertainty.

    ``energy``, ``free_energy``, ``forces`` and ``stress`` are those of E + V(u). Beside them, by
    ``calc.get_property(name, atoms)`` or in ``calc.results``: ``uncertainty``,
    ``atomic_uncertainty`` (A,), ``bias`` (V in eV), ``energy_unbiased``, ``forces_unbiased``
    (A, 3) and ``stress_unbiased`` (6,). The last two take a backward pass of their own and are
    there once they are asked for.

    Parameters
    ----------
    cv : UncertaintyCV
        Potential and uncertainty; several calculators may share it.
    bias : Bias, AdaptiveBias, CappedBias or ScheduledBias, optional
        V(u); or the adaptive bias, for dynamics alone: it has no potential, ``energy`` is that of
        the model, and each new structure whose forces are asked for is a step of its windows.
        A capped bias has no potential where it is cut: its bias stress is cut by the same share.
    stress_strength : float, optional
        Size of the adaptive bias stress relative to the physical one; that of the force by default.
    plumed : str, Path or Plumed, optional
        PLUMED input, which sees u, E, the atoms and the cell; its bias is part of ``bias``.
    walker, walkers : int
        Number of this structure among several that run with the same PLUMED input.

    Attributes
    ----------
    completed_steps : int or None
        Set it before each step of your dynamics to say how many are complete: PLUMED deposits, and
        schedules and windows move on, when it has risen. While it is None each new structure that
        is evaluated counts as a step.

    Raises
    ------
    EngineError
        If there is a bias but the gradient of u jumps, or a bias without potential beside PLUMED;
        when a structure is not finite, has no atoms, or is periodic along a cell vector that it
        lacks.
    PlumedError
        With the first structure, if the PLUMED input is refused.
    ElementError
        When the potential does not know an element.

    Notes
    -----
    The stress is (1/V) ∂(E + V)/∂ε in ASE's order xx, yy, zz, yz, xz, xy, tension positive, where
    all directions are periodic. The adaptive bias gives F + strength·c_F·a ∇u and
    σ − stress_strength·c_S·(1/V) ∂u/∂ε with c the ratio of root mean squares over the window.
    Source: Zaverkin et al., npj Comput. Mater. 10, 83 (2024).
    """

    implemented_properties = [  # noqa: RUF012  declared like this by ASE
        "energy", "free_energy", "forces", "stress", "stress_unbiased", *VALUES, *ARRAYS,
    ]  # fmt: skip
    ignored_changes = {"initial_charges", "initial_magmoms"}  # noqa: RUF012

    def __init__(
        self,
        cv: UncertaintyCV,
        bias: AseBias | None = None,
        *,
        stress_strength: float | None = None,
        plumed: str | Path | Plumed | None = None,
        walker: int = 0,
        walkers: int = 1,
    ) -> None:
        check_settings(cv, bias, stress_strength, plumed)
        self.cv = cv
        self.bias = bias
        self.stress_strength = stress_strength
        self.completed_steps: int | None = None
        self._plumed = plumed
        self._walker = (walker, walkers)
        self._drive: Drive | None = None
        self._counted = -1
        self._step: FusedStep | None = None
        self._made_for: tuple[bytes, bytes] | None = None
        self._values: StepValues | None = None
        super().__init__()
        self.parameters.update(_description(cv, bias, stress_strength, plumed))

    @property
    def coefficients(self) -> Coefficients | None:
        """What the adaptive bias multiplies ∇u by; None without that bias."""
        if self._drive is not None:
            return self._drive.coefficients()
        return Coefficients(0.0, 0.0) if isinstance(innermost(self.bias), AdaptiveBias) else None

    @property
    def capped(self) -> int:
        """Steps whose bias force was shortened by a cap."""
        return 0 if self._drive is None else self._drive.capped

    @property
    def plumed(self) -> PlumedAtoms | None:
        """The PLUMED instance, from the first evaluation on."""
        return None if self._drive is None else self._drive.plumed

    def flush(self) -> None:
        """Complete a run: PLUMED's updates up to the step before the last structure are made."""
        if self.plumed is not None:
            self.plumed.flush(self._counted)

    def close(self) -> None:
        """End PLUMED, which writes out what it holds back; a second call does nothing."""
        if self.plumed is not None:
            self.plumed.close()

    def __getstate__(self) -> dict[str, Any]:
        """Leave the last evaluation behind in copies and pickles; the windows go along."""
        gone: dict[str, Any] = {
            "_step": None,
            "_made_for": None,
            "_values": None,
            "atoms": None,
            "results": {},
        }
        return self.__dict__ | gone

    def set(self, **kwargs: Any) -> dict[str, Any]:
        """Refuse new settings: what was computed would not be of them.

        Raises
        ------
        EngineError
            If there are any.
        """
        if kwargs:
            raise EngineError(
                f"{', '.join(sorted(kwargs))} cannot be set on a calculator that is made; "
                "make another UncertaintyCalculator of the same cv"
            )
        return {}

    def reset(self) -> None:
        """Forget the last calculation and what the adaptive bias has averaged; PLUMED goes on."""
        super().reset()
        self._values = None
        if self._drive is not None:
            self._drive.forget()

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] | None = None,
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill ``results``; ASE calls this for a property that is not there yet."""
        super().calculate(atoms)
        found: Atoms | None = self.atoms
        checked = checked_atoms(found)
        wanted = set(properties or ())
        step = self._evaluated(checked, anew=bool(system_changes))
        if wanted & {"forces", "stress"} and "forces" not in self.results:
            self._keep(self._driving(checked).forces(step), "")
        if wanted & {"forces_unbiased", "stress_unbiased"}:
            self._keep(step.derivatives(np.zeros(1), np.ones(1)), "_unbiased")

    def export_properties(self) -> Properties:
        """Return the results that ASE has a definition of."""
        return Properties({k: v for k, v in self.results.items() if k in all_outputs})

    def _evaluated(self, atoms: Atoms, *, anew: bool) -> FusedStep:
        """Return the evaluation of these atoms, with its graph; made unless nothing changed."""
        if self._step is not None and self._values is not None and self.results and not anew:
            return self._step
        self._values = None
        key = (atoms.numbers.tobytes(), atoms.pbc.tobytes())
        if self._step is None or key != self._made_for:
            self._step = FusedStep(self.cv, atoms.numbers, periodic=atoms.pbc.tolist())
            self._made_for = key
        cell = atoms.cell.array if atoms.pbc.any() else None
        self._values = self._step.forward(atoms.positions[None], cell, stress=bool(atoms.pbc.all()))
        self._counted = self._counted + 1 if self.completed_steps is None else self.completed_steps
        bias = self._driving(atoms).begin(self._counted, atoms, self._values)
        self.results = _results(self._values, bias, self.coefficients is None)
        return self._step

    def _driving(self, atoms: Atoms) -> Drive:
        """Return what acts on these atoms, made anew for other ones."""
        if self._drive is not None and self._drive.fits(atoms):
            return self._drive
        if self.plumed is not None:
            raise EngineError(
                f"PLUMED was started for other atoms than these {len(atoms)}; make another "
                "calculator for another structure"
            )
        plumed = None
        if self._plumed is not None:
            plumed = PlumedAtoms(self._plumed, self.cv, atoms, *self._walker)
        self._drive = Drive(self.bias, self.stress_strength, plumed, atoms)
        return self._drive

    def _keep(self, found: StepForces, suffix: str) -> None:
        self.results["forces" + suffix] = found.forces[0]
        if found.stress is not None:
            self.results["stress" + suffix] = full_3x3_to_voigt_6_stress(found.stress[0])


def _results(values: StepValues, bias: float, has_energy: bool) -> dict[str, Any]:
    """Return what is known before a backward pass; the adaptive bias has no energy."""
    energy = float(values.energy[0])
    results: dict[str, Any] = {
        "energy": energy + bias,
        "free_energy": energy + bias,
        "energy_unbiased": energy,
        "uncertainty": float(values.uncertainty[0]),
    }
    if has_energy:
        results["bias"] = bias
    if values.atomic is not None:
        results["atomic_uncertainty"] = values.atomic[0]
    return results


def _description(
    cv: UncertaintyCV,
    bias: AseBias | None,
    stress_strength: float | None,
    plumed: str | Path | Plumed | None,
) -> dict[str, Any]:
    """Return what ASE writes of the calculator into its files."""
    about: dict[str, Any] = {
        "cv": cv.fingerprint,
        "uncertainty": type(cv.uncertainty).__name__,
        "kind": cv.kind,
        "reduce": cv.reduce,
    }
    if bias is not None:
        about["bias"] = repr(bias)
    if stress_strength is not None:
        about["stress_strength"] = stress_strength
    if plumed is not None:
        about["plumed"] = str(plumed.script if isinstance(plumed, Plumed) else plumed)
    return about
