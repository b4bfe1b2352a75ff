"""What a biased step costs with each uncertainty, over an unbiased step of the same model.

Models of the sizes of ANI-1x with SiLU and drawn weights, float32: 22 atoms (alanine dipeptide)
and, where the data are there, 76 atoms (MIL-53(Al), periodic). Contenders take turns; figures are
medians of the ratios of neighbouring turns. One line also compares the single-model uncertainties
with the biased step of an ensemble of eight.

    python benchmarks/uncertainty_cost.py [--json] [--repeats 200] [--threads 2]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import uncv
from uncv.models import AniPotential, AniSettings
from uncv.step import FusedStep
from uncv.structures import alanine_dipeptide
from uncv.uncertainty import UncertaintyBase

DATA = Path(os.environ.get("UNCV_DATA", Path(__file__).parents[2] / "shared" / "data"))
STRENGTH = 0.5
HIDDEN = {1: (160, 128, 96), 6: (144, 112, 96), 7: (128, 112, 96), 8: (128, 112, 96)}
TARGETS = {"posterior, last layer": 1.25, "posterior, sketched": 2.0, "GMM, last layer": 1.4,
           "GMM, descriptor": 1.4}  # fmt: skip
SINGLE: dict[str, tuple[str, Callable[[], UncertaintyBase]]] = {
    "posterior, last layer": ("", lambda: uncv.GradientUncertainty("posterior", "last_layer")),
    "posterior, sketched": ("", lambda: uncv.GradientUncertainty("posterior", "sketched")),
    "distance, last layer": ("", lambda: uncv.GradientUncertainty("distance", "last_layer")),
    "GMM, last layer": ("", lambda: uncv.GMMUncertainty(features="last_layer")),
    "GMM, descriptor": ("", lambda: uncv.GMMUncertainty(features="descriptor")),
    "mean-variance": ("mean_variance", lambda: uncv.MVEUncertainty()),
    "evidential": ("evidential", lambda: uncv.EvidentialUncertainty()),
}


def model(elements: tuple[int, ...], members: int, head: str = "") -> AniPotential:
    """Return a potential with drawn weights."""
    hidden = tuple(HIDDEN.get(z, HIDDEN[6]) for z in elements)
    made = AniPotential(AniSettings(elements, members, hidden, head=head))
    generator = torch.Generator().manual_seed(0)
    for network in made.networks:
        network.initialise(generator)
    return made.requires_grad_(False)


def contender(cv: uncv.UncertaintyCV, frame: uncv.Dataset, *, biased: bool) -> Callable:
    """Return a step: energy, u and forces, or energy and its forces alone."""
    periodic = bool(frame.pbc.all())
    step = FusedStep(cv, frame.numbers[0], periodic=periodic)
    slope = np.array([-STRENGTH if biased else 0.0])

    def run(positions: np.ndarray) -> None:
        step.forward(positions, frame.cell[0] if periodic else None)
        step.forces(slope, np.ones(1))

    return run


class EnergyAlone(uncv.EnsembleUncertainty):
    """No uncertainty: what plain dynamics of the model costs."""

    per_atom = False

    def __init__(self) -> None:
        super().__init__("energy")

    def check(self, potential: object) -> None:
        """Take any potential."""

    def forward(self, output: object, groups: object) -> torch.Tensor:
        """Return the energy, so that nothing else is computed."""
        return output.energies[0]


def times(runs: dict[str, Callable], frame: uncv.Dataset, repeats: int) -> dict[str, np.ndarray]:
    """Return seconds of each turn of each contender."""
    random = np.random.default_rng(0)
    x = frame.positions.copy()
    found = {name: [] for name in runs}
    for turn in range(-20, repeats):
        x += 0.002 * random.normal(size=x.shape) - 0.05 * (x - frame.positions)
        for name, run in runs.items():
            begun = time.perf_counter()
            run(x)
            if turn >= 0:
                found[name].append(time.perf_counter() - begun)
    return {name: np.array(values) for name, values in found.items()}


def system(name: str) -> uncv.Dataset:
    """Return one frame to step from."""
    if name == "22 atoms":
        return alanine_dipeptide()[1]
    return uncv.read(DATA / "mil53al" / "structures" / "mil53al_lp_76.xyz")


def compare(frame: uncv.Dataset, repeats: int) -> dict:
    """Return the ratios of one system."""
    elements = frame.elements
    noise = np.random.default_rng(1).normal(size=(200, *frame.positions.shape[1:]))
    train = uncv.Dataset(frame.numbers[0], frame.positions + 0.08 * noise, cell=frame.cell[0],
                         pbc=frame.pbc[0])  # fmt: skip
    potentials = {head: model(elements, 1, head) for head in ("", "mean_variance", "evidential")}
    runs = {
        "plain": contender(uncv.UncertaintyCV(potentials[""], EnergyAlone()), frame, biased=False)
    }
    for name, (head, make) in SINGLE.items():
        fitted = make().fit(potentials[head], train)
        runs[name] = contender(uncv.UncertaintyCV(potentials[head], fitted), frame, biased=True)
    eight = uncv.UncertaintyCV(model(elements, 8), uncv.EnsembleUncertainty("energy"))
    runs["ensemble of 8"] = contender(eight, frame, biased=True)
    took = times(runs, frame, repeats)
    return {
        "plain_ms": float(np.median(took["plain"]) * 1e3),
        "over_plain": {n: float(np.median(t / took["plain"])) for n, t in took.items()},
        "ensemble_over": {n: float(np.median(took["ensemble of 8"] / took[n])) for n in SINGLE},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore", UserWarning)
    names = ["22 atoms"] + (["76 atoms"] if DATA.is_dir() else [])
    found = {name: compare(system(name), options.repeats) for name in names}
    about = {"threads": options.threads, "torch": torch.__version__, "machine": platform.machine()}
    if options.json:
        print(json.dumps({**about, "systems": found, "targets": TARGETS}, indent=1))
    else:
        for name, result in found.items():
            print(f"{name}: plain step {result['plain_ms']:.2f} ms")
            for label, ratio in result["over_plain"].items():
                goal = f" (at most {TARGETS[label]})" if label in TARGETS else ""
                faster = result["ensemble_over"].get(label)
                beside = f", ensemble of 8 over it {faster:.2f}" if faster else ""
                print(f"  {label}: {ratio:.2f} of plain{goal}{beside}")
    small = found["22 atoms"]["over_plain"]
    return 0 if all(small[name] <= goal for name, goal in TARGETS.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
