"""A drug-like molecule from SMILES or PDB on ANI-1x, pushed to where its members disagree.

    python 07_drug_molecule.py                                     # lidocaine
    python 07_drug_molecule.py --smiles "CC(=O)Nc1ccc(O)cc1"       # paracetamol
    python 07_drug_molecule.py --pdb ligand.pdb                    # with all its hydrogens

You learn how a molecule of your own becomes an OpenMM Simulation on a pretrained potential, and how
to see that a bias does its work without tearing the molecule. ANI-1x knows neutral molecules of
H, C, N and O; others are refused. Four walkers run twice from the same velocities: as they are,
and with V(u) = −strength · u. Printed are mean u, the energy that the bias costs, and how far bonds
were stretched; structures and trajectories are written.

SMILES need RDKit (pip install rdkit). It takes a minute and a half; with UNCV_QUICK=1, seconds.
"""

from __future__ import annotations

import argparse
import io
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import openmm
from ase.data import covalent_radii
from openmm import app, unit

import uncv

QUICK = os.environ.get("UNCV_QUICK") == "1"
WALKERS = 2 if QUICK else 4
STEPS, STRIDE = (60, 10) if QUICK else (1500, 10)
PS, FS = unit.picosecond, unit.femtosecond


class Run(NamedTuple):
    """Series of all walkers (T, W): u and the energy of the model in eV, and stretch of bonds."""

    uncertainty: np.ndarray
    energy: np.ndarray
    stretch: np.ndarray


def from_smiles(smiles: str) -> app.PDBFile:
    """Return a molecule with hydrogens and a first geometry by ETKDG and MMFF94."""
    try:
        from rdkit import Chem
        from rdkit.Chem import AllChem
    except ImportError as error:
        raise SystemExit("SMILES need RDKit: pip install rdkit, or give --pdb") from error
    read = Chem.MolFromSmiles(smiles)
    if read is None or Chem.GetFormalCharge(read):
        raise SystemExit(f"{smiles!r} is no SMILES of a neutral molecule, which ANI-1x needs")
    molecule = Chem.AddHs(read)
    AllChem.EmbedMolecule(molecule, randomSeed=1)
    AllChem.MMFFOptimizeMolecule(molecule)
    return app.PDBFile(io.StringIO(Chem.MolToPDBBlock(molecule)))


def bonds_of(numbers: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs (2, B) closer than 1.25 times the sum of their covalent radii, and lengths."""
    first, second = np.triu_indices(len(numbers), k=1)
    length = np.linalg.norm(positions[first] - positions[second], axis=1)
    close = length < 1.25 * (covalent_radii[numbers[first]] + covalent_radii[numbers[second]])
    return np.stack([first, second])[:, close], length[close]


def simulate(
    pdb: app.PDBFile, cv: uncv.UncertaintyCV, bias: uncv.LinearBias | None, name: Path
) -> Run:
    """Minimise, run all walkers, and return what they did."""
    system = uncv.openmm.create_system(pdb.topology, cv, bias=bias, walkers=WALKERS)
    everyone, positions = uncv.openmm.replicate(pdb.topology, pdb.positions, WALKERS)
    integrator = openmm.LangevinMiddleIntegrator(300, 10 / PS, 0.5 * FS)
    integrator.setRandomNumberSeed(1)
    platform = openmm.Platform.getPlatformByName("Reference")  # the quickest around a model
    simulation = app.Simulation(everyone, system, integrator, platform)
    simulation.context.setPositions(positions)
    simulation.minimizeEnergy(maxIterations=10 if QUICK else 100)
    minimised = simulation.context.getState(positions=True).getPositions(asNumpy=True)
    with name.with_suffix(".pdb").open("w", encoding="utf-8") as file:
        app.PDBFile.writeFile(everyone, minimised, file)
    simulation.context.setVelocitiesToTemperature(600, 1)  # half of it becomes potential energy
    simulation.reporters.append(app.DCDReporter(str(name.with_suffix(".dcd")), STRIDE))
    simulation.reporters.append(uncv.openmm.WalkerReporter(name.with_suffix(".csv"), STRIDE))

    driver = uncv.openmm.driver_of(simulation)
    numbers = np.array([atom.element.atomic_number for atom in pdb.topology.atoms()])
    first_walker = minimised[: len(numbers)].value_in_unit(unit.angstrom)
    pairs, lengths = bonds_of(numbers, first_walker)
    rows = []
    for _ in range(STEPS // STRIDE):
        simulation.step(STRIDE)
        frame = driver.frame
        now = frame.positions[:, pairs[0]] - frame.positions[:, pairs[1]]
        stretch = (np.linalg.norm(now, axis=2) / lengths).max(axis=1)
        rows.append([frame.values.uncertainty, frame.values.energy, stretch])
    return Run(*np.array(rows).swapaxes(0, 1))


def main(pdb: app.PDBFile, strength: float, out: Path) -> None:
    """Run with and without the bias and compare."""
    out.mkdir(parents=True, exist_ok=True)
    potential = uncv.load_potential("ani1x")
    cv = uncv.UncertaintyCV(potential, uncv.EnsembleUncertainty(of="energy"))
    free = simulate(pdb, cv, None, out / "unbiased")
    pushed = simulate(pdb, cv, uncv.LinearBias(strength=strength), out / "biased")
    for name, run in (("unbiased", free), ("biased", pushed)):
        u = run.uncertainty[len(run.uncertainty) // 4 :]
        print(
            f"{name:9s} u = {u.mean():.3f} ± {u.std():.3f} eV, at most {u.max():.3f} eV;", end=" "
        )
        print(f"longest bond {run.stretch.max():.2f} times its minimised length")
    print(f"u rose by a factor of {pushed.uncertainty.mean() / free.uncertainty.mean():.2f}")
    print(f"the energy of the model rose by {pushed.energy.mean() - free.energy.mean():.2f} eV")
    whole = np.isfinite(pushed.energy).all() and pushed.stretch.max() < 1.5
    print("sound: no bond is broken" if whole else "NOT sound: try a smaller --strength")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--smiles", default="CCN(CC)CC(=O)Nc1c(C)cccc1C", help="of one molecule")
    source.add_argument("--pdb", type=Path, help="a file with all hydrogens")
    parser.add_argument("--strength", type=float, default=5.0, help="eV per eV of u")
    parser.add_argument("--out", type=Path, default=Path("drug_molecule"), help="folder for files")
    given = parser.parse_args()
    found = app.PDBFile(str(given.pdb)) if given.pdb else from_smiles(given.smiles)
    main(found, given.strength, given.out)
