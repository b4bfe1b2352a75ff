"""Start structures that uncv ships, made with its own oracles."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import TYPE_CHECKING

import numpy as np

from uncv.data import Dataset
from uncv.structures.quartz import alpha_quartz
from uncv.units import ANGSTROM_IN_NM

if TYPE_CHECKING:
    from openmm.app import Topology

__all__ = ["alanine_dipeptide", "alpha_quartz"]


def alanine_dipeptide() -> tuple[Topology, Dataset]:
    """Return N-acetyl-L-alanine N'-methylamide (22 atoms, ACE-ALA-NME) in vacuum.

    Built from ideal bond lengths and angles and minimised with AMBER ff14SB in vacuum: the C7eq
    minimum. Of its atoms, φ is (4, 6, 8, 14) and ψ is (6, 8, 14, 16).

    Returns
    -------
    topology : openmm.app.Topology
        The molecule, without a box.
    start : Dataset
        One frame without labels, positions (1, 22, 3) in Å.
    """
    from openmm.app import PDBFile
    from openmm.unit import nanometer

    with as_file(files(__name__) / "alanine_dipeptide.pdb") as path:
        pdb = PDBFile(str(path))
    positions = np.asarray(pdb.getPositions(asNumpy=True).value_in_unit(nanometer)) / ANGSTROM_IN_NM
    numbers = np.array([atom.element.atomic_number for atom in pdb.topology.atoms()])
    return pdb.topology, Dataset(numbers=numbers, positions=positions[None])
