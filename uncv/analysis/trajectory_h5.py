"""HDF5 trajectories of MDTraj's, by h5py: PyTables, which MDTraj takes, may unpickle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uncv.errors import DependencyError, FileFormatError

if TYPE_CHECKING:
    import h5py
    import mdtraj

H5_SUFFIXES = (".h5", ".hdf5")
_DAMAGED = (OSError, KeyError, ValueError, TypeError, IndexError, AttributeError)


def h5_topology(path: Path) -> mdtraj.Topology:
    """Return the topology that a file stores as JSON.

    Raises
    ------
    FileFormatError
        If it stores none.
    DependencyError
        If h5py is not installed.
    """
    with _opened(path) as file:
        try:
            text = file["topology"][0]
            return _topology(json.loads(text))
        except _DAMAGED as error:
            raise FileFormatError(
                f"{path} stores no topology that could be read ({error}); give one, such as a PDB "
                "file"
            ) from error


def h5_parts(path: Path, topology: mdtraj.Topology, frames: int) -> Iterator[mdtraj.Trajectory]:
    """Yield the frames of a file, so many at a time; positions in nm.

    Raises
    ------
    FileFormatError
        If it holds no positions.
    """
    import mdtraj

    with _opened(path) as file:
        if "coordinates" not in file or file["coordinates"].ndim != 3:
            raise FileFormatError(f"{path} holds no coordinates (frames, atoms, 3) of MDTraj's")
        positions = file["coordinates"]
        for begin in range(0, len(positions), frames):
            here = slice(begin, begin + frames)
            matches = positions.shape[1] == topology.n_atoms
            yield mdtraj.Trajectory(
                np.asarray(positions[here], dtype=np.float32),
                topology if matches else None,
                time=_rows(file, "time", here),
                unitcell_lengths=_rows(file, "cell_lengths", here),
                unitcell_angles=_rows(file, "cell_angles", here),
            )


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    try:
        import h5py
    except ImportError as error:
        raise DependencyError(
            "HDF5 is read by h5py, which is not installed; run: pip install 'uncv[formats]'"
        ) from error
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise FileFormatError(f"{path} cannot be read ({error}); is it damaged?") from error
    with file:
        yield file


def _rows(file: h5py.File, name: str, here: slice) -> np.ndarray | None:
    return np.asarray(file[name][here], dtype=np.float32) if name in file else None


def _topology(stored: dict[str, Any]) -> mdtraj.Topology:
    import mdtraj
    from mdtraj.core.element import Element, virtual

    topology = mdtraj.Topology()
    atoms = {}
    for chain in sorted(stored["chains"], key=lambda one: one["index"]):
        new_chain = topology.add_chain(chain.get("chain_id"))
        for residue in sorted(chain["residues"], key=lambda one: one["index"]):
            new = topology.add_residue(residue["name"], new_chain, resSeq=residue.get("resSeq"))
            for atom in sorted(residue["atoms"], key=lambda one: one["index"]):
                symbol = atom.get("element") or ""
                element = Element.getBySymbol(symbol) if symbol and symbol != "VS" else virtual
                atoms[atom["index"]] = topology.add_atom(atom["name"], element, new)
    for one, two, *_ in stored.get("bonds", []):
        topology.add_bond(atoms[one], atoms[two])
    return topology
