"""Time and memory of choosing 1,000 frames of large pools with 512 features, 1,000 being labelled.

    python benchmarks/selection.py [--json] [--report docs/benchmarks] [--quick] [--threads 1]

Each choice runs in a process of its own, whose memory is the most that it ever held, the features
included. Beside the seconds stands what they are of the plain way: as many products of the whole
pool with one vector as frames are chosen, one product measured in the same process. Processor time
stands beside wall time, since other work on the machine lengthens the latter; the former is judged.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np

POOLS = (10_000, 30_000, 100_000)
WIDTH, LABELLED, SIZE = 512, 1_000, 1_000
METHODS = ("farthest_point", "max_det", "lcmd")
SECONDS, GIGABYTES, EXPONENT = 60.0, 2.0, 1.1
KEYS = ("features", "method", "pool")

PAGE = """\
# Selection from large pools

Written by `python benchmarks/selection.py --report docs/benchmarks` on {cores} cores, no GPU;
matrix products by {threads} of them, load of the machine {load:.1f} before the first run.

{size} frames are chosen from pools of {width} features, {labelled} others being labelled. "Uniform"
features are independent normal numbers: all frames are about equally far from each other, which is
the hardest case. "Curved" ones lie near a sheet of 12 dimensions with 20 denser places, and have an
offset common to all. Times are seconds of the processor, in brackets those of the clock, which
other work lengthens. The memory is the most that the process ever held, {pool_gb:.2f} GB of it the
largest pool itself. "Of plain products" is the processor time in parts of that of {size} products
of the pool with a vector, the least that a search through the whole pool for each choice would
take.

| features | method | {pools} | exponent | memory, GB | of plain products |
|---|---|{rule}---|---|---|
{rows}

Allowed from the largest pool are {seconds:g} s of the processor and {gigabytes:g} GB; the slowest
took {slowest:.1f} s, {clock:.1f} s by the clock, and the largest {largest:.2f} GB: **{verdict}**.
The exponent is that of the pool in the
processor time between the smallest and the largest pool; 1 is linear, up to {exponent:g} allowed:
**{linear}**.
"""


def uniform(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, WIDTH))


def curved(count: int, seed: int) -> np.ndarray:
    """Return points near a sheet of few dimensions, with an offset, as features of frames are."""
    shape, points = np.random.default_rng(99), np.random.default_rng(seed)
    directions = 0.3 * shape.standard_normal((12, WIDTH))
    centres = 0.6 * shape.standard_normal((20, WIDTH))
    sizes = np.repeat([3.0, 2.0, 1.0, 0.5, 0.2], [1, 2, 3, 3, 3])
    features = np.empty((count, WIDTH))
    for rows in np.array_split(np.arange(count), max(1, count // 5000)):
        along = points.standard_normal((len(rows), 12)) * sizes
        place = centres[points.integers(0, 20, len(rows))]
        noise = 0.01 * points.standard_normal((len(rows), WIDTH))
        features[rows] = 2.0 + np.tanh(along @ directions + place) + noise
    return features


FEATURES: dict[str, Callable[[int, int], np.ndarray]] = {"uniform": uniform, "curved": curved}


def measure(features: str, method: str, pool: int, size: int) -> dict[str, Any]:
    """Choose once; called in a process of its own."""
    from uncv.selection import select

    rows, labelled = FEATURES[features](pool, 1), FEATURES[features](LABELLED, 2)
    begun, busy = time.perf_counter(), time.process_time()
    chosen = select(rows, labelled, size, method)
    seconds, busy = time.perf_counter() - begun, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    vector = rows[0].copy()
    products = []
    for _ in range(5):
        begun = time.process_time()
        rows @ vector
        products.append(time.process_time() - begun)
    return {
        "features": features,
        "method": method,
        "pool": pool,
        "seconds": seconds,
        "processor_seconds": busy,
        "gigabytes": peak,
        "of_plain_products": busy / (size * float(np.median(products))),
        "distinct": len(np.unique(chosen)),
    }


def measure_all(pools: tuple[int, ...], size: int, threads: int, *, quiet: bool) -> list[dict]:
    """Return every case, each from a process of its own."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    surroundings = {**os.environ, **dict.fromkeys(names, str(threads))}
    found = []
    for case in ((f, m, p) for f in FEATURES for m in METHODS for p in pools):
        command = [sys.executable, __file__, "--only", json.dumps([*case, size])]
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, env=surroundings
        )
        found.append(json.loads(done.stdout))
        if not quiet:
            row = found[-1]
            print(
                f"{row['features']:8s} {row['method']:15s} {row['pool']:7d} "
                f"{row['seconds']:6.1f} s ({row['processor_seconds']:.1f} s of the processor) "
                f"{row['gigabytes']:.2f} GB "
                f"{row['of_plain_products']:.2f} of plain products",
                flush=True,
            )
    return found


def exponents(rows: list[dict]) -> dict[str, float]:
    """Return d log(time) / d log(pool) between the smallest and the largest pool."""
    found = {}
    for row in rows:
        name = f"{row['features']}, {row['method']}"
        own = [r for r in rows if all(r[k] == row[k] for k in KEYS[:2])]
        ratio = own[-1]["processor_seconds"] / own[0]["processor_seconds"]
        found[name] = float(np.log(ratio) / np.log(own[-1]["pool"] / own[0]["pool"]))
    return found


def is_met(rows: list[dict], size: int) -> bool:
    """Return whether all stayed within the limits and chose as many frames as they should."""
    return all(
        r["processor_seconds"] <= SECONDS and r["gigabytes"] <= GIGABYTES and r["distinct"] == size
        for r in rows
    )


def page(result: dict[str, Any]) -> str:
    """Return the page as Markdown."""
    rows, pools = result["cases"], result["pools"]
    lines = []
    for name, exponent in result["exponents"].items():
        features, method = name.split(", ")
        own = [r for r in rows if (r["features"], r["method"]) == (features, method)]
        times = " | ".join(f"{r['processor_seconds']:.1f} ({r['seconds']:.1f})" for r in own)
        lines.append(
            f"| {features} | `{method}` | {times} | {exponent:.2f} | "
            f"{own[-1]['gigabytes']:.2f} | {own[-1]['of_plain_products']:.2f} |"
        )
    largest = [r for r in rows if r["pool"] == pools[-1]]
    slowest = max(largest, key=lambda r: r["processor_seconds"])
    linear = all(e <= EXPONENT for e in result["exponents"].values())
    text = PAGE.format(
        **{k: result[k] for k in ("cores", "threads", "load")},
        size=f"{result['size']:,}",
        width=WIDTH,
        labelled=f"{LABELLED:,}",
        pool_gb=pools[-1] * WIDTH * 8 / 1024**3,
        pools=" | ".join(f"{p:,}" for p in pools),
        rule="---|" * len(pools),
        rows="\n".join(lines),
        seconds=SECONDS,
        gigabytes=GIGABYTES,
        slowest=slowest["processor_seconds"],
        clock=slowest["seconds"],
        largest=max(r["gigabytes"] for r in largest),
        verdict="met" if result["met"] else "not met",
        exponent=EXPONENT,
        linear="met" if linear else "not met",
    )
    parts = text.rstrip().split("\n\n")
    return "\n\n".join(p if p[0] in "#|" else fill(p, 100) for p in parts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--report", type=Path, help="folder for selection.md and selection.json")
    parser.add_argument("--quick", action="store_true", help="small pools, to see that it runs")
    parser.add_argument("--threads", type=int, default=1, help="of the matrix products")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only is not None:
        print(json.dumps(measure(*json.loads(options.only))))
        return 0
    pools, size = ((500, 1000), 50) if options.quick else (POOLS, SIZE)
    load = os.getloadavg()[0]
    cases = measure_all(pools, size, options.threads, quiet=options.json)
    result = {
        "cores": os.cpu_count(), "threads": options.threads, "load": load, "pools": pools,
        "size": size, "cases": cases, "exponents": exponents(cases), "met": is_met(cases, size),
    }  # fmt: skip
    if options.json:
        print(json.dumps(result, indent=1))
    if options.report is not None:
        options.report.mkdir(parents=True, exist_ok=True)
        (options.report / "selection.json").write_text(json.dumps(result, indent=1) + "\n")
        (options.report / "selection.md").write_text(page(result))
    return 0 if result["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
