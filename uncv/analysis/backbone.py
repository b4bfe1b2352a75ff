"""Torsions of residues by name, φ and ψ of ALA2 for example, found in a topology by MDTraj."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

from uncv.analysis.variables import Torsion, Variable
from uncv.errors import DataError

if TYPE_CHECKING:
    import mdtraj

KINDS = ("phi", "psi", "omega", "chi1", "chi2", "chi3", "chi4", "chi5")
_SYMBOLS = {"phi": "φ", "psi": "ψ", "omega": "ω"}
_OWNER = {"phi": 1, "psi": 0, "omega": 2}
"""Which of the four atoms lies in the residue that the torsion is named for; the first of a χ."""


@dataclass(frozen=True)
class ResidueTorsion:
    """A torsion of a residue, by name, until a topology says which atoms it has.

    Parameters
    ----------
    kind : str
        'phi', 'psi', 'omega' or 'chi1' to 'chi5'.
    residue : str
        As MDTraj writes it, 'ALA2'; 'A:ALA2' with its chain where several have one.
    """

    kind: str
    residue: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DataError(f"'{self.kind}' is no torsion; expected one of {', '.join(KINDS)}")


class PhiPsi(NamedTuple):
    """φ and ψ of a residue.

    Attributes
    ----------
    residue : str
        Its name.
    torsions : tuple of Torsion
        The two.
    """

    residue: str
    torsions: tuple[Torsion, Torsion]


def phi_psi(topology: mdtraj.Topology, residues: Sequence[str] = ()) -> tuple[PhiPsi, ...]:
    """Return φ and ψ of residues.

    Parameters
    ----------
    topology : mdtraj.Topology
        The molecule.
    residues : sequence of str
        Names such as 'ALA2', or 'A:ALA2' with the chain; all that have both by default.

    Raises
    ------
    DataError
        If there is no such residue, several have the name, or it lacks one of the two.
    """
    phi, psi = _atoms(topology, "phi"), _atoms(topology, "psi")
    if residues:
        chosen = [_find(topology, name) for name in residues]
    else:
        chosen = sorted(set(phi) & set(psi))
        if not chosen:
            raise DataError(
                "no residue of the topology has φ and ψ: it holds no peptide of three residues "
                "or more; name torsions by their atoms"
            )
    return tuple(
        PhiPsi(
            _label(topology, index),
            (_torsion(topology, index, "phi", phi), _torsion(topology, index, "psi", psi)),
        )
        for index in chosen
    )


def resolved(
    variables: Sequence[Variable | ResidueTorsion], topology: mdtraj.Topology | None
) -> tuple[Variable, ...]:
    """Return the variables with torsions of residues as torsions of atoms.

    Raises
    ------
    DataError
        If there is no topology to find them in, no such residue, or it lacks the torsion.
    """
    found: list[Variable] = []
    for variable in variables:
        if not isinstance(variable, ResidueTorsion):
            found.append(variable)
            continue
        if topology is None:
            raise DataError(
                f"{variable.kind} of {variable.residue} is found by a topology; give one, or name "
                "the torsion by its atoms"
            )
        index = _find(topology, variable.residue)
        table = _atoms(topology, variable.kind)
        found.append(_torsion(topology, index, variable.kind, table))
    return tuple(found)


def _atoms(topology: mdtraj.Topology, kind: str) -> dict[int, tuple[int, ...]]:
    """Return the atoms of a torsion by the index of its residue."""
    from mdtraj.geometry import dihedral

    rows = getattr(dihedral, f"indices_{kind}")(topology)
    owner = _OWNER.get(kind, 0)
    return {topology.atom(int(row[owner])).residue.index: tuple(map(int, row)) for row in rows}


def _torsion(
    topology: mdtraj.Topology, index: int, kind: str, table: dict[int, tuple[int, ...]]
) -> Torsion:
    label = _label(topology, index)
    if index not in table:
        raise DataError(f"residue {label} has no {kind}: an end of the chain, or atoms are absent")
    return Torsion(table[index], f"{_SYMBOLS.get(kind, kind.replace('chi', 'χ'))} {label}")


def _find(topology: mdtraj.Topology, name: str) -> int:
    """Return the index of a residue."""
    chain, _, rest = name.rpartition(":")
    wanted = rest.strip().upper()
    matches = [
        residue.index
        for residue in topology.residues
        if str(residue).upper() == wanted and (not chain or chain in _chain_names(residue.chain))
    ]
    if len(matches) == 1:
        return matches[0]
    if matches:
        options = ", ".join(f"{_chain_names(topology.residue(i).chain)[0]}:{rest}" for i in matches)
        raise DataError(f"{len(matches)} residues are named {name}; say which one: {options}")
    known = [str(residue) for residue in topology.residues]
    near = get_close_matches(wanted, known, n=3)
    hint = f"did you mean {', '.join(near)}" if near else f"there are {', '.join(known[:8])}"
    more = ", …" if not near and len(known) > 8 else ""
    raise DataError(f"the topology has no residue {name}; {hint}{more}")


def _chain_names(chain: mdtraj.core.topology.Chain) -> tuple[str, ...]:
    number = str(chain.index)
    return (chain.chain_id, number) if chain.chain_id else (number,)


def _label(topology: mdtraj.Topology, index: int) -> str:
    """Return the name of a residue, with its chain where another has the same."""
    residue = topology.residue(index)
    same = [other for other in topology.residues if str(other) == str(residue)]
    return str(residue) if len(same) == 1 else f"{_chain_names(residue.chain)[0]}:{residue}"
