"""The calculator: one forward and, for a conservative bias, one backward pass a structure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.outputs import Properties, all_outputs
from ase.stress import full_3x3_to_voigt_6_stress

from uncv.ase.adaptive import AdaptiveForces, Coefficients
from uncv.bias import AdaptiveBias, Bias
from uncv.cv import UncertaintyCV
from uncv.errors import EngineError
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
    bias : Bias or AdaptiveBias, optional
        V(u); or the adaptive bias, for dynamics alone: it has no potential, ``energy`` is that of
        the model, and each new structure whose forces are asked for is a step of its windows.
    stress_strength : float, optional
        Size of the adaptive bias stress relative to the physical one; that of the force by default.

    Raises
    ------
    EngineError
        If there is a bias but the gradient of u jumps; when a structure is not finite, has no
        atoms, or is periodic along a cell vector that it lacks.
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
        bias: Bias | AdaptiveBias | None = None,
        *,
        stress_strength: float | None = None,
    ) -> None:
        _check(cv, bias, stress_strength)
        self.cv = cv
        self.bias = bias
        self.stress_strength = stress_strength
        self._adaptive: AdaptiveForces | None = None
        self._step: FusedStep | None = None
        self._made_for: tuple[bytes, bytes] | None = None
        self._values: StepValues | None = None
        super().__init__()
        self.parameters.update(_description(cv, bias, stress_strength))

    @property
    def coefficients(self) -> Coefficients | None:
        """What the adaptive bias multiplies ∇u by; None without that bias."""
        if self._adaptive is not None:
            return self._adaptive.coefficients()
        return Coefficients(0.0, 0.0) if isinstance(self.bias, AdaptiveBias) else None

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
        """Forget the last calculation and what the adaptive bias has averaged."""
        super().reset()
        self._values = self._adaptive = None

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] | None = None,
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill ``results``; ASE calls this for a property that is not there yet."""
        super().calculate(atoms)
        found: Atoms | None = self.atoms
        checked = _checked(found)
        wanted = set(properties or ())
        step, values = self._evaluated(checked, anew=bool(system_changes))
        if wanted & {"forces", "stress"} and "forces" not in self.results:
            self._keep(self._driving(checked, step, values), "")
        if wanted & {"forces_unbiased", "stress_unbiased"}:
            self._keep(step.derivatives(np.zeros(1), np.ones(1)), "_unbiased")

    def export_properties(self) -> Properties:
        """Return the results that ASE has a definition of."""
        return Properties({k: v for k, v in self.results.items() if k in all_outputs})

    def _evaluated(self, atoms: Atoms, *, anew: bool) -> tuple[FusedStep, StepValues]:
        """Return the evaluation of these atoms, with its graph; made unless nothing changed."""
        if self._step is not None and self._values is not None and self.results and not anew:
            return self._step, self._values
        self._values = None
        key = (atoms.numbers.tobytes(), atoms.pbc.tobytes())
        if self._step is None or key != self._made_for:
            self._step = FusedStep(self.cv, atoms.numbers, periodic=atoms.pbc.tolist())
            self._made_for = key
        cell = atoms.cell.array if atoms.pbc.any() else None
        self._values = self._step.forward(atoms.positions[None], cell, stress=bool(atoms.pbc.all()))
        self.results = _results(self._values, self.bias)
        return self._step, self._values

    def _driving(self, atoms: Atoms, step: FusedStep, values: StepValues) -> StepForces:
        if isinstance(self.bias, AdaptiveBias):
            if self._adaptive is None or not self._adaptive.fits(atoms):
                strength = self.stress_strength
                strength = self.bias.strength if strength is None else strength
                self._adaptive = AdaptiveForces(self.bias, strength, atoms)
            return self._adaptive.step(*step.gradients_apart())
        slope = np.zeros(1)
        if self.bias is not None:
            slope = self.bias.energy_and_slope(torch.from_numpy(values.uncertainty))[1].numpy()
        return step.derivatives(slope, np.ones(1))

    def _keep(self, found: StepForces, suffix: str) -> None:
        self.results["forces" + suffix] = found.forces[0]
        if found.stress is not None:
            self.results["stress" + suffix] = full_3x3_to_voigt_6_stress(found.stress[0])


def _results(values: StepValues, bias: Bias | AdaptiveBias | None) -> dict[str, Any]:
    """Return what is known before a backward pass; the adaptive bias has no energy."""
    energy, added = float(values.energy[0]), 0.0
    if isinstance(bias, Bias):
        added = float(bias.energy_and_slope(torch.from_numpy(values.uncertainty))[0][0])
    results: dict[str, Any] = {
        "energy": energy + added,
        "free_energy": energy + added,
        "energy_unbiased": energy,
        "uncertainty": float(values.uncertainty[0]),
    }
    if not isinstance(bias, AdaptiveBias):
        results["bias"] = added
    if values.atomic is not None:
        results["atomic_uncertainty"] = values.atomic[0]
    return results


def _description(
    cv: UncertaintyCV, bias: Bias | AdaptiveBias | None, stress_strength: float | None
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
    return about


def _check(
    cv: UncertaintyCV, bias: Bias | AdaptiveBias | None, stress_strength: float | None
) -> None:
    if bias is not None and not isinstance(bias, Bias | AdaptiveBias):
        raise TypeError(
            f"bias is a {type(bias).__name__}; expected an energy of u alone, such as LinearBias, "
            "or AdaptiveBias"
        )
    if bias is not None and not cv.smooth:
        raise EngineError(
            f"reduction {cv.reduce!r} has a gradient that jumps; bias by 'softmax' or 'mean'"
        )
    if stress_strength is None:
        return
    if not isinstance(bias, AdaptiveBias):
        raise ValueError("stress_strength is of the adaptive bias alone; leave it out")
    if not math.isfinite(stress_strength):
        raise ValueError(f"stress_strength is {stress_strength}; expected a finite number")


def _checked(atoms: Atoms | None) -> Atoms:
    if atoms is None or len(atoms) == 0:
        raise EngineError("there are no atoms to evaluate; give atoms with at least one")
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        raise EngineError("positions or cell are NaN or infinite; go back to a sound structure")
    filled = np.where(atoms.pbc[:, None], atoms.cell.array, np.eye(3))
    if abs(np.linalg.det(filled)) < 1e-6:
        raise EngineError(
            f"the atoms are periodic (pbc={atoms.pbc.tolist()}) but their cell has no volume; "
            "set the cell or pbc=False"
        )
    return atoms
