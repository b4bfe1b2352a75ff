"""Forces of OpenMM that evaluate a collective variable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from uncv.bias import AnyBias
from uncv.cv import UncertaintyCV
from uncv.dependencies import import_openmmtorch
from uncv.driver import Driver, PlumedAlone, Region
from uncv.openmm.checks import Backend, check_smooth, check_system
from uncv.openmm.particles import is_periodic, region_of
from uncv.step import FusedStep
from uncv.units import EV_IN_KJ_PER_MOL, uncertainty_in_openmm


def uncertainty_force(
    cv: UncertaintyCV,
    topology: app.Topology,
    atoms: Sequence[int] | None = None,
    periodic: bool | None = None,
    *,
    backend: Backend = "python",
) -> openmm.Force:
    """Return a Force whose energy is u, for CustomCVForce and app.BiasVariable.

    Parameters
    ----------
    cv : UncertaintyCV
        Its u, in kJ/mol, kJ/mol/nm or without unit by its kind, is the energy.
    topology : openmm.app.Topology
        Of the whole System.
    atoms : sequence of int, optional
        The model's atoms; all by default.
    periodic : bool, optional
        Whether the box counts; by default whether the topology has one.
    backend : str
        'python' or 'torchforce'.
    """
    return _single_force(cv, topology, atoms, periodic, backend, "uncertainty")


def energy_force(
    cv: UncertaintyCV,
    topology: app.Topology,
    atoms: Sequence[int] | None = None,
    periodic: bool | None = None,
    *,
    backend: Backend = "python",
) -> openmm.Force:
    """Return a Force whose energy is that of the ensemble's mean; see `uncertainty_force`."""
    return _single_force(cv, topology, atoms, periodic, backend, "energy")


class DriverCallback:
    """What PythonForce calls; one object with the driver."""

    def __init__(self, driver: Driver | PlumedAlone, system: openmm.System) -> None:
        self.driver = driver
        self._system: openmm.System | None = system

    def __getstate__(self) -> dict[str, Any]:
        return {"driver": self.driver, "_system": None}

    def __call__(self, state: openmm.State) -> tuple[float, NDArray[np.float64]]:
        """Return energy (kJ/mol) and forces (kJ/mol/nm) of a state."""
        if self._system is not None:
            check_system(self._system, self.driver)
            self._system = None
        positions, box = _read(state, self.driver.periodic)
        time = _value(state.getTime())
        try:
            return self.driver.evaluate(positions, box, state.getStepCount(), time)
        except Exception as error:
            self.driver.failure = error  # of which OpenMM passes on the message alone
            raise


class _SingleCallback:
    """Energy or uncertainty alone."""

    def __init__(self, cv: UncertaintyCV, region: Region, output: str) -> None:
        self.region = region
        self.step = FusedStep(cv, region.numbers, periodic=region.periodic)
        self.slope = 1.0 if output == "uncertainty" else 0.0
        self.unit = uncertainty_in_openmm(cv.kind) if self.slope else EV_IN_KJ_PER_MOL

    def __call__(self, state: openmm.State) -> tuple[float, NDArray[np.float64]]:
        positions, box = _read(state, self.region.periodic)
        cell = None if box is None else box * 10.0
        values = self.step.forward(self.region.split(positions) * 10.0, cell)
        forces = self.step.forces(np.array([self.slope]), np.array([1.0 - self.slope]))
        value = values.uncertainty if self.slope else values.energy
        return float(value[0]) * self.unit, self.region.join(forces) * (10.0 * self.unit)


def _read(
    state: openmm.State, periodic: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    positions = _value(state.getPositions(asNumpy=True))
    if not periodic:
        return positions, None
    return positions, _value(state.getPeriodicBoxVectors(asNumpy=True))


def _value(quantity: unit.Quantity) -> Any:
    """Return the number of a State's quantity, all of which are in nm and ps.

    `value_in_unit` takes longer than reading the positions, at every step.
    """
    return quantity._value  # noqa: SLF001


def _single_force(
    cv: UncertaintyCV,
    topology: app.Topology,
    atoms: Sequence[int] | None,
    periodic: bool | None,
    backend: str,
    output: Literal["energy", "uncertainty"],
) -> openmm.Force:
    if backend not in get_args(Backend):
        raise ValueError(f"backend {backend!r} is unknown; expected one of {get_args(Backend)}")
    if output == "uncertainty":
        check_smooth(cv)
    region = region_of(
        topology, atoms, 1, is_periodic(topology, None) if periodic is None else periodic
    )
    if backend == "torchforce":
        return torch_force(cv, region, output, None)
    return python_force(_SingleCallback(cv, region, output), region)


def python_force(callback: Any, region: Region) -> openmm.Force:
    """Return a PythonForce around a callback."""
    force = openmm.PythonForce(callback)
    force.setUsesPeriodicBoundaryConditions(region.periodic)
    return force


def torch_force(
    cv: UncertaintyCV,
    region: Region,
    output: Literal["total", "energy", "uncertainty"],
    bias: AnyBias | None,
) -> openmm.Force:
    """Return a TorchForce of the exported collective variable."""
    openmmtorch = import_openmmtorch()
    from uncv.export import script

    module = script(
        cv,
        region.numbers,
        walkers=region.walkers,
        periodic=region.periodic,
        output=output,
        bias=bias,  # type: ignore[arg-type]
        particles=region.particles,
        atoms=region.atoms,
    )
    force = openmmtorch.TorchForce(module)
    force.setUsesPeriodicBoundaryConditions(region.periodic)
    return force
