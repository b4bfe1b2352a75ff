"""Adversarial attacks on ammonia against random displacements and dynamics, at equal labels.

    python benchmarks/ammonia_attack.py --work FOLDER --prepare    (minutes)
    python benchmarks/ammonia_attack.py --work FOLDER --seed 0     (and 1, 2: minutes each)
    python benchmarks/ammonia_attack.py --work FOLDER --report docs/benchmarks

An ensemble learns the near-equilibrium frames of shared/data/ammonia (found by UNCV_DATA), which
hold nothing of the planar molecule. From these, 12 frames each are found by attacks, by random
displacements and by dynamics at 300 K, labelled, added, and a new ensemble is trained on all. What
is measured is the barrier of inversion. All labels, those of the data set included, are computed
here by PySCF; they are kept in the folder, so a run that is begun again is quick.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ammonia_attack_page import write_page
from openmm import app

import uncv
from uncv.adversarial.distinct import distinct
from uncv.features_frames import frame_features
from uncv.oracles import PySCFOracle, labelled_part
from uncv.oracles.cache import CachedOracle
from uncv.oracles.pyscf import ScfSettings
from uncv.perturb import Rattle, draw

NEAR = 78  # frames of the data set near equilibrium, which come first
LABELS = 12
POOL = 64
TEMPERATURE = 10_000.0  # of the attack, K
SWEEP = (300.0, 1000.0, 3000.0, 10_000.0)
TRAINING = uncv.TrainSettings(members=4, epochs=200)
HEIGHTS = np.arange(0.0, 0.56, 0.05)  # of the path, Å
ATTACK = uncv.AttackSettings(attacks=POOL, temperature=TEMPERATURE, count=LABELS)


class Sets(NamedTuple):
    """Labelled frames: near equilibrium, distorted, and of the inversion path."""

    near: uncv.Dataset
    distorted: uncv.Dataset
    path: uncv.Dataset
    residual: dict[str, float]


def height(positions: np.ndarray) -> np.ndarray:
    """Return the signed distance (F,) of N from the plane of the H (atoms 1 to 3), Å."""
    normal = np.cross(positions[:, 2] - positions[:, 1], positions[:, 3] - positions[:, 1])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    return np.einsum("fj,fj->f", positions[:, 0] - positions[:, 1:].mean(axis=1), normal)


def oracle_of(work: Path) -> CachedOracle:
    made = PySCFOracle("bp86", "def2-svp", "d3bj", settings=ScfSettings(density_fit=True))
    return CachedOracle(made, work / "labels.jsonl")


def labelled_sets(oracle: CachedOracle) -> Sets:
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("UNCV_DATA", default))
    data = uncv.read(folder / "ammonia" / "ammonia.xyz")
    kept = distinct(uncv.load_potential("ani1x"), data, data[:0], 0.01)
    data, first = data[kept], kept < NEAR
    ours = labelled_part(oracle.label(data.without_labels()))
    shift = ours.energy - data.energy
    residual = {
        "frames": len(data),
        "force_rms": rms(ours.forces - data.forces),
        "force_scale": rms(data.forces),
        "energy_rms": float(np.std(shift)),
        "energy_scale": float(np.std(data.energy)),
    }
    return Sets(ours[first], ours[~first], inversion_path(oracle), residual)


def inversion_path(oracle: CachedOracle) -> uncv.Dataset:
    """Return labelled C3v structures, the distance of H from the axis relaxed at each height."""
    frames, radius = [], 1.01
    for h in HEIGHTS:
        step = -0.01
        frame = oracle.label(pyramid(h, radius))
        slope = outward(frame)
        while abs(slope) > 0.01:
            radius += step
            frame, before = oracle.label(pyramid(h, radius)), slope
            slope = outward(frame)
            step *= -slope / (slope - before)
        frames.append(frame)
    return labelled_part(uncv.concatenate(frames))


def pyramid(h: float, radius: float) -> uncv.Dataset:
    angles = 2 * np.pi * np.arange(3) / 3
    ring = radius * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    return uncv.Dataset([7, 1, 1, 1], np.vstack([[0.0, 0.0, h], ring])[None])


def outward(frame: uncv.Dataset) -> float:
    """Return the mean force on H away from the axis, eV/Å."""
    ring = frame.positions[0, 1:, :2]
    return float((frame.forces[0, 1:, :2] * ring).sum(axis=1).mean() / np.linalg.norm(ring[0]))


def barrier(energy: np.ndarray) -> float:
    """Return E(planar) − E(minimum) in eV of energies at the heights of the path."""
    from scipy.interpolate import CubicSpline

    both = np.concatenate([-HEIGHTS[:0:-1], HEIGHTS])  # E is even in the height
    curve = CubicSpline(both, np.concatenate([energy[:0:-1], energy]))
    return float(curve(0.0) - curve(np.linspace(0.0, HEIGHTS[-1], 2001)).min())


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def trained(data: uncv.Dataset, seed: int) -> uncv.UncertaintyCV:
    potential = uncv.train(data, TRAINING, seed=seed)
    return uncv.UncertaintyCV(potential, uncv.EnsembleUncertainty(of="energy"))


def judged(cv: uncv.UncertaintyCV, sets: Sets) -> dict:
    """Return what is said of a potential on the path and on the distorted frames."""
    path, far = cv.predict(sets.path), cv.predict(sets.distorted)
    at = path.energy - sets.path.energy
    return {
        "energy": (path.energy - path.energy.min()).tolist(),
        "uncertainty": path.uncertainty.tolist(),
        "barrier": barrier(path.energy),
        "barrier_error": abs(barrier(path.energy) - barrier(sets.path.energy)),
        "path_rmse": rms(at - at[np.argmin(sets.path.energy)]),
        "energy_rmse": rms(far.energy - sets.distorted.energy),
        "force_rmse": rms(far.forces - sets.distorted.forces),
    }


def dynamics(cv: uncv.UncertaintyCV, starts: uncv.Dataset, seed: int) -> uncv.Dataset:
    """Return the last frames of as many walkers at 300 K, 1 ps each."""
    topology = app.Topology()
    residue = topology.addResidue("NH3", topology.addChain())
    for symbol in ("N", "H", "H", "H"):
        topology.addAtom(symbol, app.Element.getBySymbol(symbol), residue)
    settings = uncv.SampleSettings(steps=2000, stride=2000, walkers=POOL)
    return uncv.sample(topology, starts.without_labels(), cv, settings=settings, seed=seed).frames


def picked(cv: uncv.UncertaintyCV, pool: uncv.Dataset, near: uncv.Dataset) -> uncv.Dataset:
    """Choose as attacks do."""
    fresh = pool[distinct(cv.potential, pool, near, ATTACK.tolerance)]
    features = [frame_features(cv.potential, part) for part in (fresh, near)]
    return fresh[uncv.select(*features, LABELS, ATTACK.method)]


def pools(cv: uncv.UncertaintyCV, sets: Sets, seed: int) -> tuple[dict, dict]:
    """Return the pool of each method, the frames chosen from it, and what the attacks did."""
    found = uncv.attack(cv, sets.near, ATTACK, reference=sets.near, seed=seed)
    moved = found.frames.positions - sets.near.positions[found.frames.info["parent"]]
    size = rms(moved - moved.mean(axis=1, keepdims=True))
    bare = sets.near.without_labels()
    made = {
        "random 0.1 Å": draw(bare, POOL, Rattle(0.1), seed=seed),
        "random, size of attacks": draw(bare, POOL, Rattle(size), seed=seed),
        "dynamics 300 K": dynamics(cv, bare, seed),
    }
    chosen = {"attack": found.candidates, **{k: picked(cv, v, bare) for k, v in made.items()}}
    return {"attack": found.frames, **made}, chosen


def landed(frames: uncv.Dataset, near: uncv.Dataset) -> list[float]:
    """Return heights of frames, positive on the side of their start."""
    side = np.sign(height(near.positions))
    return (height(frames.positions) * side[np.asarray(frames.info["parent"])]).tolist()


def growth(frames: uncv.Dataset) -> float:
    """Return how many times as uncertain as their starts frames are, the median."""
    return float(np.median(frames.info["uncertainty"] / frames.info["start_uncertainty"]))


def sweep(cv: uncv.UncertaintyCV, sets: Sets, seed: int) -> list[dict]:
    rows = []
    for kelvin in SWEEP:
        settings = replace(ATTACK, temperature=kelvin)
        begun = time.perf_counter()
        found = uncv.attack(cv, sets.near, settings, reference=sets.near, seed=seed)
        rows.append({
            "temperature": kelvin,
            "seconds": time.perf_counter() - begun,
            "heights": landed(found.frames, sets.near),
            "energy": (found.frames.info["predicted_energy"] - sets.near.energy.min()).tolist(),
            "growth": growth(found.frames),
            "distinct": len(found.distinct),
            "ended": sum(bool(reason) for reason in found.reasons),
        })  # fmt: skip
    return rows


def run(seed: int, work: Path) -> dict:
    oracle = oracle_of(work)
    sets = labelled_sets(oracle)
    cv = trained(sets.near, seed)
    cv.save(work / f"seed_{seed}.uncv")
    methods = {"before": {"judged": judged(cv, sets), "labels": 0}}
    made, chosen = pools(cv, sets, seed)
    for name, frames in chosen.items():
        answer = labelled_part(oracle.label(frames.without_labels()))
        after = trained(uncv.concatenate([bare(sets.near), bare(answer)]), seed)
        methods[name] = {
            "judged": judged(after, sets),
            "labels": len(answer),
            "failed": len(frames) - len(answer),
            "pool_heights": np.abs(height(made[name].positions)).tolist(),
            "heights": np.abs(height(answer.positions)).tolist(),
            "energies": (answer.energy - sets.near.energy.min()).tolist(),
        }
    return {
        "seed": seed,
        "training_frames": len(sets.near),
        "training_heights": np.abs(height(sets.near.positions)).tolist(),
        "test_frames": len(sets.distorted),
        "residual": sets.residual,
        "path": {
            "height": HEIGHTS.tolist(),
            "energy": sets.path.energy.tolist(),
            "barrier": barrier(sets.path.energy),
        },
        "sweep": sweep(cv, sets, seed),
        "methods": methods,
    }  # fmt: skip


def bare(data: uncv.Dataset) -> uncv.Dataset:
    return replace(data, info={}, stress=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for labels and results")
    parser.add_argument("--prepare", action="store_true", help="label the data set and the path")
    parser.add_argument("--seed", type=int, help="run this seed")
    parser.add_argument("--report", type=Path, help="folder for the page, from all seeds run")
    given = parser.parse_args()
    if given.prepare:
        sets = labelled_sets(oracle_of(given.work))
        print(json.dumps(sets.residual | {"barrier": barrier(sets.path.energy)}))
    if given.seed is not None:
        begun = time.perf_counter()
        found = run(given.seed, given.work) | {"seconds": time.perf_counter() - begun}
        (given.work / f"seed_{given.seed}.json").write_text(json.dumps(found))
        print(json.dumps({k: v["judged"]["barrier_error"] for k, v in found["methods"].items()}))
    if given.report is not None:
        runs = [json.loads(p.read_text()) for p in sorted(given.work.glob("seed_*.json"))]
        about = {
            "cores": os.cpu_count(), "machine": platform.machine(),
            "python": platform.python_version(),
            "versions": {name: version(name) for name in ("torch", "pyscf", "pyscf-dispersion")},
            "attack": {"temperature": TEMPERATURE, "attacks": POOL, "steps": ATTACK.steps},
            "labels": LABELS,
        }  # fmt: skip
        write_page(given.report, {"about": about, "runs": runs})


if __name__ == "__main__":
    main()
