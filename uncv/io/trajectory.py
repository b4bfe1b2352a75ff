"""Trajectories of molecular dynamics by MDTraj (nm there, Å here)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from uncv.data import Dataset
from uncv.errors import DataError, FileFormatError
from uncv.units import ANGSTROM_IN_NM

if TYPE_CHECKING:
    import mdtraj

TRAJECTORY_SUFFIXES = (".xtc", ".dcd", ".trr", ".pdb")
_PYTABLES = (".h5", ".hdf5", ".lh5")


def read_trajectory(path: Path, topology: Any = None) -> Dataset:
    """Read a trajectory; see :func:`uncv.io.read` for the arguments.

    Raises
    ------
    DataError
        If the file needs a topology, or the topology has another number of atoms.
    FileFormatError
        If MDTraj cannot read the file.
    """
    import mdtraj

    if topology is None and path.suffix != ".pdb":
        raise DataError(
            f"a {path.suffix} file stores positions only; give topology=, a PDB file or a topology"
        )
    top = None if topology is None else _mdtraj_topology(topology)
    keywords = {} if top is None else {"top": top}
    try:
        trajectory = mdtraj.load(str(path), **keywords)
    except ValueError as error:
        if "atoms" in str(error):
            raise DataError(f"the topology does not fit the trajectory: {error}") from error
        raise FileFormatError(f"{path} cannot be read ({error}); is it damaged?") from error
    except (OSError, RuntimeError, IndexError, KeyError, TypeError, EOFError) as error:
        raise FileFormatError(f"{path} cannot be read ({error}); is it damaged?") from error
    return _dataset(trajectory)


def _dataset(trajectory: mdtraj.Trajectory) -> Dataset:
    cell = trajectory.unitcell_vectors
    return Dataset(
        numbers=_numbers(trajectory.topology),
        positions=trajectory.xyz.astype(np.float64) / ANGSTROM_IN_NM,
        cell=np.zeros((3, 3)) if cell is None else cell.astype(np.float64) / ANGSTROM_IN_NM,
    )


def _numbers(topology: mdtraj.Topology) -> NDArray[np.int64]:
    unknown = [a for a in topology.atoms if a.element is None or not a.element.atomic_number]
    if unknown:
        raise DataError(
            f"atom {unknown[0]} has no element; name the elements in the topology "
            "and leave out virtual sites"
        )
    return np.array([atom.element.atomic_number for atom in topology.atoms])


def _mdtraj_topology(topology: Any) -> mdtraj.Topology:
    import mdtraj

    if isinstance(topology, mdtraj.Topology):
        return topology
    if isinstance(topology, (str, Path)):
        if not Path(topology).is_file():
            raise FileNotFoundError(f"there is no topology file {topology}; check the path")
        if Path(topology).suffix in _PYTABLES:
            raise FileFormatError(
                f"a topology is not read from {topology}: HDF5 by PyTables may hold pickles, which "
                "can run any code; give a PDB file"
            )
        return mdtraj.load_topology(str(topology))
    return mdtraj.Topology.from_openmm(topology)
