"""Time and memory that each uncertainty takes to be fitted to 10,000 atoms with 512 features.

Mixture, posterior and distance on the last layer of a network as wide as that, and the latter two
on 512 random projections of all its layers. The evaluation of the potential is part of the time.
Each runs in a process of its own, and its memory is the most that this process ever held.

    python benchmarks/uncertainty_fit.py [--json]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

import uncv
from uncv.features import stream
from uncv.models import AniPotential, AniSettings
from uncv.structures import alanine_dipeptide

ATOMS, WIDTH = 10_000, 512
SECONDS, GIGABYTES = 10.0, 2.0
CASES: dict[str, Callable] = {
    "evaluation alone": lambda: None,
    "posterior, last layer": lambda: uncv.GradientUncertainty("posterior", "last_layer"),
    "posterior, sketched": lambda: uncv.GradientUncertainty("posterior", "sketched", WIDTH),
    "distance, last layer": lambda: uncv.GradientUncertainty("distance", "last_layer"),
    "distance, sketched": lambda: uncv.GradientUncertainty("distance", "sketched", WIDTH),
    "GMM, last layer": lambda: uncv.GMMUncertainty(features="last_layer"),
    "GMM, last layer, all axes": lambda: uncv.GMMUncertainty(features="last_layer", pca=None),
    "GMM, descriptor": lambda: uncv.GMMUncertainty(features="descriptor"),
}


def measure(name: str) -> dict:
    """Fit one uncertainty; called in a process of its own."""
    _, start = alanine_dipeptide()
    frames = -(-ATOMS // start.positions.shape[1])
    noise = 0.1 * np.random.default_rng(0).normal(size=(frames, *start.positions.shape[1:]))
    data = uncv.Dataset(start.numbers[0], start.positions + noise)
    elements = start.elements
    potential = AniPotential(AniSettings(elements, 1, ((160, WIDTH),) * len(elements)))
    generator = torch.Generator().manual_seed(0)
    for network in potential.networks:
        network.initialise(generator)
    potential.requires_grad_(False)
    begun = time.perf_counter()
    uncertainty = CASES[name]()
    if uncertainty is None:
        for _ in stream(potential, data, "last_layer"):
            pass
    else:
        uncertainty.fit(potential, data)
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    return {"seconds": seconds, "gigabytes": peak}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--only", choices=list(CASES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only is not None:
        print(json.dumps(measure(options.only)))
        return 0
    found = {}
    for name in CASES:
        command = [sys.executable, __file__, "--only", name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found[name] = json.loads(done.stdout)
        if not options.json:
            row = found[name]
            print(f"{name}: {row['seconds']:.1f} s, {row['gigabytes']:.2f} GB in all", flush=True)
    if options.json:
        print(json.dumps({"atoms": ATOMS, "features": WIDTH, "fits": found}, indent=1))
    worst = max(row["seconds"] for row in found.values())
    most = max(row["gigabytes"] for row in found.values())
    return 0 if worst <= SECONDS and most <= GIGABYTES else 1


if __name__ == "__main__":
    sys.exit(main())
