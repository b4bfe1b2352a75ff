"""Structures with their labels: one padded batch of frames, in eV, Å."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from uncv.errors import DataError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
_LABELS = ("energy", "forces", "stress")


class Batch(NamedTuple):
    """Frames as tensors, the input of every potential.

    Attributes
    ----------
    numbers : torch.Tensor
        Atomic numbers (F, A), int64, 0 on padding.
    positions : torch.Tensor
        Positions (F, A, 3) in Å.
    cell : torch.Tensor
        Cell vectors as rows (F, 3, 3) in Å; zero where not periodic.
    pbc : torch.Tensor
        Periodic directions (F, 3), bool.
    """

    numbers: torch.Tensor
    positions: torch.Tensor
    cell: torch.Tensor
    pbc: torch.Tensor


@dataclass(frozen=True, eq=False)
class Dataset:
    """Frames of one or several molecules or crystals, padded to the largest.

    Parameters
    ----------
    numbers : array_like
        Atomic numbers (F, A) or, for one composition, (A,); 0 marks padding, which comes last.
    positions : array_like
        Positions (F, A, 3) in Å.
    cell : array_like, optional
        Cell vectors as rows, (F, 3, 3) or (3, 3), in Å; zero for frames without a cell.
    pbc : array_like, optional
        Periodic directions (F, 3) or (3,); by default the directions whose cell vector is not zero.
    energy : array_like, optional
        Energies (F,) in eV; NaN where a frame has none.
    forces : array_like, optional
        Forces (F, A, 3) in eV/Å; NaN on all atoms of a frame that has none.
    stress : array_like, optional
        Stress (F, 3, 3) in eV/Å^3, tension positive.
    info : dict of str to array_like, optional
        Anything else known of each frame, first axis F (round, walker, uncertainty, ...).

    Raises
    ------
    DataError
        For shapes that do not fit together, or positions or cells that are NaN or infinite.

    Examples
    --------
    >>> water = Dataset(numbers=[8, 1, 1], positions=[[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]])
    >>> len(water), water.frame_atoms.tolist()
    (1, [3])
    """

    numbers: IntArray
    positions: FloatArray
    cell: FloatArray = None  # type: ignore[assignment]
    pbc: NDArray[np.bool_] = None  # type: ignore[assignment]
    energy: FloatArray | None = None
    forces: FloatArray | None = None
    stress: FloatArray | None = None
    info: dict[str, NDArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        positions = np.array(self.positions, dtype=np.float64)
        if positions.ndim != 3 or positions.shape[2] != 3:
            raise DataError(
                f"positions have shape {positions.shape}; expected (frames, atoms, 3): "
                "put a single frame into a list"
            )
        frames, atoms, _ = positions.shape
        set_ = object.__setattr__
        set_(self, "positions", positions)
        set_(self, "numbers", _numbers(self.numbers, frames, atoms))
        cell = np.zeros((3, 3)) if self.cell is None else self.cell
        set_(self, "cell", _per_frame("cell", cell, frames, (3, 3), np.float64))
        pbc = np.abs(self.cell).sum(axis=2) > 0 if self.pbc is None else self.pbc
        set_(self, "pbc", _per_frame("pbc", pbc, frames, (3,), np.bool_))
        shapes = {"energy": (), "forces": (atoms, 3), "stress": (3, 3)}
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is not None:
                set_(self, name, _labels(name, value, (frames, *shape)))
        set_(self, "info", {k: _info(k, v, frames) for k, v in self.info.items()})
        self._check_geometry()

    def _check_geometry(self) -> None:
        for name in ("positions", "cell"):
            bad = ~np.isfinite(getattr(self, name)).all(axis=(1, 2))
            if bad.any():
                raise DataError(
                    f"{name} of frames {_some(np.flatnonzero(bad))} are NaN or infinite; "
                    "remove these frames"
                )
        flat = np.abs(np.linalg.det(np.where(self.pbc[:, :, None], self.cell, np.eye(3)))) < 1e-6
        if flat.any():
            raise DataError(
                f"cells of frames {_some(np.flatnonzero(flat))} have no volume but are periodic; "
                "give a full cell or pbc=[False] * 3"
            )

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: slice | ArrayLike) -> Dataset:
        """Return the frames of a slice, index array, mask or one integer (a Dataset of one)."""
        if isinstance(index, (int, np.integer)):
            index = [range(len(self))[int(index)]]
        chosen = index if isinstance(index, slice) else np.asarray(index)
        if not isinstance(chosen, slice) and chosen.size == 0:
            chosen = np.zeros(0, dtype=np.int64)
        taken: dict[str, Any] = {
            f.name: None if getattr(self, f.name) is None else getattr(self, f.name)[chosen]
            for f in fields(self)
            if f.name != "info"
        }
        return Dataset(**taken, info={k: v[chosen] for k, v in self.info.items()})

    @property
    def mask(self) -> NDArray[np.bool_]:
        """True on atoms, False on padding, (F, A)."""
        return self.numbers > 0

    @property
    def frame_atoms(self) -> IntArray:
        """Number of atoms of each frame, (F,)."""
        return self.mask.sum(axis=1)

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that occur, ascending."""
        return tuple(int(z) for z in np.unique(self.numbers) if z > 0)

    def has(self, label: str) -> bool:
        """Whether every frame carries this label ('energy', 'forces' or 'stress')."""
        value = getattr(self, label)
        return value is not None and bool(np.isfinite(value).all())

    def require(self, *labels: str) -> Dataset:
        """Return self if every frame carries these labels.

        Raises
        ------
        DataError
            If a label is missing, naming the frames that lack it.
        """
        for label in labels:
            value = getattr(self, label)
            if value is None:
                raise DataError(
                    f"the dataset of {len(self)} frames has no {label}; "
                    "label it with an oracle, or read a file that carries it"
                )
            bad = ~np.isfinite(value).all(axis=tuple(range(1, value.ndim)))
            if bad.any():
                raise DataError(
                    f"{label} of frames {_some(np.flatnonzero(bad))} is missing, NaN or infinite; "
                    "label these frames or remove them"
                )
        return self

    def with_info(self, **columns: ArrayLike) -> Dataset:
        """Return the dataset with further per-frame columns (first axis F)."""
        return replace(self, info={**self.info, **{k: np.asarray(v) for k, v in columns.items()}})

    def without_labels(self) -> Dataset:
        """Return the structures alone."""
        return replace(self, energy=None, forces=None, stress=None)

    def to_batch(self, dtype: torch.dtype = torch.float64, device: str = "cpu") -> Batch:
        """Return the structures as tensors."""
        return Batch(
            torch.as_tensor(self.numbers, device=device),
            torch.as_tensor(self.positions, dtype=dtype, device=device),
            torch.as_tensor(self.cell, dtype=dtype, device=device),
            torch.as_tensor(self.pbc, device=device),
        )

    def split(self, *sizes: int, seed: int) -> tuple[Dataset, ...]:
        """Shuffle by the seed and cut into parts of these sizes, the rest last.

        Raises
        ------
        DataError
            If the sizes add up to more than there are frames.
        """
        if sum(sizes) > len(self) or min(sizes, default=0) < 0:
            raise DataError(f"cannot take {sizes} frames from {len(self)}; ask for fewer")
        order = np.random.default_rng(seed).permutation(len(self))
        bounds = np.cumsum(sizes)
        return tuple(self[np.sort(part)] for part in np.split(order, bounds))


def concatenate(datasets: Sequence[Dataset]) -> Dataset:
    """Join datasets, padding to the largest frame; labels absent from one become NaN there.

    Per-frame columns are kept where any dataset has them; missing numbers become NaN, missing
    integers −1 and missing text ''.

    Raises
    ------
    DataError
        If there is nothing to join.
    """
    datasets = list(datasets)
    if not datasets:
        raise DataError("there is nothing to concatenate; give at least one dataset")
    atoms = max(d.positions.shape[1] for d in datasets)
    frames = [len(d) for d in datasets]
    joined: dict[str, NDArray | None] = {
        "numbers": np.concatenate([_pad(d.numbers, atoms, 0) for d in datasets]),
        "positions": np.concatenate([_pad(d.positions, atoms, 0.0) for d in datasets]),
        "cell": np.concatenate([d.cell for d in datasets]),
        "pbc": np.concatenate([d.pbc for d in datasets]),
    }
    shapes = {"energy": (), "forces": (atoms, 3), "stress": (3, 3)}
    for name in _LABELS:
        values = [getattr(d, name) for d in datasets]
        if all(v is None for v in values):
            joined[name] = None
            continue
        filled = [
            np.full((n, *shapes[name]), np.nan)
            if v is None
            else (_pad(v, atoms, 0.0) if name == "forces" else v)
            for v, n in zip(values, frames, strict=True)
        ]
        joined[name] = np.concatenate(filled)
    keys = dict.fromkeys(k for d in datasets for k in d.info)
    info = {k: _join_info(k, [d.info.get(k) for d in datasets], frames) for k in keys}
    return Dataset(**joined, info=info)  # type: ignore[arg-type]


def _join_info(key: str, columns: list[NDArray | None], frames: list[int]) -> NDArray:
    known = next(c for c in columns if c is not None)
    fill = {"f": np.nan, "i": -1, "u": 0, "b": False}.get(known.dtype.kind, "")
    parts = [
        np.full((n, *known.shape[1:]), fill) if c is None else c
        for c, n in zip(columns, frames, strict=True)
    ]
    try:
        return np.concatenate(parts)
    except ValueError as error:
        raise DataError(f"columns {key!r} of the datasets differ in shape: {error}") from error


def _numbers(value: ArrayLike, frames: int, atoms: int) -> IntArray:
    raw = np.asarray(value)
    if raw.size and not np.all(np.equal(np.mod(raw, 1), 0)):
        raise DataError("atomic numbers must be whole numbers")
    numbers = raw.astype(np.int64)
    if numbers.ndim == 1:
        numbers = np.broadcast_to(numbers, (frames, len(numbers))).copy()
    if numbers.shape != (frames, atoms):
        raise DataError(
            f"numbers have shape {numbers.shape} but positions are for "
            f"{frames} frames of {atoms} atoms"
        )
    if numbers.size and (numbers.min() < 0 or numbers.max() > 118):
        raise DataError("atomic numbers must lie between 0 (padding) and 118")
    if atoms > 1 and (np.diff((numbers > 0).astype(int), axis=1) > 0).any():
        raise DataError("padding (atomic number 0) must come after the atoms of a frame")
    return numbers


def _per_frame(name: str, value: ArrayLike, frames: int, shape: tuple, dtype: type) -> NDArray:
    array: NDArray[Any] = np.asarray(value, dtype=dtype)
    if array.shape == shape:
        array = np.broadcast_to(array, (frames, *shape))
    if array.shape != (frames, *shape):
        raise DataError(f"{name} has shape {array.shape}; expected {(frames, *shape)} or {shape}")
    return array.copy()


def _labels(name: str, value: ArrayLike, shape: tuple) -> FloatArray:
    array = np.array(value, dtype=np.float64)
    if array.shape != shape:
        raise DataError(f"{name} has shape {array.shape}; expected {shape}")
    return array


def _info(key: str, value: ArrayLike, frames: int) -> NDArray:
    array = np.asarray(value)
    if array.ndim == 0:
        array = np.full(frames, array)
    if len(array) != frames:
        raise DataError(f"column {key!r} has {len(array)} entries for {frames} frames")
    return array


def _pad(array: NDArray, atoms: int, value: float) -> NDArray:
    width = [(0, 0), (0, atoms - array.shape[1])] + [(0, 0)] * (array.ndim - 2)
    return np.pad(array, width, constant_values=value)


def _some(indices: NDArray, most: int = 8) -> str:
    shown = ", ".join(str(i) for i in indices[:most])
    return shown + (f", ... ({len(indices)} in all)" if len(indices) > most else "")
