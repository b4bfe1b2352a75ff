"""From a structure file to what moves: topology, start structures, engine, and what is watched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncv.analysis import ALANINE_PHI_PSI, coverage, dihedrals
from uncv.config import CampaignConfig, SystemConfig
from uncv.data import Dataset
from uncv.errors import ConfigError
from uncv.io import read
from uncv.learning.directory import regular
from uncv.stopping import BOND_FACTOR
from uncv.structures import alanine_dipeptide
from uncv.units import ANGSTROM_IN_NM

if TYPE_CHECKING:
    from openmm.app import Topology

FloatArray = NDArray[np.float64]
Engine = Literal["openmm", "ase"]
SHIPPED = "alanine_dipeptide"
_LEVELS = 5
"""Of the coverage."""


class Observable(NamedTuple):
    """The variables of the system whose coverage is followed.

    Attributes
    ----------
    torsions : tuple of tuple of int
        Torsions, in radians.
    volume_range : tuple of float or None
        Smallest and largest volume of the cell in Å^3, in place of torsions.
    """

    torsions: tuple[tuple[int, int, int, int], ...] = ()
    volume_range: tuple[float, float] | None = None

    def values(self, frames: Dataset) -> FloatArray | None:
        """Return the variables of each frame (F, d), None where nothing is followed."""
        if self.torsions:
            return dihedrals(frames, np.array(self.torsions))
        if self.volume_range is not None:
            return np.abs(np.linalg.det(frames.cell))[:, None]
        return None

    def coverage(self, parts: list[Dataset]) -> float | None:
        """Return the coverage by the frames stored at the stride, None where nothing is followed.

        Frames that stopped a walker do not count: where walkers stop often there are more frames.
        """
        values = [self.values(regular(part)) for part in parts]
        known = [v for v in values if v is not None]
        if not known:
            return None
        return coverage(np.concatenate(known), _LEVELS, bounds=self.volume_range)


def observable_of(system: SystemConfig, start: Dataset) -> Observable:
    """Return what a configuration follows.

    Raises
    ------
    ConfigError
        If a torsion names an atom that is not there.
    """
    torsions = system.torsions
    if not torsions and system.structure == SHIPPED:
        torsions = ALANINE_PHI_PSI
    wrong = [t for t in torsions if min(t) < 0 or max(t) >= start.frame_atoms[0]]
    if wrong:
        raise ConfigError(
            f"torsion {wrong[0]} names an atom that is not there: the structure has "
            f"{start.frame_atoms[0]} atoms, counted from 0"
        )
    return Observable(torsions, system.volume_range_angstrom3)


def engine_of(config: CampaignConfig, start: Dataset) -> Engine:
    """Return which engine moves the walkers: ase for crystals and at constant pressure.

    Raises
    ------
    ConfigError
        If a pressure is asked for without a cell.
    """
    given, crystal = config.sampling, bool(start.pbc.all())
    if given.pressure_gpa is not None and not crystal:
        raise ConfigError(
            f"sampling.pressure_gpa is {given.pressure_gpa:g} but the structure is not periodic in "
            "all directions; set system.periodic and give a structure with a cell"
        )
    if given.engine == "openmm" and crystal and not is_reduced(start.cell[0]):
        raise ConfigError(
            f"OpenMM does not take the cell {start.cell[0].round(3).tolist()}; rotate it to a "
            "triangular one with short vectors, or leave sampling.engine out"
        )
    if given.engine != "auto":
        return given.engine
    pdb = Path(config.system.structure).suffix.lower() == ".pdb"
    return "ase" if crystal and (given.pressure_gpa is not None or not pdb) else "openmm"


def load_structure(system: SystemConfig) -> tuple[Topology, Dataset]:
    """Return topology and positions of a shipped structure or a file.

    Of a file that is not PDB the topology knows the elements alone; all its frames are start
    structures.

    Raises
    ------
    ConfigError
        If there is no such structure or file, or it cannot be read.
    """
    if system.structure == SHIPPED:
        return alanine_dipeptide()
    path = Path(system.structure)
    if not path.is_file():
        raise ConfigError(
            f"structure {system.structure!r} is neither a file nor {SHIPPED!r}; give a PDB, xyz, "
            "extxyz or cif file"
        )
    if path.suffix.lower() == ".pdb":
        return _load_pdb(path, periodic=system.periodic)
    start = _load_frames(path, periodic=system.periodic)
    return bare_topology(start), start


def bare_topology(start: Dataset) -> Topology:
    """Return a topology of the atoms of the first frame, in one residue.

    Atoms closer than 1.2 times the sum of their covalent radii are bonded.
    """
    from openmm import Vec3, app, unit

    topology = app.Topology()
    residue = topology.addResidue("MOL", topology.addChain())
    for number, z in enumerate(start.numbers[0][start.mask[0]]):
        element = app.Element.getByAtomicNumber(int(z))
        topology.addAtom(f"{element.symbol}{number + 1}", element, residue)
    atoms = list(topology.atoms())
    for first, second in _bonds(start):
        topology.addBond(atoms[first], atoms[second])
    if start.pbc[0].all() and is_reduced(start.cell[0]):
        vectors = [Vec3(*row) for row in start.cell[0] * ANGSTROM_IN_NM]
        topology.setPeriodicBoxVectors(vectors * unit.nanometer)
    return topology


def _bonds(start: Dataset) -> list[tuple[int, int]]:
    from ase import Atoms
    from ase.data import covalent_radii
    from ase.neighborlist import neighbor_list

    real = start.mask[0]
    numbers = start.numbers[0][real]
    atoms = Atoms(numbers, start.positions[0][real], cell=start.cell[0], pbc=start.pbc[0].tolist())
    first, second = neighbor_list("ij", atoms, BOND_FACTOR * covalent_radii[numbers])
    return sorted({(int(i), int(j)) for i, j in zip(first, second, strict=True) if i < j})


def is_reduced(cell: FloatArray) -> bool:
    """Return whether a cell is as OpenMM wants it: triangular, and as short as can be."""
    upper = cell[np.triu_indices(3, 1)]
    (a, _, _), (b1, b2, _), (c1, c2, c3) = np.abs(cell)
    short = 2 * b1 <= a and 2 * c1 <= a and 2 * c2 <= b2
    return bool((upper == 0).all() and (np.diag(cell) > 0).all() and short and c3 > 0)


def _load_frames(path: Path, *, periodic: bool) -> Dataset:
    try:
        frames = read(path) if path.suffix in (".xyz", ".extxyz", ".npz") else _from_ase(path)
    except Exception as error:
        raise ConfigError(f"the structure {path} cannot be read: {error}") from error
    if len(frames) == 0 or (frames.numbers != frames.numbers[0]).any():
        raise ConfigError(
            f"the frames of {path} are not of one structure; expected at least one frame, all "
            "with the same atoms in the same order"
        )
    if not periodic:
        return Dataset(frames.numbers, frames.positions)
    if not frames.pbc.any():
        raise ConfigError(f"{path} has no cell but system.periodic is true")
    return Dataset(frames.numbers, frames.positions, cell=frames.cell, pbc=frames.pbc)


def _from_ase(path: Path) -> Dataset:
    from ase.io import read as read_ase

    images: list[Any] = list(read_ase(path, index=":"))
    numbers = images[0].numbers
    same = [a for a in images if len(a) == len(numbers) and (a.numbers == numbers).all()]
    if len(same) < len(images):
        raise ValueError("its frames are not of the same atoms")
    return Dataset(
        numbers,
        np.array([a.positions for a in images]),
        cell=np.array([a.cell.array for a in images]),
        pbc=np.array([a.pbc for a in images]),
    )


def _load_pdb(path: Path, *, periodic: bool) -> tuple[Topology, Dataset]:
    from openmm import app, unit

    try:
        pdb = app.PDBFile(str(path))
    except Exception as error:
        raise ConfigError(f"{path} cannot be read as PDB: {error}") from error
    topology = pdb.topology
    cell = np.zeros((3, 3))
    if not periodic:
        topology.setPeriodicBoxVectors(None)
    elif topology.getPeriodicBoxVectors() is None:
        raise ConfigError(f"{path} has no box (CRYST1) but system.periodic is true")
    else:
        cell = np.array(topology.getPeriodicBoxVectors().value_in_unit(unit.nanometer))
    positions = np.array(pdb.getPositions(asNumpy=True).value_in_unit(unit.nanometer))
    numbers = np.array([atom.element.atomic_number for atom in topology.atoms()])
    return topology, Dataset(numbers, positions[None] / ANGSTROM_IN_NM, cell=cell / ANGSTROM_IN_NM)
