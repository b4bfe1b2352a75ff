"""Energy, uncertainty and bias as forces of OpenMM.

`create_system` makes the System of a potential, biased or not, of one or several walkers;
`uncertainty_force` and `energy_force` are single Forces for Systems of your own. At this border
lengths are nm, energies kJ/mol, times ps, and u is in OpenMM's units by its kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from uncv.bias import AdaptiveBias, Bias
from uncv.cv import UncertaintyCV
from uncv.dependencies import import_openmmtorch
from uncv.driver import Driver, Region
from uncv.errors import EngineError
from uncv.mixed import embed
from uncv.plumed import PlumedDriver, PlumedSettings, StepGate
from uncv.step import FusedStep
from uncv.units import EV_IN_KJ_PER_MOL, uncertainty_in_openmm

Backend = Literal["python", "torchforce"]
BAROSTATS = ("MonteCarloBarostat", "MonteCarloAnisotropicBarostat", "MonteCarloMembraneBarostat",
             "MonteCarloFlexibleBarostat")  # fmt: skip


@dataclass(frozen=True)
class Plumed:
    """A PLUMED input with what PLUMED must know of the run.

    Parameters
    ----------
    script : str or Path
        Input file, or the input itself (a string with a line break). It reads u by
        ``u: EXTRACV NAME=uncertainty`` and the potential energy by ``EXTRACV NAME=energy``.
    timestep : float
        Of the integrator, in ps; another one found while running is an error.
    temperature : float
        In K.
    directory : Path, optional
        Where relative paths in the script begin.
    log : Path, optional
        PLUMED's log.
    """

    script: str | Path
    timestep: float = 0.001
    temperature: float = 300.0
    directory: Path | None = None
    log: Path | None = None


def create_system(
    topology: app.Topology,
    cv: UncertaintyCV,
    *,
    bias: Bias | AdaptiveBias | None = None,
    plumed: str | Path | Plumed | None = None,
    walkers: int = 1,
    backend: Backend = "python",
    atoms: Sequence[int] | None = None,
    system: openmm.System | None = None,
    hydrogen_mass: float | None = None,
) -> openmm.System:
    """Return a System that moves on the ensemble's mean energy plus a bias of its uncertainty.

    Parameters
    ----------
    topology : openmm.app.Topology
        Of one walker; with ``walkers > 1`` simulate the topology that `replicate` returns.
    cv : UncertaintyCV
        Potential and uncertainty.
    bias : Bias or AdaptiveBias, optional
        V(u), added to the energy.
    plumed : str, Path or Plumed, optional
        PLUMED input acting on u (python backend).
    walkers : int
        Copies of the molecule in one System, evaluated as one batch; they never interact.
    backend : str
        'python' (openmm.PythonForce; everything works) or 'torchforce' (TorchForce, conservative
        biases only).
    atoms : sequence of int, optional
        The model's atoms; all by default.
    system : openmm.System, optional
        A molecular-mechanics System of the same topology: the copy returned has the forces within
        ``atoms`` replaced by the model (mechanical embedding). It is left as it is.
    hydrogen_mass : float, optional
        In amu; taken from the heavy neighbour. Only without ``system``.

    Raises
    ------
    EngineError
        If a combination cannot work, with the alternative.
    ElementError
        If the potential does not know an element.
    """
    _check_region(walkers, atoms, system, hydrogen_mass)
    _check_bias(cv, bias, plumed, backend)
    region = _region(topology, atoms, walkers, _periodic(topology, system))
    made = (
        _empty_system(topology, walkers, hydrogen_mass)
        if system is None
        else embed(system, np.arange(region.particles) if atoms is None else np.asarray(atoms))
    )
    if made.getNumParticles() != region.particles:
        raise EngineError(
            f"the System has {made.getNumParticles()} particles and the topology "
            f"{region.particles}; give the topology of this System"
        )
    if backend == "torchforce":
        made.addForce(_torch_force(cv, region, "total", bias))
        return made
    gates = [] if plumed is None else _gates(plumed, made, region)
    step = FusedStep(cv, region.numbers, walkers, periodic=region.periodic)
    timestep = plumed.timestep if isinstance(plumed, Plumed) else 0.001
    driver = Driver(step, region, bias=bias, gates=gates, timestep=timestep)
    made.addForce(_python_force(_DriverCallback(driver, made), region))
    made.uncv_driver = driver
    return made


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


def replicate(
    topology: app.Topology, positions: Any, walkers: int
) -> tuple[app.Topology, unit.Quantity]:
    """Return topology and positions of W copies of a molecule.

    Parameters
    ----------
    topology : openmm.app.Topology
        Of one copy.
    positions : Quantity or array_like
        (A, 3) for all, or (W, A, 3) one for each, nm.
    walkers : int
        W.
    """
    if unit.is_quantity(positions):
        positions = positions.value_in_unit(unit.nanometer)
    one = np.asarray(positions, dtype=np.float64)
    atoms = topology.getNumAtoms()
    if one.shape not in ((atoms, 3), (walkers, atoms, 3)):
        raise ValueError(
            f"positions have shape {one.shape}; expected {(atoms, 3)} or {(walkers, atoms, 3)}"
        )
    both = app.Topology()
    both.setPeriodicBoxVectors(topology.getPeriodicBoxVectors())
    for _ in range(walkers):
        copy = {}
        for chain in topology.chains():
            new_chain = both.addChain()
            for residue in chain.residues():
                new = both.addResidue(residue.name, new_chain, residue.id)
                for atom in residue.atoms():
                    copy[atom] = both.addAtom(atom.name, atom.element, new)
        for bond in topology.bonds():
            both.addBond(copy[bond[0]], copy[bond[1]])
    everything = np.broadcast_to(one, (walkers, atoms, 3)).reshape(-1, 3)
    return both, everything * unit.nanometer


def remove_center_of_mass_motion(context: openmm.Context, walkers: int) -> None:
    """Take away the momentum of each walker apart, which OpenMM's own remover cannot do."""
    state = context.getState(velocities=True)
    velocities = state.getVelocities(asNumpy=True).value_in_unit(unit.nanometer / unit.picosecond)
    system = context.getSystem()
    masses = np.array(
        [system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(len(velocities))]
    )
    mass = masses.reshape(walkers, -1, 1)
    by_walker = velocities.reshape(walkers, -1, 3)
    drift = (mass * by_walker).sum(axis=1, keepdims=True) / mass.sum(axis=1, keepdims=True)
    context.setVelocities((by_walker - drift).reshape(-1, 3))


def driver_of(simulation: app.Simulation) -> Driver:
    """Return the driver of a simulation whose System `create_system` made.

    Raises
    ------
    EngineError
        If the System is another one, or of the torchforce backend.
    """
    driver = getattr(simulation.system, "uncv_driver", None)
    if driver is None:
        raise EngineError(
            "the simulation's System has no driver of uncv; make it by "
            "uncv.openmm.create_system(..., backend='python') and pass that object to Simulation"
        )
    return driver


def finish(simulation: app.Simulation) -> None:
    """Complete a run: PLUMED's update of the last step is made and its files are written out."""
    driver_of(simulation).flush(simulation.context.getStepCount())


def save_checkpoint(simulation: app.Simulation, path: str | Path) -> None:
    """Write OpenMM's checkpoint and the driver's state to one file, for an exact continuation."""
    driver = driver_of(simulation)
    context = simulation.context.createCheckpoint()
    path = Path(path)
    scratch = path.with_name(path.name + ".part")
    with scratch.open("wb") as file:
        np.savez(file, openmm=np.frombuffer(context, dtype=np.uint8), **driver.state())  # type: ignore[arg-type]
    scratch.replace(path)


def load_checkpoint(simulation: app.Simulation, path: str | Path) -> None:
    """Take up a run at a checkpoint that `save_checkpoint` wrote on the same machine."""
    with np.load(Path(path), allow_pickle=False) as kept:
        simulation.context.loadCheckpoint(kept["openmm"].tobytes())
        driver_of(simulation).restore({k: kept[k] for k in kept.files if k != "openmm"})


class _DriverCallback:
    """What PythonForce calls; one object with the driver."""

    def __init__(self, driver: Driver, system: openmm.System) -> None:
        self.driver = driver
        self._system: openmm.System | None = system

    def __getstate__(self) -> dict[str, Any]:
        return {"driver": self.driver, "_system": None}

    def __call__(self, state: openmm.State) -> tuple[float, NDArray[np.float64]]:
        if self._system is not None:
            _check_system(self._system, self.driver)
            self._system = None
        positions, box = _read(state, self.driver.region.periodic)
        time = state.getTime().value_in_unit(unit.picosecond)
        return self.driver.evaluate(positions, box, state.getStepCount(), time)


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
    positions = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    if not periodic:
        return positions, None
    return positions, state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.nanometer)


def _check_region(
    walkers: int,
    atoms: Sequence[int] | None,
    system: openmm.System | None,
    hydrogen_mass: float | None,
) -> None:
    if walkers < 1:
        raise ValueError(f"walkers is {walkers}; expected at least 1")
    if walkers > 1 and (atoms is not None or system is not None):
        raise EngineError("several walkers fill the System; give neither atoms= nor system=")
    if atoms is not None and system is None:
        raise EngineError(
            "atoms= names a part of a System; give that System by system=, or use energy_force"
        )
    if hydrogen_mass is not None and system is not None:
        raise EngineError("the masses are those of system=; set hydrogenMass when creating it")


def _check_bias(
    cv: UncertaintyCV,
    bias: Bias | AdaptiveBias | None,
    plumed: str | Path | Plumed | None,
    backend: str,
) -> None:
    if backend not in get_args(Backend):
        raise ValueError(f"backend {backend!r} is unknown; expected one of {get_args(Backend)}")
    if bias is not None and not isinstance(bias, Bias | AdaptiveBias):
        raise TypeError(f"bias is a {type(bias).__name__}; expected a bias of uncv.bias")
    if bias is not None or plumed is not None:
        _check_smooth(cv)
    if isinstance(bias, AdaptiveBias) and plumed is not None:
        raise EngineError("the adaptive bias has no potential and cannot be combined with PLUMED")
    if backend == "torchforce" and plumed is not None:
        raise EngineError(
            "TorchForce cannot take dV/du from PLUMED; use backend='python' with plumed="
        )
    if backend == "torchforce" and isinstance(bias, AdaptiveBias):
        raise EngineError("TorchForce cannot hold the adaptive bias's window; use backend='python'")


def _check_smooth(cv: UncertaintyCV) -> None:
    if not cv.smooth:
        raise EngineError(
            f"reduction {cv.reduce!r} has a gradient that jumps; bias by 'softmax' or 'mean' and "
            "keep 'max' for stopping"
        )


def _check_system(system: openmm.System, driver: Driver) -> None:
    barostat = next(
        (f.__class__.__name__ for f in system.getForces() if f.__class__.__name__ in BAROSTATS),
        None,
    )
    if barostat is None:
        return
    if driver.region.walkers > 1:
        raise EngineError(f"{barostat} scales one box for all walkers; use walkers=1")
    if isinstance(driver.bias, AdaptiveBias):
        raise EngineError(
            f"{barostat} needs a potential and the adaptive bias has none; use LinearBias"
        )


def _periodic(topology: app.Topology, system: openmm.System | None) -> bool:
    if system is not None:
        return bool(system.usesPeriodicBoundaryConditions())
    return topology.getPeriodicBoxVectors() is not None


def _region(
    topology: app.Topology, atoms: Sequence[int] | None, walkers: int, periodic: bool
) -> Region:
    elements = [a.element for a in topology.atoms()]
    chosen = None if atoms is None else np.asarray(atoms, dtype=np.int64)
    if chosen is not None:
        _check_atoms(chosen, len(elements))
    indices = range(len(elements)) if chosen is None else chosen
    missing = [i for i in indices if elements[i] is None]
    if missing:
        raise EngineError(
            f"atoms {missing[:5]} of the model's region have no element (virtual sites?); "
            "leave them out by atoms="
        )
    numbers = np.array([elements[i].atomic_number for i in indices], dtype=np.int64)
    return Region(numbers, len(elements) * walkers, walkers, chosen, periodic)


def _check_atoms(atoms: NDArray[np.int64], count: int) -> None:
    if atoms.ndim != 1 or len(atoms) == 0 or len(np.unique(atoms)) != len(atoms):
        raise ValueError("atoms must be a list of distinct indices, at least one")
    if atoms.min() < 0 or atoms.max() >= count:
        raise ValueError(f"atoms run to {atoms.max()} but the topology has {count} atoms")


def _empty_system(
    topology: app.Topology, walkers: int, hydrogen_mass: float | None
) -> openmm.System:
    masses = np.array([a.element.mass.value_in_unit(unit.dalton) for a in topology.atoms()])
    if hydrogen_mass is not None:
        masses = _repartition(topology, masses, hydrogen_mass)
    system = openmm.System()
    for mass in np.tile(masses, walkers):
        system.addParticle(float(mass))
    box = topology.getPeriodicBoxVectors()
    if box is not None:
        system.setDefaultPeriodicBoxVectors(*box)
    return system


def _repartition(
    topology: app.Topology, masses: NDArray[np.float64], hydrogen_mass: float
) -> NDArray[np.float64]:
    new = masses.copy()
    for one, two in topology.bonds():
        if one.element is app.element.hydrogen:
            one, two = two, one
        if two.element is app.element.hydrogen and one.element is not app.element.hydrogen:
            new[one.index] -= hydrogen_mass - masses[two.index]
            new[two.index] = hydrogen_mass
    if not topology.getNumBonds() or (new <= 0).any():
        raise EngineError(
            f"a hydrogen mass of {hydrogen_mass} amu cannot be taken from the heavy neighbours "
            f"({topology.getNumBonds()} bonds in the topology); choose a smaller one, or call "
            "topology.createStandardBonds()"
        )
    return new


def _gates(plumed: str | Path | Plumed, system: openmm.System, region: Region) -> list[StepGate]:
    run = plumed if isinstance(plumed, Plumed) else Plumed(plumed)
    masses = [
        system.getParticleMass(i).value_in_unit(unit.dalton)
        for i in range(region.particles // region.walkers)
    ]
    settings = PlumedSettings(
        run.script, masses, run.timestep, run.temperature, directory=run.directory, log=run.log
    )
    if region.walkers == 1:
        return [StepGate(PlumedDriver(settings))]
    return [
        StepGate(PlumedDriver(replace(settings, suffix=f".{walker}")))
        for walker in range(region.walkers)
    ]


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
        _check_smooth(cv)
    region = _region(
        topology, atoms, 1, _periodic(topology, None) if periodic is None else periodic
    )
    if backend == "torchforce":
        return _torch_force(cv, region, output, None)
    return _python_force(_SingleCallback(cv, region, output), region)


def _python_force(callback: Any, region: Region) -> openmm.Force:
    force = openmm.PythonForce(callback)
    force.setUsesPeriodicBoundaryConditions(region.periodic)
    return force


def _torch_force(
    cv: UncertaintyCV,
    region: Region,
    output: Literal["total", "energy", "uncertainty"],
    bias: Bias | AdaptiveBias | None,
) -> openmm.Force:
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
