"""Which networks learn most from 340 frames: descriptors, sizes, losses, decay, one at a time.

Frames of AMBER dynamics of alanine dipeptide at 1200 K, as the test set of
`alanine_dipeptide.py`: 340 drawn for training, 20 of which choose the best epoch, and 1,000 others
for the test. Every variant trains one member for 60 epochs where it does not say otherwise; the
last rows are ensembles of four.

    python benchmarks/alanine_dipeptide_potential.py --out FOLDER [--report docs/benchmarks]

A variant that is in the folder is not repeated; some 45 seconds each on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from alanine_dipeptide_page import PEPTIDE

import uncv
from uncv.analysis import dihedrals
from uncv.data import Dataset
from uncv.models import AevSettings
from uncv.reference import ReferenceSettings, reference_md
from uncv.training import TrainSettings, train

QUICK = os.environ.get("UNCV_QUICK") == "1"
FORCE_FIELD = ("amber14/protein.ff14SB.xml",)
TRAINING, HELD_OUT, TEST = (12, 0.1, 10) if QUICK else (340, 20 / 340, 1000)
BASE = TrainSettings(members=1, epochs=1 if QUICK else 60, valid_fraction=HELD_OUT)
SMOOTH = AevSettings.evenly(angular_eta=4.0, zeta=16.0)
DECAY = replace(BASE, descriptor=SMOOTH, weight_decay=0.05)
LONG = replace(DECAY, epochs=2 if QUICK else 200, patience=200)
VARIANTS: dict[str, TrainSettings] = {
    "as ANI-1x: η 16 and 8, ζ 32, 5.2 and 3.5 Å": BASE,
    "fine-tuned ANI-1x": replace(BASE, start="ani1x"),
    "largest learning rate 0.003, not 0.01": replace(BASE, learning_rate=0.003),
    "largest learning rate 0.03": replace(BASE, learning_rate=0.03),
    "energy weight 1, not 20": replace(BASE, energy_weight=1.0),
    "energy weight 60": replace(BASE, energy_weight=60.0),
    "radial η 32": replace(BASE, descriptor=AevSettings.evenly(radial_eta=32.0)),
    "radial η 6": replace(BASE, descriptor=AevSettings.evenly(radial_eta=6.0)),
    "radial cutoff 7 Å, 24 functions": replace(BASE, descriptor=AevSettings.evenly(7.0, radial=24)),
    "angular cutoff 4.5 Å, 6 functions": replace(
        BASE, descriptor=AevSettings.evenly(angular_cutoff=4.5, angular=6)
    ),
    "angular η 16": replace(BASE, descriptor=AevSettings.evenly(angular_eta=16.0)),
    "angular η 4": replace(BASE, descriptor=AevSettings.evenly(angular_eta=4.0)),
    "angular η 4, ζ 16": replace(BASE, descriptor=SMOOTH),
    "the same, hidden layers 32, 24": replace(BASE, descriptor=SMOOTH, hidden=(32, 24)),
    "the same, hidden layers 128, 64": replace(BASE, descriptor=SMOOTH, hidden=(128, 64)),
    "angular η 4, ζ 16, weight decay 0.01, not 0.0001": replace(DECAY, weight_decay=0.01),
    "the same, weight decay 0.05": DECAY,
    "the same, weight decay 0.2": replace(DECAY, weight_decay=0.2),
    "weight decay 0.05, four frames a step": replace(DECAY, batch_size=4),
    "weight decay 0.05, 200 epochs": LONG,
    "weight decay 0.05, four members": replace(DECAY, members=4),
    "weight decay 0.05, four members, 200 epochs": replace(LONG, members=4),
}
WRITTEN = """\
Written by `python benchmarks/alanine_dipeptide_potential.py --out FOLDER --report docs/benchmarks`
on one core ({machine}; Python {python}, torch {torch}). {says}
"""
PAGE = """\
# Alanine dipeptide: which networks learn most from few frames

{written}

| variant | energy, meV/atom | forces, eV/Å | training frames: forces | s |
|---|---|---|---|---|
{rows}

One seed each, so that small differences mean nothing. At this temperature the molecule isomerises:
{cis:.0%} of the test frames have a peptide bond turned by more than 90°.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for frames and figures")
    parser.add_argument("--report", type=Path, help="folder for the page and its JSON")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    training, test = frames(options.out)
    path = options.out / "potential.json"
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name, settings in VARIANTS.items():
        if name not in rows:
            rows[name] = judged(settings, training, test)
            path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        print(name, rows[name], flush=True)
    if options.report:
        turned = np.abs(dihedrals(test, PEPTIDE)) < np.pi / 2
        cis = float(turned.any(axis=1).mean())
        write_page(options.report, {name: rows[name] for name in VARIANTS}, cis)
    return 0


def frames(out: Path) -> tuple[Dataset, Dataset]:
    """Return labelled frames for training and test, made if they are not there."""
    path = out / "hot.npz"
    if not path.exists():
        topology, start = uncv.structures.alanine_dipeptide()
        settings = ReferenceSettings(
            1200.0, frames=TRAINING + TEST, stride=10 if QUICK else 250, equilibration=2000
        )
        uncv.write(path, reference_md(topology, FORCE_FIELD, start, settings, seed=1))
    found = uncv.read(path)
    order = np.random.default_rng(0).permutation(len(found))
    return found[np.sort(order[:TRAINING])], found[np.sort(order[TRAINING:])]


def judged(settings: TrainSettings, training: Dataset, test: Dataset) -> dict[str, float]:
    """Return the errors of one variant, and the processor's seconds of its training."""
    begun = time.process_time()
    potential = train(training, settings, seed=0)
    seconds = time.process_time() - begun
    seen = uncv.evaluation.errors(potential, training)
    return {
        **uncv.evaluation.errors(potential, test)._asdict(),
        "training_force_rmse": seen.force_rmse_ev_per_angstrom,
        "seconds": round(seconds, 1),
    }


def write_page(folder: Path, rows: dict[str, dict[str, Any]], cis: float) -> None:
    """Write the table of all variants, and the share of test frames with a turned peptide bond."""
    lines = [
        f"| {name} | {row['energy_rmse_mev_per_atom']:.2f} | "
        f"{row['force_rmse_ev_per_angstrom']:.3f} | {row['training_force_rmse']:.3f} | "
        f"{row['seconds']:.0f} |"
        for name, row in rows.items()
    ]
    about = {
        "machine": platform.machine(), "python": platform.python_version(),
        "torch": version("torch"), "cis": cis,
    }  # fmt: skip
    says = " ".join(__doc__.split("\n\n")[1].split()).replace("`", "")
    written = fill(WRITTEN.format(**about, says=says), 100)
    text = PAGE.format(written=written, cis=cis, rows="\n".join(lines))
    (folder / "alanine_dipeptide_potential.md").write_text(text, encoding="utf-8")
    found = json.dumps({"about": about, "variants": rows}, indent=1)
    (folder / "alanine_dipeptide_potential.json").write_text(found, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
