"""Force constants that phonopy has, in memory or in its files."""

from __future__ import annotations

import lzma
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import yaml

from uncv.anharmonicity.harmonic import HarmonicModel
from uncv.data import Dataset
from uncv.errors import DataError, DependencyError, FileFormatError

if TYPE_CHECKING:
    from phonopy import Phonopy

IN_EV_AND_ANGSTROM = (None, "vasp", "aims", "castep", "crystal", "lammps", "pwmat")
"""What phonopy calls a calculator whose force constants are in eV/Å^2."""


PYTHON = "tag:yaml.org,2002:python/"
"""Begins the tags by which YAML asks for Python objects."""


def import_phonopy() -> ModuleType:
    """Return phonopy.

    Raises
    ------
    DependencyError
        If it is absent.
    """
    try:
        import phonopy
    except ImportError as error:
        raise DependencyError(
            f"force constants need phonopy, which does not load ({error}); run: "
            'pip install "uncv[crystals]"'
        ) from error
    return phonopy


def harmonic_of_phonopy(crystal: Phonopy) -> HarmonicModel:
    """Return the harmonic model of phonopy's supercell, its atoms in phonopy's order.

    Raises
    ------
    DataError
        If it has no force constants, or they are in the units of another program.
    """
    if crystal.calculator not in IN_EV_AND_ANGSTROM:
        raise DataError(
            f"the Phonopy object is in the units of {crystal.calculator}; expected eV and Å: "
            "convert cell and force constants, and make it without calculator="
        )
    constants = crystal.force_constants
    if constants is None:
        raise DataError(
            "the Phonopy object has no force constants; call its produce_force_constants() first"
        )
    cell = crystal.supercell
    if constants.shape[0] != constants.shape[1]:
        from phonopy.harmonic.force_constants import compact_fc_to_full_fc

        constants = compact_fc_to_full_fc(crystal.primitive, constants)
    return HarmonicModel(cell.positions, cell.cell, constants)


def read_harmonic(path: str | Path, reference: Dataset | None = None) -> HarmonicModel:
    """Read a harmonic model from a file of phonopy's.

    Parameters
    ----------
    path : path-like
        ``phonopy_params.yaml`` or the like, with forces or force constants; or ``FORCE_CONSTANTS``,
        which holds no structure.
    reference : Dataset, optional
        One frame. With a YAML file: the same crystal with the atoms in the order that is wanted.
        With ``FORCE_CONSTANTS``, where it is needed: the supercell, in phonopy's order.

    Raises
    ------
    FileNotFoundError
    FileFormatError
        If phonopy cannot read the file, finds no force constants in it, or would execute code.
    DataError
        If a reference is needed or does not fit.
    DependencyError
        If phonopy is not installed.

    Notes
    -----
    Where a YAML file holds no forces, phonopy looks for ``FORCE_CONSTANTS`` and ``FORCE_SETS`` in
    the working directory.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    phonopy = import_phonopy()
    if file.suffix not in (".yaml", ".yml", ".xz"):
        return _with_structure(file, reference)
    refuse_objects(file)
    try:
        crystal = phonopy.load(
            file,
            is_nac=False,
            force_sets_filename=None,
            is_compact_fc=False,
            log_level=0,
        )
    except (RuntimeError, ValueError, KeyError, TypeError, OSError) as error:
        raise FileFormatError(f"phonopy cannot read {file}: {error}") from error
    if crystal.force_constants is None:
        raise FileFormatError(
            f"{file} holds neither force constants nor the forces for them; write it by "
            "`phonopy-load --full-fc --include-fc`, or Phonopy.save with force constants"
        )
    model = harmonic_of_phonopy(crystal)
    return model if reference is None else model.in_order_of(reference)


def refuse_objects(file: Path) -> None:
    """Refuse a YAML file that asks for Python objects: phonopy's reader would make them.

    Raises
    ------
    FileFormatError
        If it does, or cannot be read.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    opened = lzma.open if file.suffix == ".xz" else open
    try:
        with opened(file, "rt", encoding="utf-8") as text:
            tags = {getattr(event, "tag", None) or "" for event in yaml.parse(text, loader)}
    except (yaml.YAMLError, OSError, EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{file} is no YAML file that can be read: {error}") from error
    objects = sorted(tag for tag in tags if tag.startswith(PYTHON))
    if objects:
        raise FileFormatError(
            f"{file} asks for the Python object {objects[0].removeprefix(PYTHON)}, which could run "
            "any code; expected numbers and text: write it again by phonopy"
        )


def _with_structure(file: Path, reference: Dataset | None) -> HarmonicModel:
    """Return the model of a file that holds force constants alone."""
    from phonopy.file_IO import parse_FORCE_CONSTANTS

    if reference is None or len(reference) != 1:
        raise DataError(
            f"{file} holds force constants without a structure; give the supercell as reference, "
            "one frame in phonopy's order"
        )
    try:
        constants = parse_FORCE_CONSTANTS(file)
    except (ValueError, IndexError, RuntimeError) as error:
        raise FileFormatError(
            f"{file} is no FORCE_CONSTANTS file of phonopy ({error}); name that or a YAML file"
        ) from error
    return HarmonicModel(reference.positions[0], reference.cell[0], constants)
