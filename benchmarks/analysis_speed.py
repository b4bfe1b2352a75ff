"""Seconds to analyze a million frames of two torsions: all that `uncv analyze` finds of a run.

    python benchmarks/analysis_speed.py [--json] [--frames 1000000] [--walkers 8]

Frames in memory are analyzed by `uncv.analysis.analyze`: weights, coverage with its bootstrap over
walkers and its accessible cells, autocorrelation times, the free-energy surface with errors, the
difference of two regions, basins and transitions. Beside it stands how long a COLVAR file of as
many rows takes to read. The figure is the shortest of three repeats; seconds of the processor tell
what it would be on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from uncv.analysis import (
    C7AX,
    C7EQ,
    AnalysisSettings,
    Samples,
    analyze,
    cells_of_run,
    read_colvar,
)

BOUND = 5.0
REPEATS = 3


def run_of(frames: int, walkers: int, seed: int = 0) -> Samples:
    """Return walkers that hop between two wells, with a bias of their own each."""
    rng = np.random.default_rng(seed)
    state = np.cumsum(rng.random(frames) < 1e-3) % 2
    centres = np.array([[-1.4, 1.0], [1.0, -0.6]])[state]
    noise = rng.normal(size=(frames, 2))
    values = (centres + 0.5 * noise + np.pi) % (2 * np.pi) - np.pi
    walker = np.arange(frames) * walkers // frames
    bias = 0.02 * np.cos(values[:, 0])
    return Samples(values, walker, bias, own_bias=True, interval_fs=500.0, steps=250.0)


def timed(action: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Return the shortest time on the clock and of the processor, in seconds."""
    found = []
    for _ in range(repeats):
        clock, processor = time.perf_counter(), time.process_time()
        action()
        found.append((time.perf_counter() - clock, time.process_time() - processor))
    return min(one for one, _ in found), min(two for _, two in found)


def reading(samples: Samples) -> tuple[float, float]:
    """Return how long a COLVAR file of these frames takes to read."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "COLVAR"
        rows = [0.5 * np.arange(len(samples)), samples.values, samples.bias]
        with path.open("w") as file:
            file.write("#! FIELDS time phi psi opes.bias\n")
            np.savetxt(file, np.column_stack(rows), fmt="%.6f")
        return timed(lambda: read_colvar(path), 1)


def main() -> int:
    """Print the result; 1 if it misses the bound."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--walkers", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    samples = run_of(given.frames, given.walkers)
    settings = AnalysisSettings(regions=(C7AX, C7EQ), bandwidth=0.1)
    accessible = cells_of_run(samples.values)
    clock, processor = timed(lambda: analyze(samples, settings, accessible), REPEATS)
    read_clock, read_processor = reading(samples)
    found = {
        "frames": given.frames,
        "walkers": given.walkers,
        "analyze_s": clock,
        "analyze_processor_s": processor,
        "read_colvar_s": read_clock,
        "read_colvar_processor_s": read_processor,
        "bound_s": BOUND,
        "met": clock < BOUND,
    }
    if given.json:
        print(json.dumps(found))
    else:
        print(
            f"{given.frames} frames, {given.walkers} walkers: {clock:.2f} s "
            f"({processor:.2f} s of the processor), bound {BOUND:g} s: "
            f"{'met' if found['met'] else 'NOT met'}; reading them from COLVAR {read_clock:.2f} s"
        )
    return 0 if found["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
