"""An active-learning campaign from Python: run it, read what it found, and continue it.

    python 11_campaign.py

You learn CampaignConfig, learn and status. A campaign on alanine dipeptide with AMBER labels trains
a small ensemble, lets walkers run to where it is uncertain, labels what they found, and begins
again until 32 labels are spent. Then the budget rises to 48 and the same call goes on where it
stopped; so it does after Ctrl-C or a kill. Printed are the rounds, the labels by the round that
bought them, and what the final model says. For a campaign of your own change SETTINGS: the
structure, the oracle (xtb, pyscf, ase, command), and the size of everything
(`uncv config template` explains each key).

It takes a minute and a half; with UNCV_QUICK=1, seconds.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

import uncv

QUICK = os.environ.get("UNCV_QUICK") == "1"
LABELS = (12, 16) if QUICK else (32, 48)  # of the first call, of the second
SETTINGS = {
    "system": {"structure": "alanine_dipeptide"},
    "oracle": {"kind": "openmm_forcefield"},
    "potential": {
        "members": 3,
        "hidden": [32, 32],
        "epochs": 40 if QUICK else 60,
        "epochs_warm": 20,
    },
    "uncertainty": {"kind": "ensemble", "of": "energy"},
    "bias": {"kind": "udd"},
    "sampling": {"walkers": 4, "steps_per_round": 40 if QUICK else 300, "stride": 10},
    "selection": {"method": "max_det", "batch_size": 4 if QUICK else 8},
    "seed": 0,
}


def run_to(labels: int, folder: Path) -> None:
    """Run or continue the campaign, and print its rounds."""
    budget = {"labels": labels, "initial_labels": 8 if QUICK else 16}
    config = uncv.CampaignConfig(**SETTINGS, budget=budget)
    result = uncv.learn(config, folder)
    steps = result.walker_steps
    print(f"{result.labels} labels, {result.rounds} rounds, {steps} steps; ended: {result.reason}")
    print("round  labels  F RMSE of valid (eV/Å)  mean u (eV)  coverage")
    for one in uncv.status.status(result.directory).rounds:
        values = (one.valid.force_rmse_ev_per_angstrom, one.mean_uncertainty, one.coverage)
        force, mean, covered = ("–" if v is None else f"{v:.3f}" for v in values)
        print(f"{one.number:5d}  {one.labels:6d}  {force:>22s}  {mean:>11s}  {covered:>8s}")


def read(folder: Path) -> None:
    """Print what the run directory tells in the end."""
    labelled = uncv.read(folder / "labelled.extxyz")
    for number in np.unique(labelled.info["round"]):
        of_round = labelled.info["round"] == number
        spread = labelled.energy[of_round]
        print(
            f"round {number} bought {of_round.sum()} labels, energies from "
            f"{spread.min() - labelled.energy.min():.2f} to "
            f"{spread.max() - labelled.energy.min():.2f} eV above the lowest"
        )
    candidates = uncv.read(folder / "candidates.extxyz")
    cv = uncv.UncertaintyCV.load(folder / "final.uncv")
    u = cv.evaluate(candidates).uncertainty
    print(f"{len(candidates)} stored frames by the final model: u from {u.min():.3f}", end=" ")
    print(f"to {u.max():.3f} eV; the most uncertain one is frame {u.argmax()}")


def main(out: Path) -> None:
    """Run, continue, read."""
    folder = out / "run"
    for labels in LABELS:
        run_to(labels, folder)
    read(folder)
    print(f"more: uncv status {folder}, uncv report {folder}, uncv export-data {folder} --out data")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("campaign"), help="folder for files")
    main(parser.parse_args().out)
