"""OPES on (φ, ψ) of alanine dipeptide: the protocol, and its run with the AMBER force field."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

import uncv
from uncv.data import Dataset, concatenate
from uncv.openmm import Plumed, finish, plumed_force
from uncv.oracles import OpenMMForceField
from uncv.units import ANGSTROM_IN_NM, EV_IN_KJ_PER_MOL, FS_IN_PS

FORCE_FIELD = "amber14/protein.ff14SB.xml"
SCRIPT = """\
phi: TORSION ATOMS=5,7,9,15
psi: TORSION ATOMS=7,9,15,17
opes: OPES_METAD ARG=phi,psi PACE=250 SIGMA=0.25,0.25 BARRIER=45 TEMP=300 FILE=KERNELS
PRINT ARG=phi,psi,opes.bias,opes.rct,opes.neff STRIDE=50 FILE=COLVAR
"""
_BIAS_GROUP = 1


@dataclass(frozen=True)
class Protocol:
    """What both runs have in common: steps of each walker, fs, amu, K, 1/ps, steps a frame."""

    steps: int
    walkers: int = 8
    timestep: float = 2.0
    hydrogen_mass: float = 4.0
    temperature: float = 300.0
    friction: float = 2.0
    stride: int = 250
    seed: int = 0

    def plumed(self, folder: Path) -> Plumed:
        """Return the input for a run whose files go to a folder."""
        timestep = self.timestep * FS_IN_PS
        return Plumed(SCRIPT, timestep, self.temperature, directory=folder)


def run_amber(protocol: Protocol, folder: Path) -> Dataset:
    """Return the frames of all walkers with AMBER's labels and the bias in eV.

    Each walker is a System of its own; COLVAR of walker i is in folder/i.
    """
    topology, start = uncv.structures.alanine_dipeptide()
    oracle = OpenMMForceField(topology, FORCE_FIELD)
    runs = [_walker(oracle, start, protocol, w, folder / str(w)) for w in range(protocol.walkers)]
    return oracle.label(concatenate(runs))


def _walker(
    oracle: OpenMMForceField, start: Dataset, protocol: Protocol, walker: int, folder: Path
) -> Dataset:
    system = oracle.make_system(protocol.hydrogen_mass)
    bias = plumed_force(system, protocol.plumed(folder))
    bias.setForceGroup(_BIAS_GROUP)
    system.addForce(bias)
    integrator = openmm.LangevinMiddleIntegrator(
        protocol.temperature, protocol.friction, protocol.timestep * FS_IN_PS
    )
    integrator.setRandomNumberSeed(1 + protocol.seed + walker)
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(oracle.topology, system, integrator, platform)
    simulation.context.setPositions(start.positions[0] * ANGSTROM_IN_NM)
    simulation.context.setVelocitiesToTemperature(protocol.temperature, 1 + protocol.seed + walker)
    frames = []
    for _ in range(protocol.steps // protocol.stride):
        simulation.step(protocol.stride)
        frames.append(_frame(simulation, start, walker))
    finish(simulation)
    system.uncv_driver.close()
    return concatenate(frames)


def _frame(simulation: app.Simulation, like: Dataset, walker: int) -> Dataset:
    state = simulation.context.getState(getPositions=True, getEnergy=True, groups={_BIAS_GROUP})
    bias = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) / EV_IN_KJ_PER_MOL
    positions = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer) / ANGSTROM_IN_NM
    info = {"walker": [walker], "step": [simulation.currentStep], "bias": [bias]}
    return Dataset(like.numbers[0], (positions - positions.mean(axis=0))[None], info=info)


def colvar_files(folder: Path) -> list[Path]:
    """Return the COLVAR files of all walkers of a run, of either kind."""
    found = [*folder.glob("*/COLVAR"), *folder.glob("COLVAR.*")]
    return sorted(found, key=lambda path: int((path.suffix or path.parent.name).strip(".")))


def reordered_walkers(frames: Dataset) -> np.ndarray:
    """Return the order of frames (F,) by walker, then by step."""
    return np.lexsort((frames.info["step"], frames.info["walker"]))
