"""Cost of a step: where it goes, how far it is from the machine's limit, and beside its peers.

    python benchmarks/step_cost.py [--json] [--report docs/benchmarks] [--apax FOLDER]
        [--threads 1 2] [--repeats 100] [--parts figures profile limit scaling peers] [--quick]

Contenders take turns, so that a machine whose speed drifts treats them alike; ratios are medians of
those of neighbouring turns. With ``--apax`` the peers include apax, which runs in an environment of
its own in that folder, made by pip at the first use. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
import warnings
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from step_cost_apax_process import Apax, ApaxError, environment
from step_cost_cuda import cuda
from step_cost_limit import limit
from step_cost_page import write_page
from step_cost_peers import peers, torchani_call
from step_cost_profile import profile
from step_cost_scaling import scaling
from step_cost_stepper import Stepper
from step_cost_systems import structure
from step_cost_targets import targets
from step_cost_turns import processor_ratio, ratio, repeated, take_turns

STEPS = 4
"""Of a turn of the figures."""
QUICK_STEPS = 24
"""Of a turn of those that take few milliseconds, so that it does not matter who ran before."""
PARTS = ("figures", "profile", "limit", "scaling", "peers")


def figures(threads: int, turns: int, many: tuple[int, ...] = (8, 64)) -> dict[str, float]:
    """Return ratios of steps of 22 atoms, by the clock and by the processor, and milliseconds."""
    torch.set_num_threads(threads)
    frame = structure(22)
    call = torchani_call(frame.numbers[0])
    runs = {
        "torchani": repeated(lambda: call(frame.positions), STEPS),
        "unbiased": repeated(Stepper(22, 1, slope=0.0), QUICK_STEPS),
        "biased": repeated(Stepper(22, 1), QUICK_STEPS),
        **{f"{w} walkers": repeated(Stepper(22, w), STEPS) for w in many},
    }
    times = take_turns(runs, turns, warm=3)
    found = {}
    for end, over in (("", ratio), (", processor time", processor_ratio)):
        found[f"biased / unbiased{end}"] = over(times["biased"], times["unbiased"])
        found[f"TorchANI / biased{end}"] = over(times["torchani"], times["biased"])
        for w in many:
            quicker = w * over(times["biased"], times[f"{w} walkers"])
            found[f"{w} x one walker / {w} walkers{end}"] = quicker
    return found | {f"{name} ms": t.milliseconds for name, t in times.items()}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return everything that was asked for."""
    quick, turns, begun = options.quick, options.repeats, time.perf_counter()
    found: dict[str, Any] = {"about": about(options)} | _before(options)
    if "figures" in options.parts:
        many = (2,) if quick else (8, 64)
        by_threads = {str(n): figures(n, max(2, turns // 2), many) for n in options.threads}
        found |= {"figures": by_threads[str(options.threads[-1])], "figures_by_threads": by_threads}
    if "profile" in options.parts:
        with TemporaryDirectory() as folder:
            found["profile"] = profile(
                Path(folder), turns=max(2, turns // 20), seconds=0.2 if not quick else 0.01,
                quick=quick,
            )  # fmt: skip
        found["cuda"] = cuda(quick=quick)
    if "limit" in options.parts:
        cases = {"cases": ((22, 1), (22, 2))} if quick else {}
        found["limit"] = [limit(n, max(2, turns // 5), **cases) for n in options.threads]
    if "scaling" in options.parts:
        sizes = {"sizes": (40,)} if quick else {}
        shape = (1, 2) if quick else (max(2, turns // 12), 8)
        found["scaling"] = [scaling(n, *shape, **sizes) for n in options.threads]
    if "peers" in options.parts:
        found |= beside_peers(options)
    if "minutes" not in found["about"]:
        found["about"]["minutes"] = (time.perf_counter() - begun) / 60
    found["targets"] = [target._asdict() for target in targets(found)]
    return found


def _before(options: argparse.Namespace) -> dict[str, Any]:
    """Return what an earlier run has written, if this one measures some parts only."""
    if options.report is None or set(options.parts) == set(PARTS):
        return {}
    path = options.report / "step_cost.json"
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    found["about"]["again"] = sorted(options.parts)
    return found


def beside_peers(options: argparse.Namespace) -> dict[str, Any]:
    """Return the peers' rows for each number of threads, and what apax's model is."""
    found: list[dict[str, Any]] = []
    apax: dict[str, Any] = {"skipped": "no folder was given (--apax FOLDER)"}
    turns, steps = (1, 10) if options.quick else (max(2, options.repeats // 8), 10)
    for threads in options.threads:
        with ExitStack() as stack:
            contenders = {}
            if options.apax is not None:
                try:
                    python = environment(options.apax)
                    worker = stack.enter_context(Apax(python, structure(22), 8, threads))
                    contenders, apax = worker.contenders(steps), worker.about
                except ApaxError as error:
                    apax = {"skipped": str(error)}
            found.append(peers(contenders, threads, turns, steps))
    if "skipped" in apax:
        print(f"without apax: {apax['skipped']}", file=sys.stderr)
    return {"peers": found, "apax": apax}


def about(options: argparse.Namespace) -> dict[str, Any]:
    """Return the machine, the versions and the command."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((x.split(": ")[1] for x in lines if x.startswith("model name")), cpu)
    names = ("uncv", "torch", "openmm", "openmmtorch", "torchani", "ase", "numpy")
    return {
        "machine": f"{cpu}, {platform.machine()}",
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "date": datetime.now(UTC).date().isoformat(),
        "threads": list(options.threads),
        "repeats": options.repeats,
        "versions": {name: version(name) for name in names},
    }


def arguments() -> argparse.Namespace:
    """Return the command line."""
    quick = os.environ.get("UNCV_QUICK") == "1"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--report", type=Path, help="folder for step_cost.md, .json and .png")
    parser.add_argument("--repeats", type=int, default=2 if quick else 100, help="turns that count")
    parser.add_argument("--threads", type=int, nargs="+", default=[1] if quick else [1, 2])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--apax", type=Path, help="folder of an environment for apax")
    parser.add_argument("--quick", action="store_true", default=quick, help="see that it runs")
    return parser.parse_args()


def main() -> int:
    """Measure, print, and write the report."""
    options = arguments()
    warnings.simplefilter("ignore", UserWarning)
    found = measure(options)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        for target in found["targets"]:
            print(f"{target['name']}: {target['value']:.3g} (target {target['goal']})")
    if options.report is not None:
        write_page(found, options.report)
    return 0 if all(target["met"] for target in found["targets"]) or options.quick else 1


if __name__ == "__main__":
    sys.exit(main())
