"""γ-CuI: labels chosen by uncertainty of the anharmonicity and by energy, against random ones.

Two campaigns with the same molecular dynamics at the same temperature, labelled by GFN1-xTB, whose
errors are compared at equal labels: one accepts frames by P_U · P_E (ALmoMD) with the members'
spread of the anharmonicity σ^A as the uncertainty, the other takes frames at random. Both are
judged on two sets that neither has seen: a hotter trajectory, and frames in which a copper atom
sits between the lattice sites.

    python benchmarks/cui.py --out cui [--seeds 0 1] [--labels 68] [--report FOLDER] [--json]

Campaigns and test sets that are in the folder are not repeated. With UNCV_QUICK=1 a cell of 8 atoms
stands in, and the figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read as read_atoms

import uncv
from uncv.config import make_config
from uncv.data import Dataset
from uncv.evaluation import crystal_errors
from uncv.journal import Journal
from uncv.learning import learn
from uncv.learning.directory import RunDirectory
from uncv.oracles import XTBOracle, labelled_part
from uncv.perturb import Rattle, draw
from uncv.sampling_crystal import CrystalSettings, sample_crystal

QUICK = os.environ.get("UNCV_QUICK") == "1"
DATA = Path(os.environ.get("UNCV_DATA", "../shared/data")) / "crystals"
REPEAT = 1 if QUICK else 2
CAMPAIGN_K, HOT_K = 400.0, 600.0
HOT_FRAMES, DEFECT_FRAMES = (3, 2) if QUICK else (30, 15)
SHIFT = 0.5
"""Of the way from a copper site through the face of its tetrahedron to the empty site beyond."""
METHODS: dict[str, dict[str, Any]] = {
    "random": {"method": "random"},
    "P_U P_E of σ^A": {
        "method": "random",
        "acceptance": {"kind": "almomd", "quantity": "anharmonicity"},
    },
}


def crystal() -> Atoms:
    """Return the supercell."""
    path = next(p for p in sorted(DATA.iterdir()) if "cui" in p.name.lower())
    return read_atoms(path).repeat(REPEAT)


def campaign(structure: Path, selection: dict[str, Any], seed: int, labels: int) -> dict[str, Any]:
    """Return the configuration of a campaign."""
    small = {"epochs": 4, "epochs_warm": 2, "hidden": [8]}
    large = {"epochs": 150, "epochs_warm": 50, "hidden": [32, 32], "batch_size": 4}
    return {
        "system": {"structure": str(structure), "periodic": True},
        "oracle": {"kind": "xtb", "method": "GFN1-xTB", "max_force_ev_per_angstrom": 50},
        "potential": {
            "members": 4,
            "validation_share": 0.4 if QUICK else 0.2,
            **(small if QUICK else large),
        },
        "calibration": {"held_out_share": 0.1, "method": "gaussian" if not QUICK else "none"},
        "bias": {"kind": "none"},
        "sampling": {
            "temperature_k": CAMPAIGN_K,
            "timestep_fs": 5.0,
            "hydrogen_mass_amu": None,
            "walkers": 4,
            "steps_per_round": 20 if QUICK else 400,
            "stride": 5 if QUICK else 10,
        },
        "stop": {"max_bond_factor": None, "min_contact_factor": None},
        "selection": {"batch_size": 3 if QUICK else 12, **selection},
        "budget": {
            "labels": labels,
            "initial_labels": 6 if QUICK else 20,
            "initial_displacements_angstrom": [0.03, 0.1],
        },
        "convergence": {"rounds_without_candidate": 3},
        "seed": seed,
    }


def defects(atoms: Atoms) -> Dataset:
    """Return frames with a copper atom on its way to an empty site, all atoms rattled."""
    copper = np.flatnonzero(atoms.numbers == 29)
    made = []
    for frame, atom in enumerate(np.random.default_rng(7).permutation(copper)[:DEFECT_FRAMES]):
        moved = atoms.copy()
        iodine = np.flatnonzero(atoms.numbers == 53)
        bonds = atoms.get_distances(atom, iodine, mic=True, vector=True)
        near = bonds[np.argsort(np.linalg.norm(bonds, axis=1))[:4]]
        # Away from one of the four neighbours lies the face of the other three.
        moved.positions[atom] -= SHIFT * (1.0 + frame % 3 / 3.0) * near[frame % 4]
        made.append(moved.positions)
    frames = Dataset(atoms.numbers, np.array(made), cell=atoms.cell.array)
    return draw(frames, len(frames), Rattle(0.05), seed=1, min_distance_factor=0.5).without_labels()


def hot_frames(model: Path, atoms: Atoms) -> Dataset:
    """Return frames of a trajectory at a higher temperature than that of the campaigns."""
    start = Dataset(atoms.numbers, atoms.positions[None], cell=atoms.cell.array)
    settings = CrystalSettings(
        temperature=HOT_K, timestep=5.0, steps=400 if not QUICK else 20, stride=20, walkers=2
    )
    run = sample_crystal(start, uncv.UncertaintyCV.load(model), settings=settings, seed=99)
    kept = np.flatnonzero(run.frames.info["step"] > settings.steps // 4)
    return run.frames[kept][np.arange(0, min(HOT_FRAMES, len(kept)))]


def test_sets(out: Path, atoms: Atoms, model: Path) -> dict[str, Dataset]:
    """Return both test sets, made if they are not there."""
    oracle = XTBOracle("GFN1-xTB")
    makers = {"hot": lambda: hot_frames(model, atoms), "defect": lambda: defects(atoms)}
    found = {}
    for name, make in makers.items():
        path = out / f"{name}.npz"
        if not path.exists():
            uncv.write(path, labelled_part(oracle.label(make())))
        found[name] = uncv.read(path)
    return found


def curve(directory: Path, tests: dict[str, Dataset]) -> list[dict[str, Any]]:
    """Return the errors on the test sets after each training."""
    run = RunDirectory(directory)
    rows, seen = [], set()
    for event in run.journal.events("trained"):
        cv = uncv.UncertaintyCV.load(run.model(event["round"]))
        labels = sum(event["frames"].values())
        if labels in seen:
            continue
        seen.add(labels)
        row: dict[str, Any] = {"labels": labels}
        for name, data in tests.items():
            row[name] = crystal_errors(cv.potential, data)._asdict()
        rows.append(row)
    return rows


def measure(out: Path, seeds: list[int], labels: int) -> dict[str, Any]:
    """Run what is missing and return all figures."""
    out.mkdir(parents=True, exist_ok=True)
    atoms = crystal()
    structure = out / "start.extxyz"
    if not structure.exists():
        atoms.write(structure, format="extxyz")
    begun = time.perf_counter()
    frame = Dataset(atoms.numbers, atoms.positions[None], cell=atoms.cell.array)
    XTBOracle("GFN1-xTB").label(frame)
    found: dict[str, Any] = {
        "atoms": len(atoms),
        "seconds_per_label": time.perf_counter() - begun,
        "runs": [],
    }
    directories = {}
    for seed in seeds:
        for method, selection in METHODS.items():
            name = "random" if method == "random" else "acceptance"
            directory = out / f"{name}_seed_{seed}"
            # A campaign may only grow: one that has more labels already keeps them.
            wanted = max(labels, RunDirectory(directory).labelled_count())
            learn(make_config(campaign(structure, selection, seed, wanted)), directory)
            directories[method, seed] = directory
    tests = test_sets(out, atoms, directories["random", seeds[0]] / "final.uncv")
    for (method, seed), directory in directories.items():
        events = Journal(directory / "journal.jsonl").events("labelled")
        found["runs"].append(
            {
                "method": method,
                "seed": seed,
                "candidates": [e["candidates"] for e in events[1:]],
                "curve": curve(directory, tests),
            }
        )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("cui"))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--labels", type=int, default=12 if QUICK else 68)
    parser.add_argument("--report", type=Path, help="folder for cui.md and cui.json")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.out, options.seeds, options.labels)
    if options.json:
        print(json.dumps(found))
    else:
        print("\n".join(table(found)))
    if options.report:
        (options.report / "cui.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
        (options.report / "cui.md").write_text(page(found), encoding="utf-8")
    return 0


def table(found: dict[str, Any]) -> list[str]:
    """Return the lines of the table: force errors after each training."""
    lines = [
        "| selection | seed | labels | forces, hot, eV/Å | forces, displaced Cu, eV/Å | "
        "energy, hot, meV/atom |",
        "|---|---|---|---|---|---|",
    ]
    for run in found["runs"]:
        for row in run["curve"]:
            hot, defect = row["hot"], row["defect"]
            lines.append(
                f"| {run['method']} | {run['seed']} | {row['labels']} | "
                f"{hot['force_rmse_ev_per_angstrom']:.4f} | "
                f"{defect['force_rmse_ev_per_angstrom']:.4f} | "
                f"{hot['energy_rmse_mev_per_atom']:.2f} |"
            )
    return lines


def page(found: dict[str, Any]) -> str:
    """Return the page of the documentation."""
    text = " ".join(__doc__.split("\n\n")[1].split())
    head = [
        "# γ-CuI: accepting frames by anharmonicity and energy",
        "",
        "Written by `python benchmarks/cui.py --report docs/benchmarks` on 2 cores at 2.5 GHz; one "
        "thread.",
        "",
        text,
        "",
        f"{found['atoms']} atoms; a label with stress takes {found['seconds_per_label']:.1f} s. "
        f"Campaigns run at {CAMPAIGN_K:g} K and constant volume, the test trajectory at "
        f"{HOT_K:g} K on the final potential of the random campaign. Test frames: {HOT_FRAMES} "
        f"hot, {DEFECT_FRAMES} with a copper atom moved 0.5 to 0.8 of a bond length through a face "
        "of its tetrahedron.",
        "",
    ]
    ended = ", ".join(
        f"{run['method']} (seed {run['seed']}) {run['curve'][-1]['labels']}"
        for run in found["runs"]
    )
    offered = [
        f"Labels at the end, as asked for by `--labels`: {ended}.",
        "",
        *_offered(found),
    ]
    return "\n".join([*head, *table(found), "", *offered, ""])


def _offered(found: dict[str, Any]) -> list[str]:
    return [
        f"Frames accepted in the rounds with {run['method']}, seed {run['seed']}: "
        f"{', '.join(map(str, run['candidates']))} of 160."
        for run in found["runs"]
        if run["method"] != "random"
    ]


if __name__ == "__main__":
    sys.exit(main())
