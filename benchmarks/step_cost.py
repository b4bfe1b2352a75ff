"""Cost of one step of alanine dipeptide with the eight members of ANI-1x, as ratios in one run.

    python benchmarks/step_cost.py [--json] [--repeats 200]

The contenders take turns, so that a machine whose speed drifts treats them alike; the figures are
medians of the ratios of neighbouring turns.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch

import uncv
from uncv.bias import LinearBias
from uncv.step import FusedStep
from uncv.structures import alanine_dipeptide

STRENGTH = 0.5
WALKERS = 8
TARGETS = {"biased / unbiased": ("<=", 1.20), "TorchANI / biased": (">=", 3.0),
           "8 x one walker / 8 walkers": (">=", 3.0)}  # fmt: skip


def torchani_ensemble(numbers: np.ndarray) -> Callable[[np.ndarray], None]:
    """Return energy and forces of TorchANI's own ensemble, as its users call it."""
    from uncv.models.pretrained import _resources

    folder = _resources()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torchani
        from torchani.neurochem import Constants, load_model_ensemble

        constants = Constants(str(folder / "rHCNO-5.2R_16-3.5A_a4-8.params"))
        aev = torchani.AEVComputer(**constants)
        ensemble = load_model_ensemble(constants.species, str(folder / "train"), 8)
    model = torch.nn.Sequential(aev, ensemble).requires_grad_(False)
    species = torch.tensor([[{1: 0, 6: 1, 7: 2, 8: 3}[int(z)] for z in numbers]])

    def step(positions: np.ndarray) -> None:
        x = torch.tensor(positions, dtype=torch.float32, requires_grad=True)
        torch.autograd.grad(model((species, x)).energies.sum(), x)

    return step


def fused(step: FusedStep, bias: LinearBias | None) -> Callable[[np.ndarray], None]:
    """Return a step of ours: energy, u, forces of E + V(u)."""

    def run(positions: np.ndarray) -> None:
        values = step.forward(positions)
        slope = np.zeros(len(positions))
        if bias is not None:
            _, derivative = bias.energy_and_slope(torch.from_numpy(values.uncertainty))
            slope = derivative.numpy()
        step.forces(slope, np.ones(len(positions)))

    return run


def measure(repeats: int) -> dict[str, float]:
    """Return the ratios and the milliseconds behind them."""
    _, data = alanine_dipeptide()
    numbers = data.numbers[0]
    cv = uncv.UncertaintyCV(uncv.load_potential("ani1x"), uncv.EnsembleUncertainty(of="energy"))
    one, many = FusedStep(cv, numbers), FusedStep(cv, numbers, WALKERS)
    bias = LinearBias(STRENGTH)
    runs = {
        "torchani": torchani_ensemble(numbers),
        "unbiased": fused(one, None),
        "biased": fused(one, bias),
        "walkers": fused(many, bias),
    }
    noise = np.random.default_rng(0)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 10):
        wobble = noise.normal(scale=0.01, size=(WALKERS, len(numbers), 3))
        for name, run in runs.items():
            x = data.positions + wobble[: WALKERS if name == "walkers" else 1]
            begun = time.perf_counter()
            run(x)
            if turn >= 10:
                times[name].append(time.perf_counter() - begun)
    t = {name: np.array(values) for name, values in times.items()}
    return {
        "biased / unbiased": float(np.median(t["biased"] / t["unbiased"])),
        "TorchANI / biased": float(np.median(t["torchani"] / t["biased"])),
        "8 x one walker / 8 walkers": float(np.median(WALKERS * t["biased"] / t["walkers"])),
        **{f"{name} ms": float(np.median(v) * 1e3) for name, v in t.items()},
    }


def main() -> None:
    """Print the table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--repeats", type=int, default=200, help="turns that count")
    options = parser.parse_args()
    found = measure(options.repeats)
    about = {"torch": torch.__version__, "threads": torch.get_num_threads(),
             "machine": platform.processor() or platform.machine()}  # fmt: skip
    if options.json:
        json.dump({"figures": found, "about": about}, sys.stdout, indent=2)
        return
    print(f"alanine dipeptide, 22 atoms, ANI-1x, 8 members; {about}")
    for name, value in found.items():
        sign, target = TARGETS.get(name, ("", 0.0))
        print(f"{name:32s} {value:8.2f}   {f'target {sign} {target}' if sign else ''}")


if __name__ == "__main__":
    main()
