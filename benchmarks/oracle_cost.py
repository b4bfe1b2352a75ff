"""What a label costs: xTB of a peptide and of γ-CuI, density functionals of ethanol, a kept label.

    UNCV_DATA=... python benchmarks/oracle_cost.py [--json] [--quick]

Seconds of one thread, by the clock of the process: on a machine that does other things too, those
on the wall are more. Of three labels of differently displaced frames the middle one; ``--quick``
leaves out what takes ten seconds and more. γ-CuI is a cell of 2 x 2 x 2 conventional ones.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from uncv.data import Dataset
from uncv.io import read
from uncv.oracles import CachedOracle, PySCFOracle, ScfSettings, XTBOracle
from uncv.structures import alanine_dipeptide

DATA = Path(os.environ.get("UNCV_DATA", "../shared/data"))


class Cost(NamedTuple):
    """Seconds of one label, and whether there was one."""

    system: str
    level_of_theory: str
    cpu_s: float
    wall_s: float
    labelled: bool


def displaced(frame: Dataset, deviation: float, count: int = 3) -> Dataset:
    """Return copies of a frame whose atoms are displaced by a Gaussian (Å)."""
    shape = (count, *frame.positions.shape[1:])
    noise = np.random.default_rng(0).normal(scale=deviation, size=shape)
    return Dataset(frame.numbers[0], frame.positions[:1] + noise, cell=frame.cell[0])


def supercell(unit: Dataset, times: int) -> Dataset:
    """Return the cell repeated along each vector."""
    steps = np.stack(np.meshgrid(*[np.arange(times)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    positions = (unit.positions[0] + (steps @ unit.cell[0])[:, None]).reshape(1, -1, 3)
    return Dataset(np.tile(unit.numbers[0], len(steps)), positions, cell=times * unit.cell[0])


def measure(system: str, oracle: XTBOracle | PySCFOracle | CachedOracle, frames: Dataset) -> Cost:
    """Label frames one by one and return the middle cost."""
    cpu, wall, good = [], [], True
    for i in range(len(frames)):
        start = time.process_time(), time.perf_counter()
        answer = oracle.label(frames[i])
        cpu.append(time.process_time() - start[0])
        wall.append(time.perf_counter() - start[1])
        good = good and not answer.info["label_error"][0]
    middle = (float(np.median(cpu)), float(np.median(wall)))
    return Cost(system, oracle.level_of_theory, *middle, good)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    peptide = displaced(alanine_dipeptide()[1], 0.05)
    crystal = read(DATA / "crystals" / "CuI_zincblende.xyz")
    cell, small = displaced(supercell(crystal, 2), 0.08), displaced(crystal, 0.08)
    ethanol = read(DATA / "rmd17" / "rmd17_ethanol_test_01.xyz", slice(0, 3)).without_labels()
    XTBOracle().label(peptide[0])  # the first call loads the library
    costs = []

    def add(*job: object) -> None:
        costs.append(measure(*job))
        print(*costs[-1], file=sys.stderr)

    for method in ("GFN1-xTB", "GFN2-xTB"):
        add("alanine dipeptide, 22 atoms", XTBOracle(method), peptide)
        add("γ-CuI, 8 atoms, with stress", XTBOracle(method), small)
        if not (given.quick and method == "GFN2-xTB"):
            add("γ-CuI, 64 atoms, with stress", XTBOracle(method), cell)
    with tempfile.TemporaryDirectory() as folder:
        kept = CachedOracle(XTBOracle(), Path(folder) / "labels.jsonl")
        kept.label(peptide)
        add("alanine dipeptide, a label that is kept", kept, peptide)
    if not given.quick:
        fitted = ScfSettings(density_fit=True)
        add("ethanol, 9 atoms", PySCFOracle("pbe", "def2-svp"), ethanol)
        add("ethanol, 9 atoms", PySCFOracle("pbe", "def2-svp", "d3bj"), ethanol)
        add("ethanol, 9 atoms", PySCFOracle("pbe", "def2-svp", settings=fitted), ethanol)
    about = {"machine": platform.machine(), "threads": 1}
    if given.json:
        print(json.dumps({"figures": [cost._asdict() for cost in costs], "about": about}, indent=2))


if __name__ == "__main__":
    main()
