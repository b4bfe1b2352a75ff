"""What drives a campaign: biases of u, metadynamics on u, and temperature, at equal labels.

Alanine dipeptide in vacuum, labelled by AMBER, as in `uncv demo`: four members from ANI-1x, 160
labels, 57,600 steps of 8 walkers in 6 rounds. Coverage is that of (φ, ψ) by all frames stored at
the stride; errors are those of the final potential on AMBER dynamics at 1200 K.

    python benchmarks/campaign_biases.py --out campaign_biases [--methods udd linear] [--seeds 0 1]
        [--report docs/benchmarks] [--json]

A campaign that is in the folder is not repeated, one that was interrupted goes on; three minutes
each on one core. With UNCV_QUICK=1 everything is tiny, and gives no figures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

import uncv
from uncv.config import make_config
from uncv.data import Dataset
from uncv.demo.settings import DemoSettings, demo_settings
from uncv.journal import Journal
from uncv.learning import learn
from uncv.learning.setup import make_setup
from uncv.reference import reference_md

PLUMED = """\
# Well-tempered metadynamics on the uncertainty (kJ/mol); the walkers share their hills.
u: EXTRACV NAME=uncertainty
METAD ...
  LABEL=metad ARG=u SIGMA=0.5 HEIGHT=0.3 PACE=50 BIASFACTOR=20 TEMP=300
  WALKERS_N={walkers} WALKERS_RSTRIDE=100
... METAD
PRINT ARG=u,metad.bias STRIDE=25 FILE=COLVAR
"""
METHODS: dict[str, dict[str, Any]] = {
    "unbiased 300 K": {"bias": {"kind": "none"}},
    "unbiased 600 K": {"bias": {"kind": "none"}, "sampling": {"temperature_k": 600.0}},
    "unbiased 1200 K": {
        "bias": {"kind": "none"},
        "sampling": {"temperature_k": 1200.0, "timestep_fs": 0.75},
    },
    "linear": {"bias": {"kind": "linear", "strength": 3.0}},
    "udd": {"bias": {"kind": "udd"}},
    "adaptive": {"bias": {"kind": "adaptive", "strength": 0.25}},
    "metadynamics": {"bias": {"kind": "none"}, "sampling": {"plumed": "plumed.dat"}},
}
COLUMNS = ("coverage", "energy_rmse_mev_per_atom", "force_rmse_ev_per_angstrom", "stops", "seconds")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("campaign_biases"))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--report", type=Path, help="folder for campaign_biases.md and .json")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    settings = demo_settings()
    test = test_set(settings, options.out)
    rows = []
    for seed in options.seeds:
        for method in options.methods:
            rows.append(run(method, seed, settings, test, options.out))
            if not options.json:
                print(rows[-1], flush=True)
    if options.json:
        print(json.dumps(rows))
    if options.report:
        write_report(options.report, rows)
    return 0


def test_set(settings: DemoSettings, out: Path) -> Path:
    """Return the file of the hot test set, made if it is not there."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "test.npz"
    if not path.exists():
        config = settings.config("unbiased", 0)
        setup = make_setup(config)
        files = ("amber14/protein.ff14SB.xml",)
        frames = reference_md(setup.topology, files, setup.start, settings.reference, seed=0)
        uncv.write(path, frames[len(frames) // 2 :])
    return path


def run(method: str, seed: int, settings: DemoSettings, test: Path, out: Path) -> dict[str, Any]:
    """Return the figures of one campaign."""
    sections: dict[str, Any] = {**settings.campaign, **METHODS[method], "seed": seed}
    sampling = {**settings.campaign["sampling"], **METHODS[method].get("sampling", {})}
    if "plumed" in sampling:
        script = out / "plumed.dat"
        walkers = make_config({"sampling": settings.campaign["sampling"]}).sampling.walkers
        script.write_text(PLUMED.format(walkers=walkers))
        sampling["plumed"] = str(script.resolve())
    sections["sampling"] = sampling
    directory = out / f"{method.replace(' ', '_')}_seed_{seed}"
    result = learn(sections, directory)
    frames: Dataset = uncv.read(test)
    found = uncv.evaluation.errors(uncv.UncertaintyCV.load(result.cv).potential, frames)
    events = Journal(directory / "journal.jsonl").events()
    sampled = [e for e in events if e["event"] == "sampled"]
    return {
        "method": method,
        "seed": seed,
        "labels": result.labels,
        "walker_steps": result.walker_steps,
        "coverage": result.coverage,
        **found._asdict(),
        "stops": sum(e["stops"] for e in sampled),
        "seconds": round(sum(e.get("seconds", 0.0) for e in events), 1),
    }


def write_report(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write the table of all methods, mean and each seed."""
    lines = [
        "# What drives a campaign",
        "",
        "Written by `python benchmarks/campaign_biases.py --report docs/benchmarks` on one core of "
        "2.5 GHz. " + " ".join(__doc__.split("\n\n")[1].split()),
        "",
        "| method | seeds | coverage | energy meV/atom | forces eV/Å | stops | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        means = [np.mean([row[name] for row in own]) for name in COLUMNS]
        each = ", ".join(f"{row['coverage']:.2f}" for row in own)
        lines.append(
            f"| {method} | {len(own)} | {each} | {means[1]:.2f} | {means[2]:.3f} | "
            f"{means[3]:.0f} | {means[4]:.0f} |"
        )
    lines += ["", "Metadynamics, the same in each round:", "", "```", PLUMED.rstrip(), "```", ""]
    (folder / "campaign_biases.md").write_text("\n".join(lines), encoding="utf-8")
    (folder / "campaign_biases.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    if os.environ.get("UNCV_QUICK") == "1":
        print("UNCV_QUICK=1: no figures", file=sys.stderr)
    sys.exit(main())
