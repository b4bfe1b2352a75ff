"""Datasets as NumPy archives: exact, compact, and without pickles."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from uncv.data import Dataset
from uncv.errors import DataError, FileFormatError

_FORMAT = 1
_REQUIRED = ("numbers", "positions", "cell", "pbc")
_LABELS = ("energy", "forces", "stress")
_INFO = "info/"


def write_npz(path: Path, data: Dataset) -> None:
    """Write every array of a dataset.

    Raises
    ------
    DataError
        If a column holds Python objects.
    """
    arrays: dict[str, NDArray] = {name: getattr(data, name) for name in _REQUIRED}
    arrays |= {n: getattr(data, n) for n in _LABELS if getattr(data, n) is not None}
    for key, column in data.info.items():
        if column.dtype.kind not in "biufcUS":
            raise DataError(
                f"column {key!r} holds Python objects; make it numbers or text to store it"
            )
        arrays[_INFO + key] = column
    with path.open("wb") as file:
        # savez takes names as keywords, hence the ignore: none of ours collides with its own.
        np.savez_compressed(file, uncv_dataset=np.array(_FORMAT), **arrays)  # type: ignore[arg-type]


def read_npz(path: Path) -> Dataset:
    """Read a dataset that :func:`write_npz` wrote.

    Raises
    ------
    FileFormatError
        If it is not such a file, is damaged, or comes from a later format.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (BadZipFile, EOFError, OSError, ValueError, AttributeError) as error:
        raise FileFormatError(
            f"{path} is not a readable .npz dataset ({error}); write it again by uncv.write"
        ) from error
    version = arrays.pop("uncv_dataset", None)
    missing = [name for name in _REQUIRED if name not in arrays]
    if version is None or missing:
        raise FileFormatError(
            f"{path} was not written by uncv.write: it holds {sorted(arrays)}, expected numbers "
            "and positions in uncv's units; build a Dataset from its arrays instead"
        )
    if int(version) > _FORMAT:
        raise FileFormatError(
            f"{path} has dataset format {int(version)}; this uncv reads up to {_FORMAT}: update it"
        )
    info = {k.removeprefix(_INFO): v for k, v in arrays.items() if k.startswith(_INFO)}
    given = {k: v for k, v in arrays.items() if k in (*_REQUIRED, *_LABELS)}
    return Dataset(**given, info=info)
