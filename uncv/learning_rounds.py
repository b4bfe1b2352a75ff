"""One round of a campaign: train, sample, choose, label; each stage done once, even over a kill."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncv.analysis import coverage, dihedrals
from uncv.calibration import Calibrator, ConformalCalibrator, GaussianCalibrator, conformal_rank
from uncv.config import CampaignConfig
from uncv.cv import UncertaintyCV
from uncv.data import Dataset, concatenate
from uncv.errors import CalibrationError, CampaignError
from uncv.io import read, write
from uncv.journal import replace_file
from uncv.learning_directory import RunDirectory, regular
from uncv.learning_setup import (
    Setup,
    displaced_starts,
    make_bias,
    sample_settings,
    seed_of,
    stop_rules,
    train_settings,
    viability_rules,
)
from uncv.oracles import labelled_part
from uncv.sampling import sample
from uncv.selection import Method, select
from uncv.training import train
from uncv.uncertainty import EnsembleUncertainty

SPLITS = ("train", "valid", "calibration")
_STOP_KINDS = {
    "not finite": "not finite",
    "were bonded": "stretched bond",
    "Å apart": "short contact",
    "force": "force",
    "uncertainty": "uncertainty",
}
Report = Callable[[str, float], None]
"""Told the stage and how much of it is done (0 to 1); may raise to end the campaign there."""


class Calibration(NamedTuple):
    """A calibrator and how it came about, for the journal."""

    calibrator: Calibrator | None
    note: str


@dataclass(frozen=True)
class Round:
    """One round; its stages read from the run directory and write back to it.

    Parameters
    ----------
    number : int
        From 1; the first labels are round 0.
    config : CampaignConfig
        The campaign.
    setup : Setup
        Its structure and oracle.
    directory : RunDirectory
        Where everything is kept.
    report : callable
        Called with stage and share done.
    """

    number: int
    config: CampaignConfig
    setup: Setup
    directory: RunDirectory
    report: Report

    def train(self) -> UncertaintyCV:
        """Train on all labels, fit and calibrate the uncertainty; or read what was trained."""
        path = self.directory.model(self.number)
        if path.exists():
            return UncertaintyCV.load(path)
        begun = time.monotonic()
        labelled = self._labelled()
        parts = {s: labelled[np.flatnonzero(labelled.info["split"] == s)] for s in SPLITS}
        before = self.directory.model(self.number - 1)
        settings = train_settings(self.config, warm=before.exists())
        potential = train(
            parts["train"],
            settings,
            seed=seed_of(self.config, self.number, "train"),
            start=UncertaintyCV.load(before).potential if before.exists() else None,
            validation=parts["valid"] if len(parts["valid"]) else None,
            progress=lambda epoch: self.report("train", epoch.epoch / settings.epochs),
        )
        uncertainty = EnsembleUncertainty(of=self.config.uncertainty.of)
        uncertainty.fit(potential, parts["train"])
        cv = UncertaintyCV(potential, uncertainty, reduce=self.config.uncertainty.reduce)
        found = calibrate(cv, parts["calibration"], self.config)
        self.directory.record(
            "trained",
            self.number,
            seconds=round(time.monotonic() - begun, 2),
            fingerprint=cv.fingerprint,
            frames={s: len(parts[s]) for s in SPLITS},
            calibration=found.note,
            factor=None if found.calibrator is None else found.calibrator.factor,
        )
        return self.directory.save_model(path, cv.calibrated(found.calibrator))

    def sample(self, cv: UncertaintyCV) -> Dataset:
        """Run the walkers, or read the frames of the run."""
        path = self.directory.frames(self.number)
        if path.exists():
            return read(path)
        begun = time.monotonic()
        settings, start = sample_settings(self.config), self.setup.start
        run = sample(
            self.setup.topology,
            self.starts(),
            cv,
            settings=settings,
            bias=make_bias(self.config.bias),
            stop=stop_rules(self.config).prepare(start.numbers[0], start.positions[0], cv.kind),
            restart_pool=self._labelled().without_labels(),
            seed=seed_of(self.config, self.number, "sample"),
            progress=lambda done, total: self.report("sample", done / total),
        )
        frames = run.frames.with_info(round=np.full(len(run.frames), self.number))
        self.directory.record(
            "sampled",
            self.number,
            seconds=round(time.monotonic() - begun, 2),
            frames=len(frames),
            walker_steps=run.walker_steps,
            stops=len(run.stop_reasons),
            stop_reasons=dict(Counter(kind_of_stop(reason) for reason in run.stop_reasons)),
        )
        replace_file(path, lambda part: write(part, frames))
        return read(path)

    def starts(self) -> Dataset:
        """Return where the walkers begin.

        Each goes on from its last stored frame of the round before; in the first round, or where
        that frame is broken, from a labelled frame drawn by the seed.
        """
        count = self.config.sampling.walkers
        labelled = self._labelled().without_labels()
        random = np.random.default_rng(seed_of(self.config, self.number, "start"))
        drawn = labelled[random.choice(len(labelled), count, replace=len(labelled) < count)]
        before = self.directory.frames(self.number - 1)
        if not before.exists():
            return _bare(drawn)
        frames = regular(read(before))
        whole = frames[np.flatnonzero(self.broken(frames) == "")]
        chosen = []
        for walker in range(count):
            own = np.flatnonzero(whole.info["walker"] == walker)
            chosen.append(_bare(whole[own[-1:]] if len(own) else drawn[walker]))
        return concatenate(chosen)

    def broken(self, frames: Dataset) -> NDArray[np.str_]:
        """Return for each frame why it is no sensible structure, '' for the others."""
        start = self.setup.start
        checker = viability_rules(self.config).prepare(start.numbers[0], start.positions[0])
        centred = frames.positions - frames.positions.mean(axis=1, keepdims=True)
        energy = np.nan_to_num(frames.info["energy"], nan=np.inf)
        values = frames.info["uncertainty"]
        reasons = checker.check(centred, energy, values, None, np.zeros(centred.shape))
        return np.array(reasons, dtype=str)

    def choose(self, cv: UncertaintyCV, frames: Dataset) -> Dataset:
        """Return the frames of the pool that are to be labelled.

        Raises
        ------
        CampaignError
            If every frame is broken.
        """
        reasons = self.broken(frames)
        pool = frames[np.flatnonzero(reasons == "")]
        labelled = self._labelled()
        wanted = min(
            self.config.selection.batch_size, self.config.budget.labels - len(labelled), len(pool)
        )
        if wanted == 0:
            raise CampaignError(
                f"all {len(frames)} frames of round {self.number} are broken structures (first: "
                f"{reasons[0]}); lower the bias strength or tighten the stop rules"
            )
        chosen = choose_frames(
            cv,
            pool,
            labelled,
            wanted,
            self.config.selection.method,
            seed=seed_of(self.config, self.number, "select"),
        )
        self.directory.record(
            "selected",
            self.number,
            pool=len(pool),
            broken=int((reasons != "").sum()),
            walker=pool.info["walker"][chosen].tolist(),
            step=pool.info["step"][chosen].tolist(),
        )
        picked = pool[chosen]
        return picked.with_info(fingerprint=np.full(len(picked), cv.fingerprint))

    def label(self, frames: Dataset) -> None:
        """Label frames and add them to the run directory; failed ones go to quarantine.

        Raises
        ------
        CampaignError
            If the oracle failed for all of them.
        """
        answer = self.setup.oracle.label(frames)
        errors = answer.info["label_error"]
        failed = answer[np.flatnonzero(errors != "")]
        self.directory.add("quarantine", failed.without_labels())
        if len(failed) == len(answer):
            raise CampaignError(
                f"the oracle failed for all {len(answer)} frames of round {self.number} (first: "
                f"{errors[0]}); correct the oracle and run again to continue"
            )
        good = labelled_part(answer)
        before = self.directory.labelled()
        taken = None if before is None else before.info["split"]
        splits = assign_splits(taken, len(good), self.config, self.number)
        self.directory.record(
            "labelled", self.number, frames=len(good), errors=failed.info["label_error"].tolist()
        )
        self.directory.add("labelled", good.with_info(split=splits))

    def _labelled(self) -> Dataset:
        labelled = self.directory.labelled()
        if labelled is None:
            raise CampaignError(f"{self.directory.path} has no labelled frames; begin it again")
        return labelled


def first_frames(config: CampaignConfig, setup: Setup) -> Dataset:
    """Return the frames of round 0, with the columns of later rounds."""
    frames = displaced_starts(config, setup.start)
    count = len(frames)
    return frames.with_info(
        round=np.zeros(count, dtype=np.int64),
        walker=np.full(count, -1),
        step=np.full(count, -1),
        uncertainty=np.full(count, np.nan),
        bias=np.full(count, np.nan),
        stop_reason=np.full(count, "", dtype=str),
        fingerprint=np.full(count, "", dtype=str),
    )


def calibrate(cv: UncertaintyCV, held_out: Dataset, config: CampaignConfig) -> Calibration:
    """Calibrate on the frames kept for it: conformal where they are enough, else Gaussian."""
    given = config.calibration
    if given.method == "none":
        return Calibration(None, "none asked for")
    if len(held_out) == 0:
        return Calibration(None, "none: no frame is held out for it")
    frames = f"{len(held_out)} held-out frames"
    if given.method == "gaussian":
        return Calibration(GaussianCalibrator().fit(cv, held_out), f"gaussian, {frames}")
    try:
        conformal_rank(len(held_out), given.alpha)
    except CalibrationError:
        note = f"gaussian, {frames}: too few for conformal at alpha {given.alpha}"
        return Calibration(GaussianCalibrator().fit(cv, held_out), note)
    calibrator = ConformalCalibrator(given.alpha).fit(cv, held_out)
    return Calibration(calibrator, f"conformal, {frames}, alpha {given.alpha}")


def assign_splits(
    before: NDArray[np.str_] | None, count: int, config: CampaignConfig, round_: int
) -> NDArray[np.str_]:
    """Return the split of each new frame, for good: what calibrates never trains, in any round."""
    taken = np.array([], dtype=str) if before is None else before
    total = len(taken) + count
    shares = {
        "calibration": config.calibration.held_out_share,
        "valid": config.potential.validation_share,
    }
    if config.calibration.method == "none":
        shares["calibration"] = 0.0
    splits = np.full(count, "train", dtype="<U11")
    order = np.random.default_rng(seed_of(config, round_, "split")).permutation(count)
    used = 0
    for name, share in shares.items():
        wanted = max(0, round(share * total) - int((taken == name).sum()))
        splits[order[used : used + wanted]] = name
        used += wanted
    return splits


def choose_frames(
    cv: UncertaintyCV,
    pool: Dataset,
    labelled: Dataset | None,
    size: int,
    method: Method,
    *,
    seed: int,
) -> NDArray[np.int64]:
    """Return which frames of a pool to label, by the features and uncertainty of a variable.

    Uncertainties are taken from the pool's column if it has one, as stored while sampling.
    """
    scores = pool.info.get("uncertainty")
    if scores is None and method == "top_u":
        scores = cv.evaluate(pool).uncertainty
    known = None if labelled is None else frame_features(cv, labelled)
    return select(frame_features(cv, pool), known, size, method, scores=scores, seed=seed)


def frame_features(cv: UncertaintyCV, frames: Dataset) -> NDArray[np.float64]:
    """Return the mean over atoms of the potential's features (F, D)."""
    features = cv.potential.evaluate(frames).features
    return features.sum(axis=1) / frames.frame_atoms[:, None]


def torsion_coverage(setup: Setup, frames: list[Dataset]) -> float | None:
    """Return the coverage of the torsions by all stored frames, None without torsions."""
    if not setup.torsions or not frames:
        return None
    angles = [dihedrals(regular(part), np.array(setup.torsions)) for part in frames]
    return coverage(np.concatenate(angles))


def kind_of_stop(reason: str) -> str:
    """Return which rule a stop reason comes from, for counting."""
    for words, kind in _STOP_KINDS.items():
        if words in reason:
            return kind
    return "other"


def _bare(frames: Dataset) -> Dataset:
    return Dataset(frames.numbers, frames.positions, frames.cell, frames.pbc)
