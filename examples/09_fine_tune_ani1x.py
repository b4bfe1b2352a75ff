"""ANI-1x fine-tuned to labels of your own, with its error before and after on held-out frames.

    python 09_fine_tune_ani1x.py                          # GFN2-xTB labels, made here
    python 09_fine_tune_ani1x.py --data labelled.extxyz   # energies and forces of your own

You learn to train from a pretrained ensemble, to compare fairly with it, and to save a collective
variable whose uncertainty bounds the error of forces. Frames come from ANI-1x dynamics of alanine
dipeptide at 500 K, their labels from xTB (pip install tblite). They are split once: for training,
calibration, and a test that neither of them sees.

Traps: energies of two methods differ by a constant for each element, so the energy error is
compared after an alignment (forces need none). Frames of one trajectory resemble their neighbours:
with few of them, hold out a trajectory of its own. ANI-1x has eight members; --members 8 is slower
and better.

It takes a minute and a half; with UNCV_QUICK=1, seconds.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import uncv

QUICK = os.environ.get("UNCV_QUICK") == "1"
FRAMES, STRIDE = (56, 5) if QUICK else (320, 40)
EPOCHS = 2 if QUICK else 30
ALPHA = 0.1  # share of errors that may lie above the calibrated uncertainty


def labelled_by_xtb() -> uncv.Dataset:
    """Return frames of hot dynamics with energies (eV) and forces (eV/Å) of GFN2-xTB."""
    topology, start = uncv.structures.alanine_dipeptide()
    potential = uncv.load_potential("ani1x")
    cv = uncv.UncertaintyCV(potential, uncv.EnsembleUncertainty(of="energy"))
    settings = uncv.SampleSettings(
        temperature=500.0, timestep=0.5, steps=STRIDE * FRAMES // 8, stride=STRIDE, walkers=8
    )
    frames = uncv.sample(topology, start, cv, settings=settings, seed=0).frames
    return uncv.oracles.XTBOracle("GFN2-xTB").label(frames)


def report(name: str, cv: uncv.UncertaintyCV, test: uncv.Dataset) -> None:
    """Print errors, and what a calibrated uncertainty knows of them."""
    found = uncv.evaluation.evaluate(cv, test, alpha=ALPHA, align=True)
    energy, force = found.errors
    print(f"{name}: energy RMSE {energy:.2f} meV/atom, force RMSE {force:.3f} eV/Å")
    if cv.calibrator is not None:
        rho, share = found.metrics.spearman, found.coverage.share
        print(
            f"u and force error of {found.points} atoms: rank correlation {rho.value:.2f}", end="; "
        )
        print(f"{share:.0%} of the errors lie below u, promised were {found.promised:.0%}")


def main(data: uncv.Dataset, members: int, out: Path) -> None:
    """Train, calibrate, test and save."""
    out.mkdir(parents=True, exist_ok=True)
    uncv.write(out / "labelled.extxyz", data)
    train, calibration, test = data.split(int(0.6 * len(data)), int(0.2 * len(data)), seed=0)
    print(f"{len(train)} frames train, {len(calibration)} calibrate, {len(test)} test")

    ensemble = uncv.EnsembleUncertainty(of="energy")
    report("ANI-1x as it is", uncv.UncertaintyCV(uncv.load_potential("ani1x"), ensemble), test)

    settings = uncv.TrainSettings(members=members, start="ani1x", epochs=EPOCHS)
    potential = uncv.train(train, settings, seed=0, log=out / "epochs.csv")
    uncertainty = uncv.GradientUncertainty("posterior", "last_layer").fit(potential, train)
    raw = uncv.UncertaintyCV(potential, uncertainty)
    calibrator = uncv.ConformalCalibrator(alpha=ALPHA).fit(raw, calibration)
    cv = raw.calibrated(calibrator)
    report("fine-tuned", cv, test)
    cv.save(out / "tuned.uncv")
    print(f"saved {out / 'tuned.uncv'}: load it by uncv.UncertaintyCV.load")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="labelled frames of H, C, N, O (extxyz, npz)")
    parser.add_argument("--members", type=int, default=2 if QUICK else 4, help="of the ensemble")
    parser.add_argument("--out", type=Path, default=Path("fine_tuned"), help="folder for files")
    given = parser.parse_args()
    main(uncv.read(given.data) if given.data else labelled_by_xtb(), given.members, given.out)
