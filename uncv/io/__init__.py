"""Reading and writing datasets; the kind of a file is told by its suffix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from uncv.data import Dataset
from uncv.errors import DataError, FileFormatError
from uncv.io.extxyz_reader import read_extxyz
from uncv.io.extxyz_writer import write_extxyz
from uncv.io.npz import read_npz, write_npz
from uncv.io.trajectory import TRAJECTORY_SUFFIXES, read_trajectory

if TYPE_CHECKING:
    import mdtraj
    import openmm

__all__ = ["read", "write"]

_XYZ = (".xyz", ".extxyz")


def read(
    path: str | Path,
    index: int | slice | ArrayLike | None = None,
    topology: str | Path | mdtraj.Topology | openmm.app.Topology | None = None,
) -> Dataset:
    """Read frames with whatever labels the file carries.

    Parameters
    ----------
    path : str or Path
        ``.xyz`` or ``.extxyz`` (positions Å, energies eV, forces eV/Å, stress eV/Å^3; the keys of
        ASE and of MACE), ``.npz`` written by :func:`write`, or ``.xtc``, ``.dcd``, ``.trr``,
        ``.pdb`` (read by MDTraj, nm to Å, without labels).
    index : int, slice or array_like, optional
        The frames to keep; all by default.
    topology : str, Path, mdtraj.Topology or openmm.app.Topology, optional
        The molecule of a trajectory that stores none.

    Returns
    -------
    Dataset
        The frames; other per-frame values of the file are in ``info``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If the file is empty, truncated or of an unknown kind.
    DataError
        If a value in it is of the wrong shape, NaN or infinite where it must not be.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; check the path")
    if path.stat().st_size == 0:
        raise FileFormatError(f"{path} is empty; expected at least one frame")
    try:
        data = _read(path, topology)
    except FileFormatError:
        raise
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return data if index is None else data[index]


def write(path: str | Path, data: Dataset) -> None:
    """Write a dataset; :func:`read` gives the same numbers back.

    Parameters
    ----------
    path : str or Path
        ``.xyz``, ``.extxyz`` (text, 17 significant digits) or ``.npz`` (compressed, no pickles).
    data : Dataset
        The frames; labels that are NaN are left out of a text file.

    Raises
    ------
    FileFormatError
        If the suffix is not one of these.
    DataError
        If a column cannot be stored in this kind of file.
    """
    path = Path(path)
    if path.suffix in _XYZ:
        write_extxyz(path, data)
    elif path.suffix == ".npz":
        write_npz(path, data)
    else:
        raise FileFormatError(
            f"cannot write {path.name}: expected a suffix among .xyz, .extxyz, .npz; "
            f"found {path.suffix or 'none'}"
        )


def _read(path: Path, topology: Any) -> Dataset:
    if path.suffix in _XYZ:
        return read_extxyz(path)
    if path.suffix == ".npz":
        return read_npz(path)
    if path.suffix in TRAJECTORY_SUFFIXES:
        return read_trajectory(path, topology)
    known = ", ".join((*_XYZ, ".npz", *TRAJECTORY_SUFFIXES))
    raise FileFormatError(
        f"cannot read {path.name}: expected a suffix among {known}; found {path.suffix or 'none'}"
    )
