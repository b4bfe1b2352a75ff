"""MIL-53(Al) from its closed pore: which campaign finds the large one, and learns both.

Active-learning campaigns of the 76-atom cell at 300 K and 0 and ±250 MPa, labelled by the QuickFF
force field, which has both phases: without a bias, with metadynamics on the cell volume, and with
the adaptive bias stress on the uncertainty. All have the same first labels, number of labels and MD
steps. Volumes are those of all frames stored at the stride; errors are those of the final potential
on frames of both phases from molecular dynamics with DFT, labelled by QuickFF, which no campaign
has seen.

    python benchmarks/mil53al.py --out mil53al [--seeds 0 1 2] [--pressures 0 0.25 -0.25]
        [--methods unbiased metadynamics stress] [--labels 144] [--report docs/benchmarks] [--json]

A campaign that is in the folder is not repeated, one that was interrupted or has fewer labels than
wanted goes on; about ten minutes each on one core, and twenty for the energy against the volume.
The page is about all campaigns in the folder. With UNCV_QUICK=1 everything
is tiny, and gives no figures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import mil53al_reference as reference
import numpy as np
from mil53al_page import write_page

import uncv
from uncv.data import Dataset
from uncv.evaluation import crystal_errors
from uncv.journal import Journal
from uncv.learning import learn
from uncv.learning.directory import RunDirectory, regular
from uncv.sampling_crystal import CrystalSettings, sample_crystal
from uncv.stopping import StopRules
from uncv.training import TrainSettings, train

QUICK = os.environ.get("UNCV_QUICK") == "1"
MIDDLE = 1150.0
"""Å^3, between the phases: below it a held-out frame is of the closed pore."""
CURVE = (814, 1507) if QUICK else (780, 814, 934, 1054, 1174, 1294, 1414, 1507, 1534)
METADYNAMICS = """\
# Well-tempered metadynamics on the cell volume (nm^3), anew in each round; walkers share hills.
v: VOLUME
METAD ARG=v PACE=50 HEIGHT=3 SIGMA=0.02 BIASFACTOR=20 TEMP=300 WALKERS_N=2 WALKERS_RSTRIDE=50
PRINT ARG=v STRIDE=25 FILE=COLVAR
"""
METHODS: dict[str, dict[str, Any]] = {
    "unbiased": {"kind": "none"},
    "metadynamics": {"kind": "none"},
    "stress": {"kind": "adaptive", "strength": 0.0, "stress_strength": 1.0},
}


def campaign(out: Path, method: str, pressure: float, seed: int, labels: int) -> dict[str, Any]:
    """Return the configuration of a campaign."""
    networks = {"hidden": [8], "epochs": 2, "epochs_warm": 1}
    if not QUICK:
        networks = {"hidden": [32, 24], "epochs": 60, "epochs_warm": 20}
    plumed = {}
    if method == "metadynamics":
        (out / "plumed.dat").write_text(METADYNAMICS)
        plumed = {"plumed": str((out / "plumed.dat").resolve())}
    return {
        "system": {
            "structure": str(reference.CLOSED.resolve()),
            "periodic": True,
            "volume_range_angstrom3": [780, 1550],
        },
        "oracle": {
            "kind": "ase",
            "calculator": reference.CALCULATOR,
            "arguments": {"rep": [2, 4, 4]},
            "level_of_theory": "QuickFF",
        },
        "potential": {"members": 4, "batch_size": 4, "stress_weight": 100.0, **networks},
        "uncertainty": {"kind": "gradient", "reduce": "rms"},
        "bias": METHODS[method],
        "sampling": {
            "pressure_gpa": pressure,
            "steps_per_round": 6 if QUICK else 500,
            "stride": 3 if QUICK else 25,
            "walkers": 2,
            "timestep_fs": 1.0,
            "hydrogen_mass_amu": 4.0,
            **plumed,
        },
        "stop": {
            "max_uncertainty": None if QUICK else 1.5,
            "max_bond_factor": 1.6,
            "min_contact_factor": None,
            "volume_limits_angstrom3": [560, 1650],
        },
        "selection": {"batch_size": 2 if QUICK else 6},
        "budget": {
            "labels": labels,
            "initial_labels": 6 if QUICK else 24,
            "initial_strain": 0.05,
            "initial_displacements_angstrom": [0.02, 0.06],
        },
        "seed": seed,
    }


def name_of(method: str, pressure: float, seed: int) -> str:
    return f"{method}_{round(1000 * pressure):+d}_MPa_seed_{seed}"


def run(
    out: Path, method: str, pressure: float, seed: int, labels: int, held_out: Dataset
) -> dict[str, Any]:
    """Return the figures of one campaign."""
    directory = out / name_of(method, pressure, seed)
    result = learn(campaign(out, method, pressure, seed, labels), directory)
    frames = [regular(part) for part in RunDirectory(directory).stored_frames()]
    volumes = np.concatenate([np.abs(np.linalg.det(part.cell)) for part in frames])
    events = Journal(directory / "journal.jsonl").events()
    final = uncv.UncertaintyCV.load(result.cv).potential
    each = np.abs(np.linalg.det(held_out.cell)) * 76 / held_out.frame_atoms
    phases = {"closed": each < MIDDLE, "large": each >= MIDDLE}
    return {
        "method": method,
        "pressure_mpa": round(1000 * pressure),
        "seed": seed,
        "labels": result.labels,
        "walker_steps": result.walker_steps,
        "volumes": [float(volumes.min()), float(volumes.max())],
        "coverage": result.coverage,
        "stops": sum(e.get("stops", 0) for e in events),
        "seconds": round(sum(e.get("seconds", 0.0) for e in events)),
        "errors": {
            phase: crystal_errors(final, held_out[np.flatnonzero(mask)])._asdict()
            for phase, mask in phases.items()
        },
        "histogram": np.histogram(volumes, bins=40, range=(700, 1650))[0].tolist(),
    }


def of_dft(out: Path) -> dict[str, Any]:
    """Return the figures of a potential that is trained on the frames labelled by DFT."""
    frames, path = reference.dft_frames(), out / "dft.uncv"
    training, valid = frames[:50], frames[50:]
    if not path.exists():
        small = {"epochs": 1, "hidden": (8,)} if QUICK else {"epochs": 60, "hidden": (48, 32)}
        settings = TrainSettings(members=4, batch_size=2, stress_weight=100.0, **small)
        potential = train(training, settings, seed=0)
        uncertainty = uncv.GradientUncertainty("posterior").fit(potential, training)
        uncv.UncertaintyCV(potential, uncertainty, "rms").save(path)
    cv = uncv.UncertaintyCV.load(path)
    start = uncv.read(reference.CLOSED)
    steps = 10 if QUICK else 3000
    settings = CrystalSettings(
        pressure=0.0, steps=steps, stride=5 if QUICK else 25, walkers=1, hydrogen_mass=4.0
    )
    found = {"errors": crystal_errors(cv.potential, valid)._asdict(), "volumes": {}}
    for name, bias in (("unbiased", None), ("stress", uncv.AdaptiveBias(0.0))):
        with_stress = settings if bias is None else _with_stress(settings)
        made = sample_crystal(
            Dataset(start.numbers, start.positions, cell=start.cell),
            cv,
            settings=with_stress,
            bias=bias,
            stop=StopRules(min_distance_factor=0.65, max_bond_factor=1.6, max_force=30.0),
            seed=0,
        )
        volumes = np.abs(np.linalg.det(regular(made.frames).cell))
        found["volumes"][name] = [float(volumes.min()), float(volumes.max())]
    return found


def _with_stress(settings: CrystalSettings) -> CrystalSettings:
    return CrystalSettings(**{**vars(settings), "stress_strength": 1.0})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("mil53al"))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--pressures", nargs="+", type=float, default=[0.0, 0.25, -0.25])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--labels", type=int, default=7 if QUICK else 144)
    parser.add_argument("--report", type=Path, help="folder for mil53al.md, .json and .png")
    parser.add_argument("--no-dft", action="store_true", help="leave the potential of DFT out")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    out = options.out
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "held_out.npz").exists():
        uncv.write(out / "held_out.npz", reference.held_out(12 if QUICK else 1))
    held_out = uncv.read(out / "held_out.npz")
    for seed in options.seeds:
        for pressure in options.pressures:
            for method in options.methods:
                begun = time.perf_counter()
                row = run(out, method, pressure, seed, options.labels, held_out)
                figures = out / f"{name_of(method, pressure, seed)}.json"
                figures.write_text(json.dumps(row))
                print(_line(row, time.perf_counter() - begun), file=sys.stderr, flush=True)
    if not (options.report or options.json):
        return 0
    rows = sorted(
        (reference.read_json(path) for path in out.glob("*_MPa_seed_*.json")),
        key=lambda row: (row["pressure_mpa"], list(METHODS).index(row["method"]), row["seed"]),
    )
    if not (out / "curve.json").exists():
        (out / "curve.json").write_text(
            json.dumps(reference.volume_curve(CURVE, 2 if QUICK else 200))
        )
    found = {"runs": rows, "curve": reference.read_json(out / "curve.json")}
    if not options.no_dft:
        found["dft"] = of_dft(out)
    if options.json:
        print(json.dumps(found))
    if options.report:
        write_page(options.report, found, METADYNAMICS)
    return 0


def _line(row: dict[str, Any], seconds: float) -> str:
    low, high = row["volumes"]
    return (
        f"{row['method']}, {row['pressure_mpa']} MPa, seed {row['seed']}: {low:.0f} to {high:.0f} "
        f"Å^3, coverage {row['coverage']:.2f}, {row['stops']} stops, {seconds:.0f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
