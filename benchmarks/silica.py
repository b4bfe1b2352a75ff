"""Silica in three states, labelled by the BKS potential: crystal, hot melt and quenched glass.

    python benchmarks/silica.py [--json] [--seed 0] [--quick] [--out FOLDER]

72 atoms (Si24O48) at constant volume. α-quartz at its measured density of 2.65 g/cm³ and 300, 600
and 1000 K; a melt of 2.2 g/cm³, the density of silica glass, at 4000 and 3000 K, from a crystal
molten at 6000 K; and glasses, each cooled from another moment of the melt at 4000 K. Dynamics are
Langevin's in OpenMM, with the short range of the potential ending at half the cell, which OpenMM
asks for: their forces differ from the labels by 1 % (melt), 3 % (glass) and 7 % (crystal), root
mean squares. All labels are the oracle's, which has no such limit. Sets that are in the folder are
read, not made again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from openmm.unit import angstrom

import uncv
from uncv.oracles import BKSSilica, labelled_part
from uncv.structures.quartz import alpha_quartz

DENSITY = 2.2  # g/cm³
MASS = 24 * 60.084  # of the cell, g/mol
BOND = 2.2  # Å, between the first and second shell of oxygen around silicon
BAR_IN_EV = 6.241509e-7  # per Å³


class SilicaSets(NamedTuple):
    """Labelled frames of each state."""

    crystal: uncv.Dataset
    melt: uncv.Dataset
    glass: uncv.Dataset


@dataclass(frozen=True)
class Protocol:
    """Numbers of frames, and times in ps."""

    frames: int = 50  # at each temperature, and of each glass
    glasses: int = 3
    stride: float = 0.1
    equilibration: float = 1.0
    melting: float = 5.0
    quench: float = 40.0


FULL = Protocol()
QUICK = Protocol(frames=6, glasses=2, stride=0.05, equilibration=0.2, melting=1.0, quench=1.0)


class Dynamics:
    """Langevin dynamics of one cell in OpenMM, in steps of 1 fs."""

    def __init__(self, oracle: BKSSilica, start: uncv.Dataset, seed: int) -> None:
        import openmm

        self.start = start
        self.integrator = openmm.LangevinMiddleIntegrator(300.0, 5.0, 0.001)
        self.integrator.setRandomNumberSeed(seed)
        self.context = openmm.Context(
            oracle.make_system(start),
            self.integrator,
            openmm.Platform.getPlatformByName("CPU"),
            {"Threads": "1", "DeterministicForces": "true"},
        )
        self.context.setPositions(start.positions[0] / 10.0)
        openmm.LocalEnergyMinimizer.minimize(self.context, maxIterations=200)
        self.context.setVelocitiesToTemperature(300.0, seed)

    def run(self, temperature: float, picoseconds: float) -> None:
        """Go on at this temperature."""
        self.integrator.setTemperature(temperature)
        self.integrator.step(round(1000 * picoseconds))

    def cool(self, hot: float, cold: float, picoseconds: float) -> None:
        """Lower the temperature of the thermostat in a hundred equal parts."""
        for temperature in np.linspace(hot, cold, 100):
            self.run(temperature, picoseconds / 100)

    def sample(self, temperature: float, protocol: Protocol, **columns: int) -> uncv.Dataset:
        """Equilibrate and return frames, without labels, their atoms in the cell."""
        self.run(temperature, protocol.equilibration)
        frames = []
        for _ in range(protocol.frames):
            self.run(temperature, protocol.stride)
            state = self.context.getState(getPositions=True)
            frames.append(state.getPositions(asNumpy=True).value_in_unit(angstrom))
        cell = self.start.cell[0]
        fractions = np.array(frames) @ np.linalg.inv(cell)
        data = uncv.Dataset(
            self.start.numbers[0], (fractions - np.floor(fractions)) @ cell, cell=cell
        )
        return data.with_info(**{
            name: np.full(len(data), value)
            for name, value in {"temperature": temperature, **columns}.items()
        })  # fmt: skip


def molten_start() -> uncv.Dataset:
    """Return quartz in a cube of the density of glass, distorted but with its neighbours."""
    crystal = alpha_quartz((2, 2, 2))
    length = (MASS / DENSITY / 0.602214) ** (1 / 3)
    fractions = crystal.positions @ np.linalg.inv(crystal.cell[0])
    return uncv.Dataset(crystal.numbers, fractions * length, cell=np.eye(3) * length)


def crystal_frames(oracle: BKSSilica, protocol: Protocol, seed: int) -> uncv.Dataset:
    dynamics = Dynamics(oracle, alpha_quartz((2, 2, 2)), seed)
    return uncv.concatenate([dynamics.sample(t, protocol) for t in (300.0, 600.0, 1000.0)])


def melt_and_glass_frames(
    oracle: BKSSilica, protocol: Protocol, seed: int
) -> tuple[uncv.Dataset, uncv.Dataset]:
    dynamics = Dynamics(oracle, molten_start(), seed)
    dynamics.run(6000.0, protocol.melting)
    melt = [dynamics.sample(4000.0, protocol)]
    glass = []
    for number in range(protocol.glasses):
        dynamics.run(4000.0, protocol.equilibration)
        state = dynamics.context.getState(getPositions=True, getVelocities=True)
        dynamics.cool(4000.0, 300.0, protocol.quench)
        glass.append(dynamics.sample(300.0, protocol, quench=number))
        dynamics.context.setState(state)
    dynamics.cool(4000.0, 3000.0, protocol.equilibration)
    melt.append(dynamics.sample(3000.0, protocol))
    return uncv.concatenate(melt), uncv.concatenate(glass)


def silica_sets(seed: int, quick: bool = False, folder: Path | None = None) -> SilicaSets:
    """Return the three sets, from the folder if it has them."""
    names = [f"silica_{state}_{seed}{'_quick' * quick}.npz" for state in SilicaSets._fields]
    files = [Path(folder) / name for name in names] if folder is not None else []
    if files and all(file.exists() for file in files):
        return SilicaSets(*map(uncv.read, files))
    oracle, protocol = BKSSilica(), QUICK if quick else FULL
    crystal = crystal_frames(oracle, protocol, 2 * seed + 1)
    melt, glass = melt_and_glass_frames(oracle, protocol, 2 * seed + 2)
    sets = SilicaSets(*(labelled_part(oracle.label(d)) for d in (crystal, melt, glass)))
    for file, data in zip(files, sets, strict=False):
        file.parent.mkdir(parents=True, exist_ok=True)
        uncv.write(file, data)
    return sets


def distances(data: uncv.Dataset) -> np.ndarray:
    """Return the distances of silicon and the nearest images of oxygen (F, Si, O), Å."""
    silicon, oxygen = data.numbers[0] == 14, data.numbers[0] == 8
    cell = data.cell[0]
    arrows = data.positions[:, silicon, None] - data.positions[:, None, oxygen]
    fractions = arrows @ np.linalg.inv(cell)
    return np.linalg.norm((fractions - np.round(fractions)) @ cell, axis=-1)


def describe(data: uncv.Dataset) -> dict[str, float]:
    """Return what tells whether the structures are sound."""
    r = distances(data)
    counts, edges = np.histogram(r, bins=np.arange(1.2, 2.4, 0.02))
    middles = 0.5 * (edges[1:] + edges[:-1])
    neighbours = (r < BOND).sum(axis=2)
    return {
        "frames": len(data),
        "Si-O peak of g(r) / Å": float(middles[np.argmax(counts / middles**2)]),
        "coordination of Si": float(neighbours.mean()),
        "share of Si with 4 O": float((neighbours == 4).mean()),
        "energy / eV per SiO2": float(data.energy.mean() / 24),
        "spread of energies / eV per SiO2": float(data.energy.std() / 24),
        "force / eV/Å (root mean square)": float(np.sqrt((data.forces**2).mean())),
        "pressure without kinetic part / GPa": float(
            -np.trace(data.stress, axis1=1, axis2=2).mean() / 3 / BAR_IN_EV * 1e-4
        ),
    }


def main() -> None:
    """Print the table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="few frames, no sound glass")
    parser.add_argument("--out", type=Path, help="folder of the sets as .npz")
    options = parser.parse_args()
    begun = time.perf_counter()
    sets = silica_sets(options.seed, options.quick, options.out)
    seconds = time.perf_counter() - begun
    found = {state: describe(data) for state, data in sets._asdict().items()}
    if options.json:
        json.dump({"states": found, "seed": options.seed, "seconds": seconds}, sys.stdout, indent=2)
        return
    for state, figures in found.items():
        print(state)
        for name, value in figures.items():
            print(f"  {name:36s} {value:10.3f}")
    print(f"{seconds:.0f} s")


if __name__ == "__main__":
    main()
