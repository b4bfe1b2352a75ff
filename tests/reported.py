"""Real, short campaigns for the tests of reports, each run once in a test session."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np

import uncv
from uncv.config import make_config
from uncv.data import Dataset
from uncv.learning import learn
from uncv.learning.setup import displaced_starts, make_setup

_FOLDER = tempfile.TemporaryDirectory(prefix="uncv_reports_")
TINY = {
    "potential": {"members": 2, "hidden": (8,), "epochs": 2, "epochs_warm": 1},
    "sampling": {"steps_per_round": 16, "stride": 4, "walkers": 3, "timestep_fs": 0.25},
    "selection": {"batch_size": 3},
    "bias": {"kind": "adaptive", "strength": 0.5, "window": 4},
    "stop": {"max_force_ev_per_angstrom": None},
}


def place(name: str) -> Path:
    """A path in the folder of this test session."""
    return Path(_FOLDER.name) / name


@cache
def test_frames() -> Path:
    """Labelled frames that no campaign trains on."""
    config = make_config({**TINY, "seed": 7, "budget": {"labels": 24, "initial_labels": 24}})
    setup = make_setup(config)
    labelled = setup.oracle.label(displaced_starts(config, setup.start))
    path = place("test.extxyz")
    uncv.write(path, labelled)
    return path


test_frames.__test__ = False  # not a test, whatever its name


@cache
def ten_rounds() -> Path:
    """A molecule, ten rounds, test data, and a rule that stops walkers now and then."""
    config = {
        **TINY,
        "system": {"test_data": str(test_frames())},
        "budget": {"labels": 38, "initial_labels": 8},
        "stop": {"max_force_ev_per_angstrom": None, "max_bond_factor": 1.1},
    }
    return learn(config, place("ten rounds")).directory


@cache
def crystal() -> Path:
    """Copper under pressure, whose volume is followed; two rounds, one label of each fails."""
    from ase.build import bulk

    path = place("cu.cif")
    bulk("Cu", cubic=True).write(path)
    config = {
        "system": {
            "structure": str(path),
            "periodic": True,
            "volume_range_angstrom3": (40.0, 56.0),
        },
        "oracle": {"kind": "ase", "calculator": "ase.calculators.emt.EMT"},
        "potential": {"members": 2, "hidden": (8,), "epochs": 3, "epochs_warm": 2},
        "uncertainty": {"kind": "ensemble", "of": "forces", "reduce": "rms"},
        "sampling": {
            "steps_per_round": 16,
            "stride": 4,
            "walkers": 2,
            "pressure_gpa": 0.5,
            "hydrogen_mass_amu": None,
        },
        "selection": {"batch_size": 3},
        "budget": {"labels": 12, "initial_labels": 6, "initial_strain": 0.03},
        "bias": {"kind": "none"},
    }
    return learn(config, place("crystal")).directory


def without(source: Path, name: str, *removed: str) -> Path:
    """A copy of a run directory without some of its files."""
    import shutil

    copy = place(name)
    if not copy.exists():
        shutil.copytree(source, copy, ignore=lambda _, names: set(names) & set(removed))
    return copy


def rmse(first: np.ndarray, second: np.ndarray) -> float:
    """Root mean square difference."""
    return float(np.sqrt(np.mean((np.asarray(first) - np.asarray(second)) ** 2)))


def labels_of(run: Path, split: str = "") -> Dataset:
    """The labelled frames of a run, or those of one split."""
    data = uncv.read(run / "labelled.extxyz")
    return data if not split else data[np.flatnonzero(data.info["split"] == split)]
