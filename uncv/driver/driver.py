"""What happens at each force evaluation of an engine: model, bias, PLUMED, stop rules, walkers.

The driver knows no engine. It is told positions and the number of completed steps, in the units of
OpenMM and PLUMED, and answers with energy and forces. An evaluation that the engine repeats
(somebody asks for the state, a barostat tries a move, a minimiser searches) deposits nothing, and
moves no window: only a risen step count does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncv.bias import AnyBias
from uncv.cv import UncertaintyCV
from uncv.driver.native import Gradients, NativeBias
from uncv.driver.region import FloatArray, Frame, Region, StopEvent
from uncv.errors import EngineError
from uncv.plumed import PlumedForces, PlumedWalkers
from uncv.step import FusedStep, StepValues
from uncv.stopping import StopChecker
from uncv.units import (
    ANGSTROM_IN_NM,
    EV_IN_KJ_PER_MOL,
    FORCE_IN_OPENMM,
    uncertainty_in_openmm,
)

ATOMIC = "atomic_uncertainty"
"""Label of the vector of atomic uncertainties in a PLUMED input."""


class Driver:
    """Answers the force evaluations of one system; see the module.

    Parameters
    ----------
    step : FusedStep
        Evaluates the model.
    region : Region
        The model's particles.
    bias : AnyBias, optional
        Native bias.
    plumed : PlumedWalkers, optional
        PLUMED, one instance a walker.
    """

    def __init__(
        self,
        step: FusedStep,
        region: Region,
        *,
        bias: AnyBias | None = None,
        plumed: PlumedWalkers | None = None,
    ) -> None:
        self.cv: UncertaintyCV = step.cv
        self.region = region
        self.periodic, self.walkers = region.periodic, region.walkers
        self.bias = bias
        self.plumed = plumed
        self.checker: StopChecker | None = None
        self.stops: list[StopEvent] = []
        self.failure: Exception | None = None  # what an evaluation raised, if it did
        self.active = np.ones(region.walkers, dtype=bool)
        self._frame: Frame | None = None
        self._step = step
        self._home: FloatArray | None = None
        self._partial = False  # whether the frame still lacks u
        self._unit = uncertainty_in_openmm(self.cv.kind)
        self._answer: tuple[float, FloatArray] = (0.0, np.zeros((0, 3)))
        self._seen: tuple[int, FloatArray, FloatArray | None] | None = None
        self._counted = -1  # the last step that the window and the stop rules have looked at
        self.native = None if bias is None else NativeBias(bias, region.numbers, region.walkers)

    def __getstate__(self) -> dict[str, Any]:
        """Refuse to be serialised with a live PLUMED instance."""
        if self.plumed is not None:
            raise EngineError(
                "a System with PLUMED in it cannot be serialised; serialise it without plumed= "
                "and create it again"
            )
        return self.__dict__

    def evaluate(
        self, positions: FloatArray, box: FloatArray | None, step: int, time: float
    ) -> tuple[float, FloatArray]:
        """Return energy (kJ/mol) and forces (n, 3) (kJ/mol/nm).

        Parameters
        ----------
        positions : numpy.ndarray
            Of all particles (n, 3), nm.
        box : numpy.ndarray or None
            Box vectors as rows (3, 3), nm; looked at only if the region is periodic.
        step, time : int, float
            Completed steps, and the time in ps.
        """
        box = box if self.region.periodic else None
        if self._repeated(positions, box, step):
            return self._answer
        if self.plumed is not None:
            self.plumed.check_time(step, time)
        if self.native is not None:
            self.native.begin(step, time)
        new_step, self._counted = step != self._counted, step
        all_walkers = self.region.split(positions) / ANGSTROM_IN_NM
        usable = self.active & finite(all_walkers)
        walkers = self._with_stand_ins(all_walkers, usable)
        cell = None if box is None else box / ANGSTROM_IN_NM
        if cell is None:
            walkers = walkers - walkers.sum(axis=1, keepdims=True) / walkers.shape[1]
        if self.plumed is not None:
            self.plumed.begin(step, positions, box, np.flatnonzero(usable).tolist())
        whole = self._needs_uncertainty()
        values = self._step.forward(walkers, cell, uncertainty=whole)
        usable &= np.isfinite(values.energy)
        if whole:
            usable &= np.isfinite(values.uncertainty)
        bias, forces, extra = self._forces(values, usable, step, new_step)
        frame = Frame(step, walkers, cell, values, bias, usable, self.coefficients())
        self._stop(frame, forces, usable, new_step)
        usable &= self.active  # in the frame too
        self._frame, self._partial = frame, not whole
        energy = float((values.energy + bias)[usable].sum()) * EV_IN_KJ_PER_MOL
        total = self.region.join(forces) * FORCE_IN_OPENMM
        if extra is not None:
            total = total + extra * np.repeat(usable, self.region.particles // len(usable))[:, None]
        self._answer = (energy, total)
        self._seen = (step, positions.copy(), None if box is None else box.copy())
        return self._answer

    @property
    def frame(self) -> Frame | None:
        """The walkers at the evaluation that came last; None before the first.

        Where no bias, stop rule or line of PLUMED's input looked at u, it is computed now.
        """
        if self._frame is not None and self._partial:
            values = self._step.forward(self._frame.positions, self._frame.cell)
            self._frame, self._partial = self._frame._replace(values=values), False
        return self._frame

    def restart(self, walker: int) -> None:
        """Let a parked walker move again; its positions are set by the engine."""
        self.active[walker] = True
        self._seen = None
        if self.native is not None:
            self.native.forget(walker)

    def park(self, walker: int) -> None:
        """Let a walker feel nothing from the next evaluation on."""
        self.active[walker] = False
        self._seen = None

    def in_openmm_units(self, uncertainty: FloatArray) -> FloatArray:
        """Return uncertainties in the units of OpenMM and PLUMED."""
        return uncertainty * self._unit

    def coefficients(self) -> FloatArray | None:
        """Return c of the adaptive bias for each walker (W,), None without one."""
        return None if self.native is None else self.native.coefficient

    def flush(self, step: int) -> None:
        """Make PLUMED's update that is due when this many steps are complete."""
        if self.plumed is not None:
            self.plumed.flush(step)

    def close(self) -> None:
        """End the PLUMED instances."""
        if self.plumed is not None:
            self.plumed.close()

    def state(self, step: int) -> dict[str, NDArray]:
        """Return what a checkpoint after this many steps must hold for an exact continuation."""
        listed = self._step.listed_at()
        kept: dict[str, NDArray] = {"active": self.active, "counted": np.array(self._counted)}
        if listed is not None:
            kept["listed"] = listed
            kept["listed_cell"] = self._step.listed_cell()
        if self.native is not None:
            kept |= self.native.state()
        if self.plumed is not None:
            kept |= self.plumed.state(step)
        return kept

    def restore(self, kept: dict[str, NDArray]) -> None:
        """Take up the state that `state` gave."""
        self.active = np.array(kept["active"], dtype=bool)
        self._seen, self._counted = None, int(kept["counted"])
        if "listed" in kept:
            self._step.list_at(kept["listed"], kept["listed_cell"])
        if self.native is not None:
            self.native.restore(kept)
        if self.plumed is not None:
            self.plumed.resume(kept)

    def _repeated(self, positions: FloatArray, box: FloatArray | None, step: int) -> bool:
        if self._seen is None or self._seen[0] != step:
            return False
        _, seen, seen_box = self._seen
        same_box = box is None or (seen_box is not None and np.array_equal(box, seen_box))
        return same_box and np.array_equal(positions, seen)

    def _needs_uncertainty(self) -> bool:
        if self.bias is not None or self.checker is not None:
            return True
        names = ("uncertainty", ATOMIC) if self.cv.uncertainty.per_atom else ("uncertainty",)
        return self.plumed is not None and any(self.plumed.needs(name) for name in names)

    def _with_stand_ins(self, walkers: FloatArray, usable: NDArray[np.bool_]) -> FloatArray:
        """Return the positions with a sound structure in place of walkers that are not usable."""
        if self._home is None:
            if not usable.any():
                raise EngineError(
                    "the positions of every walker are NaN or infinite; set sound positions"
                )
            self._home = walkers[np.argmax(usable)].copy()
        return walkers if usable.all() else np.where(usable[:, None, None], walkers, self._home)

    def _forces(
        self, values: StepValues, usable: NDArray[np.bool_], step: int, new_step: bool
    ) -> tuple[FloatArray, FloatArray, FloatArray | None]:
        """Return bias (W,) in eV, forces of the model in eV/Å, and PLUMED's in kJ/mol/nm."""
        weight = usable.astype(np.float64)
        bias, slope = np.zeros(len(weight)), np.zeros(len(weight))
        if self.native is not None:
            both = self.native.energy_and_slope(values.uncertainty, step, usable)
            bias, slope = (np.where(usable, value, 0.0) for value in both)
            if self.native.apart:
                gradients = Gradients(*(g.numpy() for g in self._step.gradients()))
                force = self.native.force(gradients, slope, step, usable & new_step)
                return bias, (force - gradients.of_energy) * weight[:, None, None], None
        if self.plumed is None:
            return bias, self._step.forces(slope, weight), None
        extra, atomic = np.zeros((len(weight), self.plumed.atoms, 3)), None
        for walker, answer in self._answers(self.plumed, values, usable).items():
            bias[walker] += answer.bias / EV_IN_KJ_PER_MOL
            slope[walker] += answer.derivatives["uncertainty"] * self._unit / EV_IN_KJ_PER_MOL
            weight[walker] += answer.derivatives["energy"]
            extra[walker] = answer.forces
            if ATOMIC in answer.vectors:
                atomic = np.zeros_like(values.atomic) if atomic is None else atomic
                atomic[walker] = answer.vectors[ATOMIC] * self._unit / EV_IN_KJ_PER_MOL
        return bias, self._step.forces(slope, weight, atomic), extra.reshape(-1, 3)

    def _answers(
        self, plumed: PlumedWalkers, values: StepValues, usable: NDArray[np.bool_]
    ) -> dict[int, PlumedForces]:
        """Tell PLUMED the values of the walkers in its units."""
        energy, u = values.energy * EV_IN_KJ_PER_MOL, self.in_openmm_units(values.uncertainty)
        told: dict[int, dict[str, float | FloatArray]] = {
            w: {"energy": float(energy[w]), "uncertainty": float(u[w])}
            for w in np.flatnonzero(usable).tolist()
        }
        if values.atomic is not None:
            for walker, known in told.items():
                known[ATOMIC] = self.in_openmm_units(values.atomic[walker])
        return plumed.finish(told)

    def _stop(
        self, frame: Frame, forces: FloatArray, usable: NDArray[np.bool_], new_step: bool
    ) -> None:
        """Park walkers that a rule, or a value that is not finite, stops; their forces become 0."""
        values, sound = frame.values, usable & finite(forces)
        infinite = "energy, force or position is not finite"
        reasons = ["" if good else infinite for good in sound.tolist()]
        if self.checker is not None and new_step:
            checked = self.checker.check(frame.positions, *values, forces, cell=frame.cell)
            reasons = [one or other for one, other in zip(reasons, checked, strict=True)]
        if self.plumed is not None and new_step:
            for walker in self.plumed.stopped():
                reasons[walker] = "PLUMED asked for the end of the run (COMMITTOR)"
        for walker, reason in enumerate(reasons):
            if not (reason and self.active[walker]):
                continue
            self.stops.append(
                StopEvent(
                    walker,
                    frame.step,
                    reason,
                    frame.positions[walker].copy(),
                    float(values.energy[walker]),
                    float(values.uncertainty[walker]),
                    float(frame.bias[walker]),
                    frame.cell,
                )
            )
            self.active[walker] = False
        if not self.active.all():
            forces[~self.active] = 0.0


def finite(walkers: FloatArray) -> NDArray[np.bool_]:
    """Return of which walkers all values (W, A, 3) are finite: in most cases, of all of them."""
    found = np.isfinite(walkers)
    if found.all():
        return np.ones(len(walkers), dtype=bool)
    return np.asarray(found.all(axis=(1, 2)))
