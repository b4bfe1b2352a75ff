"""The data sets of `uncertainty.py`: what is trained on, calibrated on, and tested on.

Training and calibration frames come from the same conditions; tests leave them step by step. Frames
of one trajectory that follow each other are alike, so those sets are cut into blocks and never
drawn at random.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import uncv

DATA = Path(os.environ.get("UNCV_DATA", Path(__file__).parents[2] / "shared" / "data"))
SAME = 0.01
"""Interatomic distances in Å within which two frames are one, rotated."""


class Split(NamedTuple):
    """One data set.

    Attributes
    ----------
    train, calibration : uncv.Dataset
        Frames of the same conditions, none in both.
    tests : dict of str to uncv.Dataset
        By name; 'in domain' are frames that are exchangeable with the calibration frames.
    """

    train: uncv.Dataset
    calibration: uncv.Dataset
    tests: dict[str, uncv.Dataset]


def bpa(seed: int, folder: Path) -> Split:
    """3BPA: trained at 300 K, tested at 300, 600 and 1200 K."""
    known = _read("3bpa/train_300K")
    tests = {
        f"{t} K": _read(f"3bpa/mixedT_{t}K{end}")
        for t, end in ((300, "_disjoint"), (600, ""), (1200, ""))
    }
    return Split(known[:300], known[400:], tests)


def acetylacetone(seed: int, folder: Path) -> Split:
    """Acetylacetone: trained at 300 K; 300 K, 600 K, proton transfer and a dihedral scan."""
    known = _read("acac/train_300K")
    tests = {"300 K": _read("acac/test_MD_300K")[::3], "600 K": _read("acac/test_MD_600K")[::3]}
    tests |= {"H transfer": _read("acac/test_H_transfer"), "dihedral": _read("acac/test_dihedral")}
    return Split(known[:300], known[400:], tests)


def ammonia(seed: int, folder: Path) -> Split:
    """Ammonia: frames near equilibrium, each once; the distorted ones held out."""
    frames = _read("ammonia/ammonia")
    near = _distinct(frames[:78], frames[:0])
    order = np.random.default_rng(seed).permutation(len(near))
    train, calibration = near[np.sort(order[20:])], near[np.sort(order[:20])]
    return Split(train, calibration, {"distorted": _distinct(frames[78:], near)})


def revised_md17(name: str) -> Callable[[int, Path], Split]:
    """Return the reader of a molecule of rMD17: random frames of one trajectory, in domain."""

    def read(seed: int, folder: Path) -> Split:
        known, test = (_read(f"rmd17/rmd17_{name}_{part}_01") for part in ("train", "test"))
        order = np.random.default_rng(seed).permutation(len(known))
        return Split(known[order[:300]], known[order[300:500]], {"in domain": test[:500]})

    return read


def silica(seed: int, folder: Path) -> Split:
    """Silica by the BKS potential: crystal and hot melt, and the glass as the test."""
    from silica import silica_sets

    sets = silica_sets(0, folder=folder)
    random = np.random.default_rng(seed)
    train, calibration, held = [], [], []
    for part in (sets.crystal, sets.melt):
        order = random.permutation(len(part))
        train.append(part[order[: len(part) // 2]])
        calibration.append(part[order[len(part) // 2 : 3 * len(part) // 4]])
        held.append(part[order[3 * len(part) // 4 :]])
    joined = [uncv.concatenate(parts) for parts in (train, calibration, held)]
    return Split(joined[0], joined[1], {"in domain": joined[2], "glass": sets.glass})


SETS: dict[str, Callable[[int, Path], Split]] = {
    "3BPA": bpa,
    "acetylacetone": acetylacetone,
    "ammonia": ammonia,
    "ethanol": revised_md17("ethanol"),
    "malonaldehyde": revised_md17("malonaldehyde"),
    "silica": silica,
}


def _read(name: str) -> uncv.Dataset:
    return uncv.read(DATA / f"{name}.xyz")


def _distinct(frames: uncv.Dataset, known: uncv.Dataset) -> uncv.Dataset:
    """Leave out frames that are another one, or a known one, up to a rigid motion."""
    seen = [_distances(x) for x in known.positions]
    kept = []
    for index, x in enumerate(frames.positions):
        mine = _distances(x)
        if all(np.abs(mine - other).max() > SAME for other in seen):
            kept.append(index)
            seen.append(mine)
    return frames[np.array(kept)]


def _distances(x: np.ndarray) -> np.ndarray:
    """Return the distances between all atoms, sorted (n,)."""
    return np.sort(np.linalg.norm(x[:, None] - x[None], axis=-1)[np.triu_indices(len(x), 1)])
