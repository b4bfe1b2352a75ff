"""C7ax against C7eq: a potential trained on AMBER frames gives AMBER's own free-energy difference.

1. OPES on (φ, ψ) of alanine dipeptide in vacuum with AMBER ff14SB: eight walkers, each with its own
   bias.
2. An ensemble is trained on some of its frames, labelled by AMBER.
3. The same OPES with this potential, all walkers as one batch.
4. Both are reweighted; F(φ > 0) − F(φ < 0) of the potential is to be within 3 kJ/mol or two
   standard errors of AMBER's. As a check that needs no second run, AMBER's frames are perturbed to
   the potential by exp(−(E_potential − E_AMBER)/k_BT).

    python benchmarks/free_energy.py --out free_energy [--ns 4] [--report docs/benchmarks] [--json]

Each part is kept in the folder and not repeated; about an hour in all. With UNCV_QUICK=1 everything
is tiny: that shows that the benchmark works, and gives no figures.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from free_energy_amber import Protocol, run_amber
from free_energy_report import Run, judge, rounded, write_report

import uncv
from uncv.analysis import dihedrals
from uncv.data import Dataset
from uncv.sampling import SampleSettings, sample
from uncv.training import TrainSettings, train

QUICK = os.environ.get("UNCV_QUICK") == "1"
TRAINING_FRAMES, TEST_FRAMES = (40, 20) if QUICK else (1600, 600)
TRAINING = TrainSettings(members=2, epochs=2) if QUICK else TrainSettings(members=4, epochs=90)


class Folder:
    """Parts of the benchmark by name: what is there is read, what is not is made and timed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._clock = path / "seconds.json"

    @property
    def seconds(self) -> dict[str, float]:
        """What each part took."""
        return json.loads(self._clock.read_text()) if self._clock.exists() else {}

    def part(self, name: str, read: Callable[[Path], Any], make: Callable[[Path], None]) -> Any:
        """Return read(file), after make(file) if there is no such file."""
        file = self.path / name
        if not file.exists():
            begin = time.perf_counter()
            make(file)
            self._clock.write_text(
                json.dumps(self.seconds | {name: time.perf_counter() - begin}, indent=1)
            )
        return read(file)


def split(frames: Dataset) -> tuple[Dataset, Dataset]:
    """Return training and test frames, drawn at random from the whole run."""
    order = np.random.default_rng(0).permutation(len(frames))
    return frames[np.sort(order[:TRAINING_FRAMES])], frames[np.sort(order[-TEST_FRAMES:])]


def fit(frames: Dataset, file: Path) -> None:
    """Train the ensemble."""
    potential = train(split(frames)[0], TRAINING, seed=0)
    uncertainty = uncv.EnsembleUncertainty("energy").fit(potential, frames[:1])
    uncv.UncertaintyCV(potential, uncertainty).save(file)


def run_potential(cv: uncv.UncertaintyCV, protocol: Protocol, file: Path) -> None:
    """Run the walkers on the potential; COLVAR.i goes to the folder named as the file."""
    topology, start = uncv.structures.alanine_dipeptide()
    settings = SampleSettings(
        temperature=protocol.temperature,
        timestep=protocol.timestep,
        friction=protocol.friction,
        hydrogen_mass=protocol.hydrogen_mass,
        steps=protocol.steps,
        stride=protocol.stride,
        walkers=protocol.walkers,
    )
    folder = file.with_suffix("")
    folder.mkdir(exist_ok=True)
    plumed = protocol.plumed(folder)
    sample(topology, start, cv, settings=settings, plumed=plumed, seed=protocol.seed, out=file)


def errors(cv: uncv.UncertaintyCV, frames: Dataset) -> dict[str, float]:
    """Return the errors of the potential on AMBER frames it was not trained on."""
    test = split(frames)[1]
    found = cv.evaluate(test)
    energy = found.energy - test.energy
    force = np.sqrt(np.mean((found.forces - test.forces) ** 2))
    per_atom = np.sqrt(np.mean(energy**2)) / test.positions.shape[1]
    return {"energy_rmse_mev_per_atom": 1e3 * per_atom, "force_rmse_ev_per_angstrom": force}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("free_energy"), help="folder of the parts")
    parser.add_argument("--ns", type=float, default=4.0, help="length of a run, all walkers, in ns")
    parser.add_argument("--report", type=Path, help="folder for free_energy.md, .json and .png")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    torch.set_num_threads(1)
    protocol = Protocol(500, walkers=2, stride=10) if QUICK else Protocol(0)
    if not QUICK:
        steps = round(options.ns * 1e6 / protocol.walkers / protocol.timestep)
        protocol = Protocol(steps)
    folder = Folder(options.out)
    amber = folder.part(
        "amber.npz", uncv.read, lambda f: uncv.write(f, run_amber(protocol, f.with_suffix("")))
    )
    cv = folder.part("potential.uncv", uncv.UncertaintyCV.load, lambda f: fit(amber, f))
    frames = folder.part("potential.npz", uncv.read, lambda f: run_potential(cv, protocol, f))
    parts = [amber[i : i + 500] for i in range(0, len(amber), 500)]
    energy = np.concatenate([cv.evaluate(part).energy for part in parts])
    run = Run(protocol, amber, energy, dihedrals(amber), options.out)
    found = judge(run)
    found.figures["errors"] = errors(cv, amber)
    found.figures["largest_u_ev"] = float(frames.info["uncertainty"].max())
    found.figures["seconds"] = folder.seconds
    if options.report is not None:
        write_report(found, options.report)
    print(json.dumps(rounded(found.figures)) if options.json else "\n".join(found.lines()))
    return 0 if QUICK or found.figures["met"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
