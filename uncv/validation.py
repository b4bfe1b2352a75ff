"""What is wrong with a dataset before anybody trains on it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncv.data import Dataset
from uncv.errors import DataError, ElementError

_OUTLIER_MADS = 100.0
_OUTLIER_EV_PER_ATOM = 1.0
_SAME_DISTANCE = 1e-3  # Å
_SHOWN = 8


class Report(NamedTuple):
    """What :func:`check` found without refusing the dataset.

    Attributes
    ----------
    frames : int
        Number of frames.
    elements : tuple of int
        Atomic numbers that occur.
    unlabelled : dict of str to tuple of int
        For each label that some frames carry, the frames that lack it.
    duplicates : tuple of (int, int)
        Pairs of frames with the same geometry, the earlier frame first.
    """

    frames: int
    elements: tuple[int, ...]
    unlabelled: dict[str, tuple[int, ...]]
    duplicates: tuple[tuple[int, int], ...]

    @property
    def findings(self) -> tuple[str, ...]:
        """One sentence for each finding; empty if there is nothing to say."""
        lines = [
            f"{len(lacking)} of {self.frames} frames have no {label}: {_some(lacking)}"
            for label, lacking in self.unlabelled.items()
            if lacking
        ]
        if self.duplicates:
            pairs = [f"{a}={b}" for a, b in self.duplicates]
            lines.append(f"{len(pairs)} pairs of frames have the same geometry: {_some(pairs)}")
        return tuple(lines)


def check(data: Dataset, elements: tuple[int, ...] | None = None) -> Report:
    """Check a dataset for what would spoil a potential, and report what may.

    Parameters
    ----------
    data : Dataset
        The frames; NaN positions and shapes are checked by Dataset itself.
    elements : tuple of int, optional
        Atomic numbers that the potential knows.

    Raises
    ------
    ElementError
        If an element is not among them.
    DataError
        If energies per atom are off the others by orders of magnitude.
    """
    if elements is not None:
        check_elements(data, elements)
    check_energies(data)
    unlabelled = {}
    for label in ("energy", "forces", "stress"):
        value = getattr(data, label)
        if value is not None:
            lacking = ~np.isfinite(value).all(axis=tuple(range(1, value.ndim)))
            unlabelled[label] = tuple(int(i) for i in np.flatnonzero(lacking))
    return Report(len(data), data.elements, unlabelled, duplicates(data))


def check_elements(data: Dataset, known: tuple[int, ...]) -> None:
    """Check that a potential knows every element.

    Raises
    ------
    ElementError
        If it does not, naming the element, a frame with it and the elements that are known.
    """
    unknown = [z for z in data.elements if z not in known]
    if unknown:
        frame = int(np.flatnonzero((data.numbers == unknown[0]).any(axis=1))[0])
        raise ElementError(
            f"frame {frame} contains {_symbol(unknown[0])}, which the potential was not made for; "
            f"it knows {', '.join(map(_symbol, sorted(known)))}: remove these frames or train on it"
        )


def check_energies(data: Dataset) -> None:
    """Check that no energy is off by orders of magnitude, as after a mistake with units.

    Energies are compared with the best sum of element energies (fitted by least absolute
    deviations, which a few wrong frames do not move); single atoms are left out.

    Raises
    ------
    DataError
        If a frame is off by more than 100 median absolute deviations and 1 eV/atom.
    """
    if data.energy is None or len(data) == 0:
        return
    kept = np.flatnonzero(np.isfinite(data.energy) & (data.frame_atoms > 1))
    counts = np.array([(data.numbers[kept] == z).sum(axis=1) for z in data.elements]).T
    if len(kept) < 2 * max(counts.shape[-1:] or (0,)) + 1:
        return
    atoms = data.frame_atoms[kept]
    rows, energies = counts / atoms[:, None], data.energy[kept] / atoms
    residual = energies - rows @ _least_absolute(rows, energies)
    spread = 1.4826 * np.median(np.abs(residual - np.median(residual)))
    off = np.abs(residual) > max(_OUTLIER_MADS * spread, _OUTLIER_EV_PER_ATOM)
    if off.any():
        worst = int(np.argmax(np.abs(residual)))
        raise DataError(
            f"energies of frames {_some(kept[off])} are off the others by up to "
            f"{abs(residual[worst]):.3g} eV/atom (frame {kept[worst]}: {energies[worst]:.6g} "
            f"eV/atom; spread {spread:.2g}); check the unit (eV expected) or remove them"
        )


def duplicates(data: Dataset, tolerance: float = _SAME_DISTANCE) -> tuple[tuple[int, int], ...]:
    """Return pairs of frames whose sorted distances agree element by element.

    Rotated, shifted, reflected and relabelled copies are found; periodic frames are compared
    as they stand, with their cells.

    Parameters
    ----------
    data : Dataset
        The frames.
    tolerance : float
        Largest difference of any distance in Å.
    """
    pairs = []
    compositions: dict[bytes, list[int]] = {}
    for frame, numbers in enumerate(np.sort(data.numbers, axis=1)):
        compositions.setdefault(numbers.tobytes(), []).append(frame)
    for frames in compositions.values():
        prints = np.array([_distances(data, frame) for frame in frames])
        pairs += [(frames[i], frames[j]) for i, j in _close_rows(prints, tolerance)]
    return tuple(sorted((min(p), max(p)) for p in pairs))


def _distances(data: Dataset, frame: int) -> NDArray[np.float64]:
    """Distances sorted within each pair of elements, then the cell."""
    mask = data.mask[frame]
    numbers, positions = data.numbers[frame, mask], data.positions[frame, mask]
    first, second = np.triu_indices(len(numbers), 1)
    distance = np.linalg.norm(positions[first] - positions[second], axis=1)
    low = np.minimum(numbers[first], numbers[second])
    high = np.maximum(numbers[first], numbers[second])
    ordered = distance[np.lexsort((distance, high, low))]
    return np.concatenate([ordered, data.cell[frame].ravel() * data.pbc[frame].any()])


def _close_rows(rows: NDArray[np.float64], tolerance: float) -> list[tuple[int, int]]:
    """Pairs of rows within the tolerance; sorted by their means, only neighbours need a look."""
    means = rows.mean(axis=1)
    order = np.argsort(means, kind="stable")
    last = np.searchsorted(means[order], means[order] + tolerance, side="right")
    pairs = []
    for at, stop in enumerate(last):
        near = order[at + 1 : stop]
        same = (np.abs(rows[near] - rows[order[at]]) <= tolerance).all(axis=1)
        pairs += [(int(order[at]), int(other)) for other in near[same]]
    return pairs


def _least_absolute(
    rows: NDArray[np.float64], values: NDArray[np.float64], steps: int = 50
) -> NDArray[np.float64]:
    """Least absolute deviations by iteratively reweighted least squares."""
    weights = np.ones(len(values))
    for _ in range(steps):
        solution = np.linalg.lstsq(rows * weights[:, None], values * weights, rcond=None)[0]
        weights = 1.0 / np.sqrt(np.maximum(np.abs(values - rows @ solution), 1e-6))
    return np.asarray(solution, dtype=np.float64)


def _symbol(number: int) -> str:
    from ase.data import chemical_symbols

    return chemical_symbols[number]


def _some(items: NDArray | list[str] | tuple[int, ...]) -> str:
    shown = ", ".join(str(item) for item in items[:_SHOWN])
    return shown + (f", ... ({len(items)} in all)" if len(items) > _SHOWN else "")
