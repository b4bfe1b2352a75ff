"""The reference of `mil53al.py`: QuickFF, its energy against the volume, and held-out frames."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.io import read as read_atoms
from ase.optimize import BFGS

import uncv
from uncv.data import Dataset, concatenate
from uncv.importing import load_object
from uncv.oracles import AseOracle

DATA = Path(os.environ.get("UNCV_DATA", "../shared/data")) / "mil53al"
CALCULATOR = f"{(DATA / 'quickff' / 'quickff_openmm.py').resolve()}:QFF"
CLOSED, LARGE = (DATA / "structures" / f"mil53al_{pore}_76.xyz" for pore in ("cp", "lp"))
REACH = 18.05
"""Twice the cutoff of QuickFF in Å: what the repeated cell must measure across."""


def quickff(atoms: Atoms) -> Any:
    """Return the calculator of a structure, whose bonds it keeps."""
    across = 1.0 / np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)
    repeat = tuple(int(np.ceil(REACH / width)) for width in across * 0.94)
    return load_object(CALCULATOR)(atoms, rep=repeat)


def volume_curve(points: tuple[int, ...], steps: int = 200) -> list[dict[str, Any]]:
    """Return energy against volume with atoms and cell shape relaxed, from both phases.

    Each branch goes on from one volume to the next; the lower energy of the two is the curve.
    """
    rows = []
    for path, volumes in ((CLOSED, points), (LARGE, points[::-1])):
        rows += _branch(read_atoms(path), volumes, path.stem, steps)
    return rows


def _branch(atoms: Atoms, volumes: tuple[int, ...], name: str, steps: int) -> list[dict[str, Any]]:
    rows = []
    for volume in volumes:
        _scale(atoms, volume)
        atoms.calc = quickff(atoms)
        optimiser = BFGS(FrechetCellFilter(atoms, constant_volume=True), logfile=None, maxstep=0.08)
        found = optimiser.run(fmax=0.03, steps=steps)
        energy = float(atoms.get_potential_energy())
        rows.append({"from": name, "volume": volume, "energy": energy, "converged": bool(found)})
    return rows


def _scale(atoms: Atoms, volume: float) -> None:
    """Bring a cell to a volume as the pore breathes: one diagonal of it shortens, one grows."""
    factor = volume / atoms.get_volume()
    shape = np.diag([factor**-0.3, 1.0, factor**1.3])
    cell = atoms.cell.array @ shape
    cell *= (volume / abs(np.linalg.det(cell))) ** (1.0 / 3.0)
    atoms.set_cell(cell, scale_atoms=True)


def held_out(every: int = 1) -> Dataset:
    """Return frames of both phases from molecular dynamics with DFT, labelled by QuickFF."""
    frames = dft_frames()[::every]
    parts = []
    for n in range(len(frames)):
        frame = frames[n].without_labels()
        atoms = Atoms(frame.numbers[0], frame.positions[0], cell=frame.cell[0], pbc=True)
        labelled = AseOracle(quickff(atoms), "QuickFF").label(frame)
        if labelled.info["label_error"][0]:
            raise RuntimeError(f"QuickFF failed for frame {n}: {labelled.info['label_error'][0]}")
        parts.append(labelled)
    return concatenate(parts)


def dft_frames() -> Dataset:
    """Return all frames that carry labels of DFT."""
    return concatenate([uncv.read(DATA / f"mil53al_{part}.xyz") for part in ("train", "valid")])


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())
