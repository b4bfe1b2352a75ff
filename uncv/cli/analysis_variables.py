"""Which variables `uncv analyze` looks at: those asked for, or those that the input suggests."""

# The imports stand inside the functions, so that `uncv --help` starts no engine.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from uncv.errors import DataError
from uncv.units import EV_IN_KJ_PER_MOL

if TYPE_CHECKING:
    import mdtraj

    from uncv.analysis import ResidueTorsion, Variable
    from uncv.data import Dataset

_BACKBONE = ((4, 6), (6, 7), (8, 6), (14, 6), (16, 7))
"""Atoms of φ and ψ of alanine dipeptide, and their atomic numbers."""


class EnergyUnit(StrEnum):
    """Units of a bias in COLVAR, by what PLUMED's UNITS line says."""

    kj_per_mol = "kj/mol"
    kcal_per_mol = "kcal/mol"
    ev = "ev"

    @property
    def in_ev(self) -> float:
        """One of it in eV."""
        return {"kj/mol": 1 / EV_IN_KJ_PER_MOL, "kcal/mol": 4.184 / EV_IN_KJ_PER_MOL, "ev": 1.0}[
            self.value
        ]


@dataclass(frozen=True)
class Reading:
    """How the inputs are read.

    Parameters
    ----------
    variables : tuple
        What was asked for by ``--variable`` and ``--torsion``; empty for what the input suggests.
    residues : tuple of str
        Whose φ and ψ are looked at.
    columns : tuple of str or None
        Torsions in COLVAR.
    topology : pathlib.Path or None
        The molecule.
    bias, unit, reweight, own_bias
        Of the bias.
    discard : float
        Share of each walker.
    interval_ps, timestep_fs : float or None
        What the user says of time.
    """

    variables: tuple[Variable | ResidueTorsion, ...] = ()
    residues: tuple[str, ...] = ()
    columns: tuple[str, ...] | None = None
    topology: Path | None = None
    bias: tuple[str, ...] = ()
    unit: EnergyUnit = EnergyUnit.kj_per_mol
    reweight: bool = False
    own_bias: bool | None = None
    discard: float = 0.0
    interval_ps: float | None = None
    timestep_fs: float | None = None


class Group(NamedTuple):
    """Variables that are looked at together."""

    name: str
    columns: tuple[int, ...]


def wanted(
    reading: Reading, topology: mdtraj.Topology | None
) -> tuple[tuple[Variable, ...], tuple[Group, ...]]:
    """Return the variables to look at, and which of them belong together."""
    from uncv.analysis import ALANINE_PHI_PSI, phi_psi, resolved

    if reading.variables:
        if reading.residues:
            raise DataError("give --residue, or --variable and --torsion, not both")
        chosen = resolved(reading.variables, topology)
        return chosen, (Group("", tuple(range(len(chosen)))),)
    if topology is None:
        if reading.residues:
            raise DataError("residues are found by a topology; give --topology")
        return torsions(ALANINE_PHI_PSI, ("φ", "ψ")), (Group("", (0, 1)),)
    found = phi_psi(topology, reading.residues)
    groups = tuple(Group(one.residue, (2 * n, 2 * n + 1)) for n, one in enumerate(found))
    return tuple(torsion for one in found for torsion in one.torsions), groups


def torsions(atoms: Any, names: Sequence[str] = ()) -> tuple[Variable, ...]:
    """Return torsions of these atoms (K, 4), with names as far as they are given."""
    from uncv.analysis import Torsion

    labels = [*names, *[""] * (len(atoms) - len(names))]
    return tuple(Torsion(tuple(row), name) for row, name in zip(atoms, labels, strict=True))


def check_suggested(frames: Dataset, reading: Reading, path: Path) -> None:
    """Refuse φ and ψ of alanine dipeptide where other atoms are in their places."""
    if reading.variables or reading.residues or reading.topology or len(frames) == 0:
        return
    wanted = dict(_BACKBONE)
    atoms = sorted(wanted)
    if (
        frames.frame_atoms.min() <= max(atoms)
        or (frames.numbers[:, atoms] != [wanted[n] for n in atoms]).any()
    ):
        raise DataError(
            f"{path} is no alanine dipeptide in the order ACE-ALA-NME, and no variable was named; "
            "give --topology, --torsion or --variable"
        )


def check_topology(frames: Dataset, topology: mdtraj.Topology | None, path: Path) -> None:
    """Refuse a topology with another number of atoms.

    Raises
    ------
    DataError
        If a frame has more or fewer atoms.
    """
    atoms = set(frames.frame_atoms.tolist())
    if topology is not None and atoms and atoms != {topology.n_atoms}:
        told = " to ".join(str(n) for n in sorted({min(atoms), max(atoms)}))
        raise DataError(
            f"{path} holds {told} atoms and the topology {topology.n_atoms}; give the topology of "
            "these frames"
        )
