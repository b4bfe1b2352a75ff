"""ANI-1x and its uncertainty as a calculator of ASE: a relaxation, biased dynamics, and a NEB.

    python 10_ase.py

You learn UncertaintyCalculator: with a bias for dynamics, without one for optimisers and paths.
Ethanol is relaxed and then runs at 300 K with V(u) = −strength · u; the trajectory carries u and
the bias of each frame. Then ammonia is turned inside out: a nudged elastic band finds the barrier,
and u along it says which images the model is least sure of, so which ones to label first. Written
are ethanol.extxyz, ammonia.extxyz and ammonia.csv.

Traps: a linear bias has no lower bound, and with --strength 15 ethanol runs away to u = 0.9 eV:
take uncv.TanhBias or a ceiling where you do not watch. A biased calculator gives the energy of
E + V, so relaxations and barriers want one without a bias. Label the frames of a biased run before
you train on them. Each image of a band has its own calculator (of one cv, which costs nothing).

It takes half a minute; with UNCV_QUICK=1, seconds.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms, units
from ase.build import molecule
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.mep import NEB
from ase.optimize import BFGS

import uncv

QUICK = os.environ.get("UNCV_QUICK") == "1"
STEPS, STRIDE = (20, 5) if QUICK else (1500, 10)
IMAGES, FMAX = (5, 0.5) if QUICK else (9, 0.05)  # eV/Å


def relaxed(name: str, cv: uncv.UncertaintyCV) -> Atoms:
    """Return a molecule of ASE's collection at its minimum."""
    atoms = molecule(name)
    atoms.calc = uncv.ase.UncertaintyCalculator(cv)
    BFGS(atoms, logfile=None).run(fmax=0.01, steps=200)
    return atoms


def dynamics(atoms: Atoms, cv: uncv.UncertaintyCV, bias: uncv.LinearBias | None) -> list[Atoms]:
    """Return frames of Langevin dynamics, each with energy, forces, u and bias."""
    atoms = atoms.copy()
    atoms.calc = uncv.ase.UncertaintyCalculator(cv, bias=bias)
    random = np.random.default_rng(0)
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=random)
    friction = 0.01 / units.fs
    run = Langevin(
        atoms, 0.5 * units.fs, temperature_K=300, friction=friction, fixcm=False, rng=random
    )
    frames: list[Atoms] = []
    run.attach(lambda: frames.append(uncv.ase.snapshot(atoms)), interval=STRIDE)
    run.run(STEPS)
    return frames


def inversion(cv: uncv.UncertaintyCV) -> list[Atoms]:
    """Return the band from ammonia to its mirror image."""
    first = relaxed("NH3", cv)
    first.positions -= first.positions.mean(axis=0)  # no part of the path is a translation
    last = first.copy()
    last.positions[:, 2] *= -1.0
    images = [first.copy() for _ in range(IMAGES - 1)] + [last]
    for image in images:
        image.calc = uncv.ase.UncertaintyCalculator(cv)
    band = NEB(images, climb=True, method="improvedtangent")
    band.interpolate()
    BFGS(band, logfile=None).run(fmax=FMAX, steps=100)
    return [uncv.ase.snapshot(image) for image in images]


def main(strength: float, out: Path) -> None:
    """Relax, run and find the barrier."""
    out.mkdir(parents=True, exist_ok=True)
    potential = uncv.load_potential("ani1x")
    cv = uncv.UncertaintyCV(potential, uncv.EnsembleUncertainty(of="energy"))

    ethanol = relaxed("CH3CH2OH", cv)
    free = dynamics(ethanol, cv, None)
    pushed = dynamics(ethanol, cv, uncv.LinearBias(strength=strength))
    ase.io.write(out / "ethanol.extxyz", pushed)
    for name, frames in (("free", free), ("biased", pushed)):
        u = np.array([frame.info["uncertainty"] for frame in frames])
        print(f"ethanol, {name}: u = {u.mean():.3f} ± {u.std():.3f} eV, at most {u.max():.3f} eV")

    band = inversion(cv)
    ase.io.write(out / "ammonia.extxyz", band)
    energy = np.array([image.get_potential_energy() for image in band])
    energy -= energy[0]
    u = np.array([image.info["uncertainty"] for image in band])
    table = np.stack([np.arange(len(band)), energy, u], axis=1)
    header = "image,energy (eV),uncertainty (eV)"
    np.savetxt(out / "ammonia.csv", table, "%.6g", delimiter=",", header=header, comments="")
    for image, (above, unsure) in enumerate(zip(energy, u, strict=True)):
        print(f"ammonia, image {image}: E = {above:.3f} eV, u = {unsure:.3f} eV")
    print(f"the barrier is {energy.max():.3f} eV; label image {u.argmax()} first")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strength", type=float, default=9.0, help="eV per eV of u")
    parser.add_argument("--out", type=Path, default=Path("with_ase"), help="folder for files")
    given = parser.parse_args()
    main(given.strength, given.out)
