"""PLUMED on the atoms of an ASE calculator: forces, and the stress of what depends on the cell."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from uncv.cv import UncertaintyCV
from uncv.driver.driver import ATOMIC
from uncv.errors import EngineError
from uncv.plumed import Plumed, PlumedDriver, PlumedForces, PlumedSettings, StepGate
from uncv.step import StepValues
from uncv.units import (
    ANGSTROM_IN_NM,
    EV_IN_KJ_PER_MOL,
    FORCE_IN_OPENMM,
    uncertainty_in_openmm,
)

FloatArray = NDArray[np.float64]


class PlumedAction(NamedTuple):
    """What PLUMED does to a structure.

    Attributes
    ----------
    bias : float
        V in eV.
    slope : float
        ∂V/∂u, eV per unit of u.
    weight : float
        ∂V/∂E.
    atomic : numpy.ndarray or None
        ∂V/∂u of each atom (1, A).
    forces : numpy.ndarray
        −∂V/∂x at fixed u and E (A, 3), eV/Å.
    by_strain : numpy.ndarray
        ∂V/∂ε at fixed u and E (3, 3), eV.
    """

    bias: float
    slope: float
    weight: float
    atomic: FloatArray | None
    forces: FloatArray
    by_strain: FloatArray


class PlumedAtoms:
    """One PLUMED instance for one structure.

    Parameters
    ----------
    plumed : str, Path or Plumed
        The input.
    cv : UncertaintyCV
        Tells the kind of u.
    atoms : ase.Atoms
        Masses, charges, and whether there is a cell.
    walker, walkers : int
        Number of this structure among those that run together.

    Raises
    ------
    PlumedError
        If the input is refused.
    EngineError
        If the atoms are periodic in some directions only.
    """

    def __init__(
        self,
        plumed: str | Path | Plumed,
        cv: UncertaintyCV,
        atoms: Atoms,
        walker: int = 0,
        walkers: int = 1,
    ) -> None:
        if atoms.pbc.any() and not atoms.pbc.all():
            raise EngineError(
                f"PLUMED knows cells of three periodic directions or none; found pbc="
                f"{atoms.pbc.tolist()}"
            )
        run = plumed if isinstance(plumed, Plumed) else Plumed(plumed)
        charges = atoms.get_initial_charges()
        settings = PlumedSettings(
            run.script,
            atoms.get_masses().tolist(),
            run.told().timestep,
            run.told().temperature,
            charges.tolist() if charges.any() else None,
            vectors={ATOMIC: len(atoms)} if cv.uncertainty.per_atom else {},
            walker=walker,
            walkers=walkers,
            directory=run.directory,
            log=run.log,
        )
        self._gate = StepGate(PlumedDriver(settings))
        self._unit = uncertainty_in_openmm(cv.kind)
        self._fresh = True

    def act(self, step: int, atoms: Atoms, values: StepValues) -> PlumedAction:
        """Return what PLUMED does after so many completed steps; nothing if a value is not finite.

        The update of the step before is made first if the count has risen.

        Raises
        ------
        PlumedError
            If PLUMED fails, or the count went back.
        """
        if self._fresh and self._gate.is_due(step):
            self.set_aside_shared()
        energy, u = float(values.energy[0]), float(values.uncertainty[0])
        box = atoms.cell.array * ANGSTROM_IN_NM if atoms.pbc.all() else None
        answer = self._gate.begin(step, atoms.positions * ANGSTROM_IN_NM, box)
        if not np.isfinite([energy, u]).all():
            return PlumedAction(0.0, 0.0, 0.0, None, np.zeros((len(atoms), 3)), np.zeros((3, 3)))
        if answer is None:
            told = {"energy": energy * EV_IN_KJ_PER_MOL, "uncertainty": u * self._unit}
            atomic = {} if values.atomic is None else {ATOMIC: values.atomic[0] * self._unit}
            answer = self._gate.finish(told | atomic)
        return self._in_ev(answer)

    def stop_requested(self) -> bool:
        """Whether the input has asked for the end of the run (COMMITTOR) since asked last."""
        return self._gate.driver.stop_requested()

    def set_aside_shared(self) -> None:
        """Rename the shared files of a former run; of all walkers before the first step of any."""
        self._fresh = False
        self._gate.driver.set_aside_shared()

    def flush(self, step: int) -> None:
        """Make the update that is due when this many steps are complete."""
        self._gate.flush(step)

    def close(self) -> None:
        """End the instance, which writes out what it holds back; a second call does nothing."""
        self._gate.close()

    def _in_ev(self, answer: PlumedForces) -> PlumedAction:
        by_u = self._unit / EV_IN_KJ_PER_MOL
        atomic = answer.vectors.get(ATOMIC)
        return PlumedAction(
            answer.bias / EV_IN_KJ_PER_MOL,
            answer.derivatives["uncertainty"] * by_u,
            answer.derivatives["energy"],
            None if atomic is None else atomic[None] * by_u,
            answer.forces / FORCE_IN_OPENMM,
            -answer.virial / EV_IN_KJ_PER_MOL,
        )
