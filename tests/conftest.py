"""Fixtures that several test files share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

# Small models are quickest on one thread, and several test runs may share a machine. Before torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

from uncv.data import Dataset
from uncv.structures import alanine_dipeptide


class Molecule(NamedTuple):
    topology: object  # openmm.app.Topology
    start: Dataset  # one frame


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of published reference data, which the project does not ship."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("UNCV_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no reference data in {folder}; set UNCV_DATA to a folder that holds it")
    return folder


@pytest.fixture
def alanine() -> Molecule:
    """Alanine dipeptide: its OpenMM topology and a Dataset of one frame."""
    return Molecule(*alanine_dipeptide())


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)
