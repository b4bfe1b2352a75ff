"""The collective variable: reduce ∘ calibrate ∘ uncertainty (potential), and its file."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uncv import calibration
from uncv._version import __version__
from uncv.calibration import Calibrator
from uncv.data import Batch, Dataset
from uncv.errors import CalibrationError, FileFormatError, GradientError
from uncv.groups import AtomGroups, group_atoms
from uncv.models.ani import Prepared as AniPrepared
from uncv.models.derivatives import chunks, differentiable, stress_of
from uncv.models.files import read_file, write_file
from uncv.models.storage import unpack
from uncv.protocols import MemberOutput, Potential
from uncv.uncertainty import REDUCTIONS, SMOOTH, UncertaintyBase, by_name, reduce_atoms
from uncv.units import Kind

FORMAT = "uncv-cv"
VERSION = 2
ROUNDING = 1e-6
"""Gradients of u below this part of the force are taken for zero; forces below it (eV/Å) too."""


class Prepared(NamedTuple):
    """What holds until an atom has moved by half a skin.

    Attributes
    ----------
    potential : object
        What the potential prepared.
    groups : AtomGroups
        Which atoms belong to which element.
    """

    potential: Any
    groups: AtomGroups


class CVOutput(NamedTuple):
    """Value of the collective variable, differentiable.

    Attributes
    ----------
    energy : torch.Tensor
        Member mean of the interaction energy (F,), float64, eV, without reference energies.
    uncertainty : torch.Tensor
        (F,), float64.
    atomic : torch.Tensor or None
        Uncertainty of each atom (F, A); None for one that belongs to the frame.
    """

    energy: Tensor
    uncertainty: Tensor
    atomic: Tensor | None


class CVResult(NamedTuple):
    """Energy, uncertainty and their gradients on a dataset.

    Attributes
    ----------
    energy : numpy.ndarray
        Member mean of the total energy (F,), eV.
    forces : numpy.ndarray
        −∇ of that energy (F, A, 3), eV/Å.
    atomic_uncertainty : numpy.ndarray
        (F, A), 0 on padding; all NaN for an uncertainty that belongs to the frame alone.
    uncertainty : numpy.ndarray
        (F,) in eV, eV/Å or without unit, by the kind of the collective variable.
    uncertainty_gradient : numpy.ndarray
        ∇u (F, A, 3), per Å.
    stress, uncertainty_stress : numpy.ndarray or None
        (1/V) ∂E/∂ε and (1/V) ∂u/∂ε (F, 3, 3) where every frame is fully periodic.
    """

    energy: NDArray[np.float64]
    forces: NDArray[np.float64]
    atomic_uncertainty: NDArray[np.float64]
    uncertainty: NDArray[np.float64]
    uncertainty_gradient: NDArray[np.float64]
    stress: NDArray[np.float64] | None
    uncertainty_stress: NDArray[np.float64] | None


class CVPrediction(NamedTuple):
    """Energy, forces and uncertainty on a dataset, without the gradient of the uncertainty.

    Attributes
    ----------
    energy, forces, atomic_uncertainty, uncertainty : numpy.ndarray
        As in `CVResult`.
    """

    energy: NDArray[np.float64]
    forces: NDArray[np.float64]
    atomic_uncertainty: NDArray[np.float64]
    uncertainty: NDArray[np.float64]


class UncertaintyCV:
    """An uncertainty as a collective variable.

    Parameters
    ----------
    potential : Potential
        What is uncertain.
    uncertainty : UncertaintyBase
        Of that potential; fitted, where it needs a fit.
    reduce : str
        From atoms to a frame: 'mean', 'sum', 'rms', 'softmax' or 'max' (see `reduce_atoms`); of no
        effect on an uncertainty that belongs to the frame.
    calibrator : Calibrator, optional
        Fitted; it rescales u and sets its kind to that of the residual.

    Raises
    ------
    NotFittedError, FingerprintError
        If uncertainty or calibrator are not fitted, or the fit was on another potential.

    Examples
    --------
    >>> from uncv.models import load_potential
    >>> from uncv.uncertainty import EnsembleUncertainty
    >>> UncertaintyCV(load_potential("ani1x"), EnsembleUncertainty(of="energy")).kind
    'energy'
    """

    def __init__(
        self,
        potential: Potential,
        uncertainty: UncertaintyBase,
        reduce: str = "mean",
        calibrator: Calibrator | None = None,
    ) -> None:
        if reduce not in REDUCTIONS:
            raise ValueError(f"reduction {reduce!r} is unknown; expected one of {REDUCTIONS}")
        uncertainty.check(potential)
        if calibrator is not None:
            _check_calibrator(calibrator)
        self.potential = potential
        self.uncertainty = uncertainty
        self.reduce = reduce
        self.calibrator = calibrator

    @property
    def kind(self) -> Kind:
        """'energy' (eV), 'force' (eV/Å) or 'dimensionless'."""
        if self.calibrator is not None and self.calibrator.kind is not None:
            return self.calibrator.kind
        return cast("Kind", self.uncertainty.kind)

    @property
    def smooth(self) -> bool:
        """Whether its gradient is continuous, as dynamics needs it."""
        return not self.uncertainty.per_atom or self.reduce in SMOOTH

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the potential."""
        return self.potential.fingerprint

    def calibrated(self, calibrator: Calibrator | None) -> UncertaintyCV:
        """Return the same variable with another calibrator."""
        return UncertaintyCV(self.potential, self.uncertainty, self.reduce, calibrator)

    def prepare(self, batch: Batch, skin: float = 0.0) -> Prepared:
        """Return neighbours and groups of a batch, valid until an atom has moved by skin/2 (Å).

        Raises
        ------
        ElementError
            If the potential does not know an element.
        """
        listed = self.potential.prepare(batch, skin)
        if isinstance(listed, AniPrepared):
            return Prepared(listed, listed.groups)
        return Prepared(listed, group_atoms(batch.numbers, self.potential.elements))

    def __call__(self, batch: Batch, prepared: Prepared | None = None) -> CVOutput:
        """Return energy and uncertainty of a batch, differentiable in positions and cell."""
        listed, groups = self.prepare(batch) if prepared is None else prepared
        return self.of_output(self.potential(batch, listed, extra=self.uncertainty.extra), groups)

    def of_output(self, output: MemberOutput, groups: AtomGroups) -> CVOutput:
        """Return energy and uncertainty from what the potential's members say of a batch."""
        values = self.uncertainty(output, groups).to(torch.float64)
        if self.calibrator is not None:
            values = self.calibrator(values, groups.numbers)
        energy = output.energies.mean(dim=0)
        if not self.uncertainty.per_atom:
            return CVOutput(energy, values, None)
        return CVOutput(energy, reduce_atoms(values, groups.mask, self.reduce), values)

    def evaluate(self, data: Dataset) -> CVResult:
        """Return energy, uncertainty and gradients of a dataset of any size.

        Raises
        ------
        ElementError
            If the potential does not know an element.
        GradientError
            If the uncertainty does not depend on the positions.
        """
        return CVResult(*_joined([self._evaluate(part) for part in chunks(data)] or [_empty(data)]))

    def predict(self, data: Dataset) -> CVPrediction:
        """Return energy, forces and uncertainty of a dataset of any size, without ∇u.

        Cheaper than `evaluate`, most of all where ∇u takes second derivatives.

        Raises
        ------
        ElementError
            If the potential does not know an element.
        """
        nothing = CVPrediction(*_empty(data)[:4])
        return CVPrediction(*_joined([self._predict(part) for part in chunks(data)] or [nothing]))

    def _predict(self, data: Dataset) -> CVPrediction:
        strained = differentiable(data.to_batch(), strain=False)
        batch = strained.batch
        out = self(batch)
        (of_energy,) = torch.autograd.grad(out.energy.sum(), strained.leaves[:1])
        total = out.energy + self.potential.reference_energies(batch.numbers)
        atomic = torch.full(data.numbers.shape, torch.nan) if out.atomic is None else out.atomic
        return CVPrediction(
            total.detach().numpy(),
            -of_energy.numpy(),
            atomic.detach().to(torch.float64).numpy(),
            out.uncertainty.detach().numpy(),
        )

    def _evaluate(self, data: Dataset) -> CVResult:
        periodic = bool(data.pbc.all())
        strained = differentiable(data.to_batch(), strain=periodic)
        batch = strained.batch
        out = self(batch)
        of_energy = torch.autograd.grad(out.energy.sum(), strained.leaves, retain_graph=True)
        of_u = gradient_of_uncertainty(out.uncertainty, strained.leaves)
        check_gradient(of_u[0], of_energy[0])
        total = out.energy + self.potential.reference_energies(batch.numbers)
        atomic = torch.full(data.numbers.shape, torch.nan) if out.atomic is None else out.atomic
        cell = batch.cell.detach()
        return CVResult(
            total.detach().numpy(),
            -of_energy[0].numpy(),
            atomic.detach().to(torch.float64).numpy(),
            out.uncertainty.detach().numpy(),
            of_u[0].numpy(),
            stress_of(of_energy[1], cell).numpy() if periodic else None,
            stress_of(of_u[1], cell).numpy() if periodic else None,
        )

    def save(self, path: str | Path) -> None:
        """Write potential, uncertainty and calibration to one .uncv file, atomically."""
        about = {
            "uncv": __version__,
            "torch": metadata.version("torch"),
            "fingerprint": self.fingerprint,
            "kind": self.kind,
            "units": "eV, Å",
            "reduce": self.reduce,
            "uncertainty": [type(self.uncertainty).__name__, self.uncertainty.settings()],
            "fitted_on": self.uncertainty.potential_,
            "calibrator": _describe(self.calibrator),
        }
        fitted = {} if self.calibrator is None else dict(self.calibrator.state_dict())
        content = {
            "about": json.dumps(about),
            "potential": self.potential.packed(),
            "uncertainty_state": dict(self.uncertainty.state_dict()),
            "calibrator_state": fitted,
        }
        write_file(path, FORMAT, VERSION, content)

    @classmethod
    def load(cls, path: str | Path) -> UncertaintyCV:
        """Read a .uncv file; no code in it is executed.

        Raises
        ------
        FileNotFoundError
        FileFormatError
            If the file is damaged, of another kind or of a newer version.
        """
        content = read_file(path, FORMAT, VERSION)
        try:
            about = json.loads(content["about"])
            potential = unpack(content["potential"], path)
            uncertainty = by_name(*about["uncertainty"])
            uncertainty.restore(content["uncertainty_state"])
            uncertainty.potential_ = about["fitted_on"]
            calibrator = _restore(about["calibrator"], content.get("calibrator_state", {}))
            reduce, fingerprint = about["reduce"], about["fingerprint"]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            if isinstance(error, FileFormatError):
                raise
            raise FileFormatError(f"{path} is not a complete .uncv file: {error}") from error
        if potential.fingerprint != fingerprint:
            raise FileFormatError(
                f"{path} holds potential {potential.fingerprint} but claims "
                f"{fingerprint}; the file is damaged: write it again"
            )
        return cls(potential, uncertainty, reduce, calibrator)


def gradient_of_uncertainty(uncertainty: Tensor, leaves: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return ∂(Σ u)/∂leaves.

    Raises
    ------
    GradientError
        If u is not connected to the positions.
    """
    check_connected(uncertainty)
    return torch.autograd.grad(uncertainty.sum(), leaves, retain_graph=True)


def check_connected(uncertainty: Tensor) -> None:
    """Refuse an uncertainty that no gradient leads through.

    Raises
    ------
    GradientError
    """
    if not uncertainty.requires_grad:
        raise GradientError(
            "the uncertainty is not connected to the positions: its gradient would be zero; "
            "compute it from the potential's output without detach()"
        )


def check_gradient(of_uncertainty: Tensor, of_energy: Tensor) -> None:
    """Refuse a gradient of u that is nothing but rounding while that of the energy is not.

    Raises
    ------
    GradientError
    """
    if of_energy.numel() == 0:
        return
    force = of_energy.abs().max()
    if bool((force > ROUNDING) & (of_uncertainty.abs().max() <= ROUNDING * force)):
        raise GradientError(
            "the gradient of the uncertainty is zero on every atom of every frame: a bias would do "
            "nothing; are all members of the ensemble the same?"
        )


def _check_calibrator(calibrator: Calibrator) -> None:
    calibrator.check()
    if not calibrator.smooth:
        raise CalibrationError(
            f"{type(calibrator).__name__} has no derivative, so no force follows from it; a "
            "collective variable needs a smooth calibrator, such as ConformalCalibrator"
        )


def _describe(calibrator: Calibrator | None) -> dict[str, Any] | None:
    if calibrator is None:
        return None
    return {
        "name": type(calibrator).__name__,
        "settings": calibrator.settings(),
        "kind": calibrator.kind,
    }


def _restore(about: dict[str, Any] | None, state: dict[str, Tensor]) -> Calibrator | None:
    if about is None:
        return None
    if "settings" not in about:  # format version 1: one factor, beside the settings
        given = {} if about["alpha"] is None else {"alpha": about["alpha"]}
        calibrator = calibration.by_name(about["name"], given)
        factor = torch.tensor([about["factor"]], dtype=torch.float64)
        calibrator.restore({**calibrator.state_dict(), "scale": factor})
    else:
        calibrator = calibration.by_name(about["name"], about["settings"])
        calibrator.restore(state)
    calibrator.kind = about["kind"]
    return calibrator


def _joined(parts: list[Any]) -> list[Any]:
    return [
        None if values[0] is None else np.concatenate(values) for values in zip(*parts, strict=True)
    ]


def _empty(data: Dataset) -> CVResult:
    atoms = data.positions.shape[1]
    per_atom = np.zeros((0, atoms, 3))
    return CVResult(np.zeros(0), per_atom, np.zeros((0, atoms)), np.zeros(0), per_atom, None, None)
