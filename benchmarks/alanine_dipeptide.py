"""Sampling of alanine dipeptide: what each way to drive a campaign finds and learns.

The protocol of Zaverkin et al., npj Comput. Mater. 10, 83 (2024): alanine dipeptide in vacuum,
labelled by AMBER; eight start structures displaced by 0.02 Å, eight walkers at 0.5 fs, eight labels
a round. Coverage is that of (φ, ψ) by the frames stored every 25 steps, errors are those on 2,000
frames of AMBER dynamics at 1200 K. Each method of `alanine_dipeptide_methods.py` is a campaign of
its own.

    python benchmarks/alanine_dipeptide.py --out alanine_dipeptide [--methods adaptive ...]
        [--seeds 0 1] [--labels 96 160 256 340] [--report docs/benchmarks] [--json]
    python benchmarks/alanine_dipeptide.py --list

A campaign that is in the folder is not repeated, one that was interrupted or has fewer labels than
wanted goes on. At each number of labels new networks are trained on all of them. The page is about
all campaigns in the folder, and repeats what a file notes.md there says of how they were run. With
UNCV_QUICK=1 everything is tiny, and gives no figures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from alanine_dipeptide_attack import attack_campaign
from alanine_dipeptide_figures import figures_of
from alanine_dipeptide_methods import DEVIATIONS, METHODS, QUICK, sections_of
from alanine_dipeptide_page import write_page

import uncv
from uncv.learning import learn
from uncv.reference import ReferenceSettings, reference_md

LABELS = (10, 12) if QUICK else (96, 160, 256, 340)
FORCE_FIELD = ("amber14/protein.ff14SB.xml",)
TEST = ReferenceSettings(temperature=1200.0, frames=2000, stride=250)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("alanine_dipeptide"))
    parser.add_argument("--list", action="store_true", help="say what each method is, and end")
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--labels", nargs="+", type=int, default=list(LABELS))
    parser.add_argument("--report", type=Path, help="folder for the page, its figure and JSON")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.list:
        print("\n".join(f"{name:24s} {method.says}" for name, method in METHODS.items()))
        return 0
    if not options.json:
        print("Other than published:\n" + "\n".join(f"- {line}" for line in DEVIATIONS))
    test = test_set(options.out)
    rows = [
        row
        for seed in options.seeds
        for method in options.methods
        for row in run(method, seed, sorted(options.labels), test, options)
    ]
    if options.json:
        print(json.dumps(rows))
    if options.report:
        write_page(options.report, options.out)
    return 0


def test_set(out: Path) -> Path:
    """Return the file of the hot test set, made if it is not there."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "test.npz"
    if not path.exists():
        topology, start = uncv.structures.alanine_dipeptide()
        settings = ReferenceSettings(1200.0, frames=40, stride=10) if QUICK else TEST
        uncv.write(path, reference_md(topology, FORCE_FIELD, start, settings, seed=0))
    return path


def run(
    method: str, seed: int, labels: list[int], test: Path, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Return the figures of one campaign at each number of labels."""
    directory = options.out / f"{method}_seed_{seed}"
    rows = []
    for number in labels:
        path = options.out / f"{method}_seed_{seed}_labels_{number}.json"
        if not path.exists():
            if METHODS[method].attack:
                attack_campaign(method, seed, number, directory)
            else:
                learn(sections_of(method, seed, number, options.out), directory)
            dynamics = not METHODS[method].attack
            figures = figures_of(directory, number, test, dynamics=dynamics)
            found = {"method": method, "seed": seed, **figures}
            path.write_text(json.dumps(found, indent=1), encoding="utf-8")
        rows.append(json.loads(path.read_text(encoding="utf-8")))
        if not options.json:
            print(line_of(rows[-1]), flush=True)
    return rows


def line_of(row: dict[str, Any]) -> str:
    spent = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in row["seconds"].items())
    spent += (
        f" (a round {row['longest_training']:.0f} s at most, anew {row['last_training']:.0f} s)"
    )
    return (
        f"{row['method']}, seed {row['seed']}, {row['labels']} labels: coverage "
        f"{row['coverage']:.2f} by {row['frames']} frames, "
        f"{row['energy_rmse_mev_per_atom']:.2f} meV/atom, "
        f"{row['force_rmse_ev_per_angstrom']:.3f} eV/Å, {row['stops']} stops; {spent}"
    )


if __name__ == "__main__":
    if os.environ.get("UNCV_QUICK") == "1":
        print("UNCV_QUICK=1: no figures", file=sys.stderr)
    sys.exit(main())
