"""Trajectories that MDTraj reads, a part at a time, so that a million frames fit into memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uncv.analysis.trajectory_h5 import H5_SUFFIXES, h5_parts, h5_topology
from uncv.errors import DataError, FileFormatError
from uncv.units import FS_IN_PS

if TYPE_CHECKING:
    import mdtraj

CHUNK = 20_000_000
"""Coordinates of atoms held at once."""
_TIMED = (".xtc", ".trr", ".nc", ".netcdf", *H5_SUFFIXES)
"""Formats that store the time of each frame."""
_WITH_TOPOLOGY = (".pdb", ".pdb.gz", ".gro", ".cif")
SUFFIXES = (".dcd", ".xtc", ".trr", ".nc", ".netcdf", *H5_SUFFIXES, *_WITH_TOPOLOGY)


def is_trajectory(path: str | Path) -> bool:
    """Whether a file is, by its suffix, a trajectory of MDTraj's."""
    return str(path).lower().endswith(SUFFIXES)


def load_topology(path: str | Path) -> mdtraj.Topology:
    """Read a topology: PDB, GRO, PRMTOP, PSF, or an HDF5 trajectory, which is read without pickles.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If it cannot be read.
    """
    import mdtraj

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no topology file {path}; check the path")
    if path.suffix in H5_SUFFIXES:
        return h5_topology(path)
    try:
        return mdtraj.load_topology(str(path))
    except (OSError, ValueError, IndexError, KeyError, TypeError) as error:
        raise FileFormatError(
            f"{path} cannot be read as a topology ({error}); give a PDB file, for example"
        ) from error


def trajectory_topology(
    path: str | Path, topology: mdtraj.Topology | None = None
) -> mdtraj.Topology:
    """Return the topology of a trajectory: the one given, or its own.

    Raises
    ------
    DataError
        If the file stores none and none is given, or that has another number of atoms.
    """
    if topology is not None:
        held = _atoms_in(Path(path))
        if held is not None and held != topology.n_atoms:
            raise _other_atoms(Path(path), held, topology.n_atoms)
        return topology
    if Path(path).suffix in H5_SUFFIXES or str(path).endswith(_WITH_TOPOLOGY):
        return load_topology(path)
    raise DataError(f"{path} stores positions only; give a topology, such as a PDB file")


def trajectory_parts(
    path: str | Path, topology: mdtraj.Topology | None = None
) -> Iterator[mdtraj.Trajectory]:
    """Yield the frames of a trajectory, some at a time.

    Parameters
    ----------
    path : str or Path
        The file; its suffix tells what it is.
    topology : mdtraj.Topology, optional
        The molecule, for files that do not store it.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If it is empty or damaged.
    DataError
        If the topology has another number of atoms, or a position is NaN or infinite.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; check the path")
    if path.stat().st_size == 0:
        raise FileFormatError(f"{path} is empty; expected at least one frame")
    molecule = trajectory_topology(path, topology)
    done = 0
    for part in _opened(path, molecule):
        if part.n_atoms != molecule.n_atoms:
            raise _other_atoms(path, part.n_atoms, molecule.n_atoms)
        bad = ~np.isfinite(part.xyz).all(axis=(1, 2))
        if bad.any():
            raise DataError(
                f"positions in {path} are NaN or infinite in frame {done + int(np.argmax(bad))} "
                f"and {int(bad.sum()) - 1} others; remove these frames"
            )
        done += len(part)
        yield part
    if done == 0:
        raise FileFormatError(f"{path} holds no frame; expected at least one")


def frame_interval(path: str | Path, part: mdtraj.Trajectory) -> float | None:
    """Return the time between frames in fs, where the file stores it; None otherwise."""
    if not str(path).lower().endswith(_TIMED) or part.time is None or len(part) < 2:
        return None
    step = float(np.median(np.diff(part.time))) / FS_IN_PS
    return step if step > 0.0 else None


def _opened(path: Path, topology: mdtraj.Topology) -> Iterator[mdtraj.Trajectory]:
    import mdtraj

    frames = max(1, CHUNK // (3 * max(1, topology.n_atoms)))
    if path.suffix in H5_SUFFIXES:
        yield from h5_parts(path, topology, frames)
        return
    keywords: dict[str, Any] = {}
    if not str(path).endswith(_WITH_TOPOLOGY):
        keywords["top"] = topology
    try:
        yield from mdtraj.iterload(str(path), chunk=frames, **keywords)
    except ValueError as error:
        held = _atoms_in(path)
        if held is not None and held != topology.n_atoms:
            raise _other_atoms(path, held, topology.n_atoms) from error
        raise _damaged(path, error) from error
    except (OSError, RuntimeError, IndexError, KeyError, TypeError, EOFError) as error:
        raise _damaged(path, error) from error


def _atoms_in(path: Path) -> int | None:
    """Return how many atoms a file of positions holds, None if it does not tell."""
    import mdtraj

    if not str(path).lower().endswith((".dcd", ".xtc", ".trr", ".nc", ".netcdf")):
        return None
    try:
        with mdtraj.open(str(path)) as file:
            positions = file.read(n_frames=1)
    except (OSError, ValueError, RuntimeError, TypeError, IndexError, KeyError, EOFError):
        return None
    positions = positions[0] if isinstance(positions, tuple) else positions
    return int(np.shape(positions)[1]) if np.ndim(positions) == 3 else None


def _other_atoms(path: Path, held: int, wanted: int) -> DataError:
    return DataError(
        f"{path} holds {held} atoms and the topology {wanted}; give the topology of this trajectory"
    )


def _damaged(path: Path, error: Exception) -> FileFormatError:
    return FileFormatError(f"{path} cannot be read ({error}); is it damaged?")
