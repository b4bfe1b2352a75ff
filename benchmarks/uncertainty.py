"""Every uncertainty on the same splits of real data: does it know where the potential errs.

For each data set and seed one ensemble is trained; its first member is the single model of the
uncertainties that need no ensemble, and two more single models are trained with the heads that
mean-variance and evidential uncertainties read. What is fitted is fitted on the training frames,
what is calibrated on the calibration frames, and everything is measured on the test frames, force
errors atom by atom. Frames without forces (two tests of acetylacetone) are measured by the energy,
after its mean shift, against the mean over the atoms.

    python benchmarks/uncertainty.py --out uncertainty [--sets 3BPA ethanol] [--seeds 3]
    python benchmarks/uncertainty.py --out uncertainty --report docs/benchmarks

The first form appends one line for each measurement to OUT/results.jsonl and goes on where it
stopped. The second writes table and figure from these lines (`uncertainty_report.py`).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import betabinom
from uncertainty_sets import SETS, Split

import uncv
from uncv.calibration import GaussianCalibrator, Scores, conformal_rank, scores
from uncv.metrics import Bootstrap, auroc, measure, spearman
from uncv.models import AniPotential
from uncv.uncertainty import UncertaintyBase

ALPHA = 0.1
MEMBERS = 4
EPOCHS = 100
NO_INTERVAL = Bootstrap(resamples=0)


class Estimator(NamedTuple):
    """An uncertainty and the model it belongs to: 'ensemble', 'single', or the name of a head."""

    model: str
    make: Callable[[], UncertaintyBase]


ESTIMATORS: dict[str, Estimator] = {
    "ensemble, forces": Estimator("ensemble", lambda: uncv.EnsembleUncertainty("forces")),
    "GMM, descriptor": Estimator("single", lambda: uncv.GMMUncertainty(features="descriptor")),
    "GMM, last layer": Estimator("single", lambda: uncv.GMMUncertainty(features="last_layer")),
    "posterior, last layer": Estimator(
        "single", lambda: uncv.GradientUncertainty("posterior", "last_layer")
    ),
    "posterior, sketched": Estimator(
        "single", lambda: uncv.GradientUncertainty("posterior", "sketched")
    ),
    "distance, last layer": Estimator(
        "single", lambda: uncv.GradientUncertainty("distance", "last_layer")
    ),
    "mean-variance": Estimator("mean_variance", lambda: uncv.MVEUncertainty()),
    "evidential": Estimator("evidential", lambda: uncv.EvidentialUncertainty()),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of models and results")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--report", type=Path, help="write table and figure there, run nothing")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    options = parser.parse_args()
    if options.report is not None:
        from uncertainty_report import write_report

        write_report(options.out / "results.jsonl", options.report)
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.sets:
        for seed in options.seeds:
            run(name, seed, options.out, options.epochs)
    if options.json:
        print(json.dumps([json.loads(line) for line in _lines(options.out)]))
    return 0


def run(name: str, seed: int, out: Path, epochs: int) -> None:
    """Measure all estimators on one set, unless that is done."""
    done = {(r["set"], r["seed"]) for r in map(json.loads, _lines(out))}
    if (name, seed) in done:
        return
    begun = time.monotonic()
    split = SETS[name](seed, out)
    models = train_models(split, seed, out / f"{name}_{seed}", epochs)
    rows = []
    for label, estimator in ESTIMATORS.items():
        potential = models[estimator.model]
        fitting = time.monotonic()
        cv = uncv.UncertaintyCV(potential, estimator.make().fit(potential, split.train))
        seconds = time.monotonic() - fitting
        about = {"set": name, "seed": seed, "estimator": label, "fit_s": seconds}
        rows.extend({**about, **row} for row in measurements(cv, split))
    with (out / "results.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    print(f"{name}, seed {seed}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)


def train_models(split: Split, seed: int, folder: Path, epochs: int) -> dict[str, AniPotential]:
    """Return the ensemble, its first member, and the models with heads; kept on disk."""
    folder.mkdir(exist_ok=True)
    models = {}
    for head in ("", "mean_variance", "evidential"):
        path = folder / f"{head or 'ensemble'}.pt"
        if not path.is_file():
            settings = uncv.TrainSettings(
                members=1 if head else MEMBERS, epochs=epochs, patience=epochs, head=head
            )
            uncv.train(split.train, settings, seed=seed).save(path)
        models[head or "ensemble"] = uncv.load_potential(path)
    return {**models, "single": models["ensemble"].member(0)}


def measurements(cv: uncv.UncertaintyCV, split: Split) -> Iterator[dict]:
    """Yield what is found on each test set."""
    known = scores(cv, split.calibration)
    scale = GaussianCalibrator().fit_scores(*known, kind="force").factor
    bound = uncv.ConformalCalibrator(ALPHA).fit_scores(*known, kind="force").factor
    for test, data in split.tests.items():
        if data.forces is None or not np.isfinite(data.forces[data.mask]).all():
            yield {"test": test, **by_energy(cv, data)}
        else:
            found = scores(cv, data)
            row = {"test": test, "frames": len(data), **by_forces(found, scale, bound)}
            yield {**row, **resplit(known, found)} if test == "in domain" else row


def by_forces(found: Scores, scale: float, bound: float) -> dict:
    """Measure on the force errors of atoms, with the factors of the calibration frames."""
    metrics = measure(
        scale * found.uncertainty,
        found.residual,
        found.frame,
        components=3,
        bootstrap=NO_INTERVAL,
    )
    inside = found.residual <= bound * found.uncertainty
    by_frame = [inside[found.frame == frame].mean() for frame in np.unique(found.frame)]
    return {
        "points": len(found.residual),
        "force_rmse": float(np.sqrt(np.mean(found.residual**2))),
        "coverage": float(inside.mean()),
        "coverage_one_atom": float(np.mean(by_frame)),
        **{key: value.value for key, value in metrics._asdict().items()},
    }


def resplit(known: Scores, found: Scores, splits: int = 200) -> dict:
    """Return the conformal coverage over random splits of frames that are exchangeable.

    Calibration and test frames are put together and parted anew, as many to each as before; of each
    frame one random atom counts. The coverage of a split is to lie in the interval that its two
    random samples allow, and the mean over the splits at what was promised.
    """
    score = [found_.residual / found_.uncertainty for found_ in (known, found)]
    frames = [np.split(s, np.flatnonzero(np.diff(f.frame)) + 1)
              for s, f in zip(score, (known, found), strict=True)]  # fmt: skip
    count, pool = len(frames[0]), [*frames[0], *frames[1]]
    rank = conformal_rank(count, ALPHA)
    random = np.random.default_rng(0)
    shares = []
    for _ in range(splits):
        drawn = np.array([random.choice(frame) for frame in pool])
        random.shuffle(drawn)
        limit = np.sort(drawn[:count])[rank - 1]
        shares.append(float((drawn[count:] <= limit).mean()))
    tests = len(frames[1])
    low, high = betabinom.ppf([0.005, 0.995], tests, rank, count + 1 - rank) / tests
    inside = np.mean([(low <= share) & (share <= high) for share in shares])
    return {"resplit_mean": float(np.mean(shares)), "resplit_low": float(low),
            "resplit_high": float(high), "resplit_inside": float(inside)}  # fmt: skip


def by_energy(cv: uncv.UncertaintyCV, data: uncv.Dataset) -> dict:
    """Measure on the energy errors of frames that have no forces."""
    found = cv.predict(data)
    error = found.energy - np.asarray(data.energy)
    residual = np.abs(error - error.mean())
    return {
        "frames": len(data),
        "points": len(data),
        "energy_rmse": float(np.sqrt(np.mean(residual**2))),
        "spearman": spearman(found.uncertainty, residual, bootstrap=NO_INTERVAL).value,
        "auroc": auroc(found.uncertainty, residual, bootstrap=NO_INTERVAL).value,
    }


def _lines(out: Path) -> list[str]:
    path = out / "results.jsonl"
    return path.read_text().splitlines() if path.is_file() else []


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)  # an element absent from training, by design
    sys.exit(main())
