"""Langevin dynamics of a crystal at constant volume or pressure, with limits of its cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from ase import Atoms, units
from ase.md.langevinbaoab import LangevinBAOAB
from numpy.typing import NDArray

from uncv.errors import EngineError

FloatArray = NDArray[np.float64]

STIFFNESS = 10.0
"""Bulk modulus in GPa at which the cell swings with the period that was asked for."""
LARGEST_STRAIN = 0.05
"""Of half a step; a cell that moves faster is out of control."""


class CellError(EngineError):
    """The cell, or an atom, has left the limits of a run."""


@dataclass(frozen=True)
class LangevinSettings:
    """An ensemble and how fast it is reached.

    Parameters
    ----------
    temperature : float
        In K.
    timestep : float
        In fs.
    thermostat_time : float
        Inverse friction of the atoms, in fs.
    pressure : float, optional
        In GPa, compressing if positive; constant volume without.
    isotropic : bool
        Whether the cell changes its size alone; otherwise its shape too.
    barostat_time : float
        In fs: about the period in which a cell of 10 GPa bulk modulus swings, and the inverse of
        the friction on it. The period falls with the square root of the modulus.
    """

    temperature: float
    timestep: float
    thermostat_time: float
    pressure: float | None = None
    isotropic: bool = False
    barostat_time: float = 500.0


class CellLimits(NamedTuple):
    """Where a cell may be.

    Attributes
    ----------
    volume : tuple of float
        Smallest and largest volume in Å^3.
    height : float
        Shortest distance of opposite faces in Å.
    """

    volume: tuple[float, float]
    height: float

    def reason(self, cell: FloatArray) -> str:
        """Return which limit a cell (3, 3) in Å has passed, '' if none."""
        volume = abs(float(np.linalg.det(cell)))
        low, high = self.volume
        if not low <= volume <= high:
            return f"the cell has {volume:.4g} Å^3, the limits are {low:.4g} and {high:.4g} Å^3"
        height = float(1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0).max())
        if height < self.height:
            return f"the cell is {height:.3g} Å high, the limit is {self.height:.3g} Å"
        return ""


class CrystalLangevin(LangevinBAOAB):
    """ASE's Langevin integrator (BAOAB; Langevin–Hoover for the cell), one evaluation a step.

    The cell does not turn: its deformation since the start stays a pure stretch, as cell, atoms and
    momenta are turned back together before each evaluation.

    Parameters
    ----------
    atoms : ase.Atoms
        With calculator, masses and momenta.
    settings : LangevinSettings
        The ensemble.
    random : numpy.random.Generator
        Noise.
    limits : CellLimits, optional
        Looked at before each evaluation.

    Raises
    ------
    CellError
        At a step that leads out of the limits, or to a position that is not finite; the atoms are
        then where they must not be evaluated.

    Notes
    -----
    Quigley and Probert, J. Chem. Phys. 120, 11432 (2004). The mass of the barostat is
    W = 9 V K (τ/2π)² for the size alone and a third of that for each component of the strain, so
    that K = 10 GPa gives the period τ.
    """

    def __init__(
        self,
        atoms: Atoms,
        settings: LangevinSettings,
        random: np.random.Generator,
        limits: CellLimits | None = None,
    ) -> None:
        self._limits = limits
        self._moving_shape = settings.pressure is not None and not settings.isotropic
        self._first_cell = atoms.cell.array.copy()
        pressure: dict[str, float | bool] = {}
        if settings.pressure is not None:
            period = settings.barostat_time * units.fs
            modes = 9.0 if settings.isotropic else 3.0
            stiffness = modes * atoms.get_volume() * STIFFNESS * units.GPa
            pressure = {
                "externalstress": -settings.pressure * units.GPa,
                "hydrostatic": settings.isotropic,
                "P_tau": period,
                "P_mass": stiffness * (period / (2.0 * np.pi)) ** 2,
            }
        super().__init__(
            atoms,
            settings.timestep * units.fs,
            temperature_K=settings.temperature,
            T_tau=settings.thermostat_time * units.fs,
            rng=random,
            **pressure,
        )

    def _update_accel(self) -> None:
        cell = self.atoms.cell.array
        if not (np.isfinite(self.atoms.positions).all() and np.isfinite(cell).all()):
            raise CellError("a position or the cell is not finite")
        reason = "" if self._limits is None else self._limits.reason(cell)
        if reason:
            raise CellError(reason)
        if self._moving_shape:
            self._turn_back()
        super()._update_accel()

    def _turn_back(self) -> None:
        """Undo the rotation that strains along changing axes add up to."""
        left, _, right = np.linalg.svd(np.linalg.solve(self._first_cell, self.atoms.cell.array))
        back = (left @ right).T
        self.atoms.set_cell(self.atoms.cell.array @ back)
        self.atoms.positions = self.atoms.positions @ back
        self.atoms.set_momenta(self.atoms.get_momenta() @ back)
        self.p_eps = back.T @ self.p_eps @ back if np.ndim(self.p_eps) else self.p_eps

    def _barostat_BAOAB_A(self) -> None:  # noqa: N802  named by ASE
        strain = 0.5 * self.dt * np.abs(self.p_eps).max() / self.barostat_mass
        if not strain < LARGEST_STRAIN:
            raise CellError(f"the cell changes by a strain of {strain:.2g} in half a step")
        super()._barostat_BAOAB_A()
