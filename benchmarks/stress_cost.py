"""Cost of a step of a crystal with stress: what a bias adds to the forces and the stress.

The 76-atom cell of MIL-53(Al) (found by UNCV_DATA), networks of 32 and 24 as in its campaigns. A
step is energy, u, forces and stress: without a bias; with V(u), whose force and stress come with
those of the energy; and with the adaptive bias, which needs both gradients apart.

    python benchmarks/stress_cost.py [--turns 60] [--report docs/benchmarks] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from step_cost_systems import fitted, structure
from step_cost_turns import processor_ratio, ratio, repeated, take_turns

import uncv
from uncv.models import AniPotential, AniSettings
from uncv.step import FusedStep
from uncv.uncertainty import UncertaintyBase

TARGET = 1.25
STEPS = 5
UNCERTAINTIES: dict[str, UncertaintyBase] = {
    "posterior of gradient features": uncv.GradientUncertainty(),
    "spread of four energies": uncv.EnsembleUncertainty(),
}


class Crystal:
    """Steps of the cell, on positions that tremble."""

    def __init__(self, uncertainty: UncertaintyBase) -> None:
        frame = structure(76)
        elements = tuple(sorted(set(frame.numbers[0].tolist())))
        hidden = ((32, 24),) * len(elements)
        potential = AniPotential(AniSettings(elements, 4, hidden, scale=0.01))
        for network in potential.networks:
            network.initialise(torch.Generator().manual_seed(0))
        cv = fitted(uncertainty, potential.requires_grad_(False), frame)
        self.step = FusedStep(cv, frame.numbers[0], periodic=True)
        self.cell = frame.cell[0]
        noise = np.random.default_rng(0).normal(size=(8, *frame.positions.shape))
        self.positions = list(frame.positions + 0.01 * noise)
        self.turn = 0

    def forward(self) -> None:
        """Evaluate energy and u."""
        self.turn += 1
        self.step.forward(self.positions[self.turn % 8], self.cell, stress=True)

    def unbiased(self) -> None:
        """Add the forces and the stress of the energy."""
        self.forward()
        self.step.derivatives(np.zeros(1), np.ones(1))

    def conservative(self) -> None:
        """Add those of E + V(u), one product."""
        self.forward()
        self.step.derivatives(np.full(1, -0.5), np.ones(1))

    def adaptive(self) -> None:
        """Add both gradients apart."""
        self.forward()
        self.step.gradients_apart()


def measure(uncertainty: UncertaintyBase, turns: int) -> dict[str, float]:
    """Return milliseconds and ratios."""
    crystal = Crystal(uncertainty)
    kinds = {"unbiased": crystal.unbiased, "V(u)": crystal.conservative}
    kinds["adaptive"] = crystal.adaptive
    times = take_turns({name: repeated(call, STEPS) for name, call in kinds.items()}, turns)
    found = {f"{name}, ms": t.milliseconds for name, t in times.items()}
    for name in ("V(u)", "adaptive"):
        found[f"{name} / unbiased"] = ratio(times[name], times["unbiased"])
        found[f"{name} / unbiased, processor"] = processor_ratio(times[name], times["unbiased"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=60, help="turns that count")
    parser.add_argument("--report", type=Path, help="folder for the page and its JSON")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = {name: measure(u, options.turns) for name, u in UNCERTAINTIES.items()}
    if options.json:
        print(json.dumps(rows))
    else:
        print(table(rows))
    if options.report:
        write_page(options.report, rows)


def table(rows: dict[str, dict[str, float]]) -> str:
    columns = list(next(iter(rows.values())))
    lines = ["| u | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(f"{v:.2f}" for v in row.values()) + " |")
    return "\n".join(lines)


def write_page(folder: Path, rows: dict[str, dict[str, float]]) -> None:
    about: dict[str, Any] = {"machine": platform.machine(), "cores": os.cpu_count()}
    about |= {"python": platform.python_version(), "torch": version("torch")}
    says = " ".join(__doc__.split("\n\n")[1].split())
    text = (
        "# A step of a crystal with stress\n\n"
        "Written by `python benchmarks/stress_cost.py --report docs/benchmarks` on "
        f"{about['cores']} cores of {about['machine']}, one thread, torch "
        f"{about['torch']}.\n\n{says}\n\n{table(rows)}\n\nMedians of turns of {STEPS} steps; "
        "ratios of neighbouring turns, by the clock and by the processor. The aim was at most "
        f"{TARGET}.\n"
    )
    (folder / "stress_cost.md").write_text(text, encoding="utf-8")
    found = json.dumps({"about": about, "rows": rows}, indent=1)
    (folder / "stress_cost.json").write_text(found, encoding="utf-8")


if __name__ == "__main__":
    main()
