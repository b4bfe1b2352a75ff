"""One round of a campaign: train, sample, choose, label; each stage done once, even over a kill."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncv.analysis import coverage, dihedrals
from uncv.calibration import ScaleCalibrator
from uncv.config import CampaignConfig
from uncv.cv import UncertaintyCV
from uncv.data import Dataset, concatenate
from uncv.errors import CalibrationWarning, CampaignError
from uncv.io import read, write
from uncv.journal import replace_file
from uncv.learning.bias import Dynamics, choose_bias, warm_up_steps
from uncv.learning.calibration import (
    SPLITS,
    Calibration,
    Folds,
    assign_splits,
    calibrate,
    check_drift,
    trains_folds,
)
from uncv.learning.directory import RunDirectory, regular
from uncv.learning.pool import choose_frames
from uncv.learning.setup import (
    Setup,
    displaced_starts,
    sample_settings,
    seed_of,
    stop_rules,
    viability_rules,
)
from uncv.learning.trainer import Trainer
from uncv.models import AniPotential
from uncv.oracles import labelled_part
from uncv.sampling import sample

ATTEMPTS = 4
"""How often a round chooses again for labels that failed."""
_STOP_KINDS = {
    "not finite": "not finite",
    "were bonded": "stretched bond",
    "Å apart": "short contact",
    "force": "force",
    "uncertainty": "uncertainty",
}
Report = Callable[[str, float], None]
"""Told the stage and how much of it is done (0 to 1); may raise to end the campaign there."""


class Trained(NamedTuple):
    """What a round trained, not calibrated yet, and how it is calibrated."""

    cv: UncertaintyCV
    calibration: Calibration


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
        found = self._train(labelled, parts)
        cv, calibrator = found.cv, found.calibration.calibrator
        self.directory.record(
            "trained",
            self.number,
            seconds=round(time.monotonic() - begun, 2),
            fingerprint=cv.fingerprint,
            frames={s: len(parts[s]) for s in SPLITS},
            calibration=found.calibration.note,
            factor=calibrator.factor if isinstance(calibrator, ScaleCalibrator) else None,
        )
        return self.directory.save_model(path, cv.calibrated(calibrator))

    def _train(self, labelled: Dataset, parts: dict[str, Dataset]) -> Trained:
        given, held_out = self.config.calibration, parts["calibration"]
        trainer = Trainer(
            self.config,
            self.number,
            parts["valid"],
            1 + (given.folds if trains_folds(len(held_out), given) else 0),
            lambda share: self.report("train", share),
        )
        cv = trainer.model(parts["train"], self._previous_potential())
        every = labelled[np.flatnonzero(labelled.info["split"] != "valid")]
        folds = Folds(every, trainer.fold, seed_of(self.config, self.number, "fold"))
        return Trained(cv, calibrate(cv, held_out, self.config, folds))

    def sample(self, cv: UncertaintyCV) -> Dataset:
        """Run the walkers, or read the frames of the run."""
        path = self.directory.frames(self.number)
        if path.exists():
            return read(path)
        begun = time.monotonic()
        dynamics = self._dynamics(cv)
        bias = choose_bias(self.config.bias, dynamics)
        spent = warm_up_steps(self.config.bias, dynamics.settings)
        run = sample(
            dynamics.topology,
            dynamics.starts,
            cv,
            settings=replace(dynamics.settings, steps=dynamics.settings.steps - spent),
            bias=bias,
            stop=dynamics.stop,
            restart_pool=dynamics.pool,
            seed=seed_of(self.config, self.number, "sample"),
            progress=lambda done, total: self.report("sample", done / total),
        )
        frames = run.frames.with_info(round=np.full(len(run.frames), self.number))
        self.directory.record(
            "sampled",
            self.number,
            seconds=round(time.monotonic() - begun, 2),
            frames=len(frames),
            walker_steps=run.walker_steps + spent * dynamics.settings.walkers,
            bias=repr(bias),
            reweightable=run.reweightable,
            reason=run.reason,
            stops=len(run.stop_reasons),
            stop_reasons=dict(Counter(kind_of_stop(reason) for reason in run.stop_reasons)),
        )
        replace_file(path, lambda part: write(part, frames))
        return read(path)

    def _dynamics(self, cv: UncertaintyCV) -> Dynamics:
        start = self.setup.start
        return Dynamics(
            self.setup.topology,
            self.starts(),
            cv,
            sample_settings(self.config),
            stop_rules(self.config).prepare(start.numbers[0], start.positions[0], cv.kind),
            self._labelled().without_labels(),
            seed_of(self.config, self.number, "warm_up"),
        )

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

    def pool(self, frames: Dataset) -> Dataset:
        """Return the frames that are whole structures.

        Raises
        ------
        CampaignError
            If every frame is broken.
        """
        reasons = self.broken(frames)
        whole = frames[np.flatnonzero(reasons == "")]
        if len(whole) == 0:
            raise CampaignError(
                f"all {len(frames)} frames of round {self.number} are broken structures (first: "
                f"{reasons[0]}); lower the bias strength or tighten the stop rules"
            )
        return whole

    def choose_and_label(self, cv: UncertaintyCV, pool: Dataset) -> None:
        """Choose frames and label them; for those that fail others of the pool are chosen.

        Raises
        ------
        CampaignError
            If the oracle failed for all of the first choice.
        """
        known = self._labelled()
        budget, batch = self.config.budget.labels, self.config.selection.batch_size
        missing = min(batch, budget - len(known))
        answers: list[Dataset] = []
        for attempt in range(ATTEMPTS):
            size = min(missing, len(pool))
            if size == 0:
                break
            chosen = choose_frames(
                cv,
                pool,
                concatenate([known, *answers]),
                size,
                self.config.selection.method,
                seed=seed_of(self.config, self.number, "select") + attempt,
            )
            picked = pool[chosen].with_info(fingerprint=np.full(size, cv.fingerprint))
            answers.append(self.setup.oracle.label(picked))
            missing -= self._check_labels(answers[-1], everything=attempt == 0)
            pool = pool[np.setdiff1d(np.arange(len(pool)), chosen)]
        tried = concatenate(answers)
        self.directory.record(
            "selected",
            self.number,
            walker=tried.info["walker"].tolist(),
            step=tried.info["step"].tolist(),
        )
        self._check_calibration(cv, labelled_part(tried))
        self._keep(tried)

    def label(self, frames: Dataset) -> None:
        """Label frames and add them to the run directory; failed ones go to quarantine.

        Raises
        ------
        CampaignError
            If the oracle failed for all of them.
        """
        answer = self.setup.oracle.label(frames)
        self._check_labels(answer, everything=True)
        self._keep(answer)

    def _check_calibration(self, cv: UncertaintyCV, labelled: Dataset) -> None:
        """Warn where the new labels do not fit the calibration of the model that chose them."""
        found = check_drift(cv, labelled)
        if found is None:
            return
        if found.drifted:
            warnings.warn(f"round {self.number}: {found.message}", CalibrationWarning, stacklevel=2)
        self.directory.record("calibration_checked", self.number, **found._asdict())

    def _check_labels(self, answer: Dataset, *, everything: bool) -> int:
        """Return how many labels are good, refusing an oracle that fails for everything."""
        errors = answer.info["label_error"]
        good = int((errors == "").sum())
        if everything and good == 0:
            self.directory.add("quarantine", answer.without_labels())
            raise CampaignError(
                f"the oracle failed for all {len(answer)} frames of round {self.number} (first: "
                f"{errors[0]}); correct the oracle and run again to continue"
            )
        return good

    def _keep(self, answer: Dataset) -> None:
        good = labelled_part(answer)
        failed = answer[np.flatnonzero(answer.info["label_error"] != "")]
        before = self.directory.labelled()
        taken = None if before is None else before.info["split"]
        splits = assign_splits(taken, len(good), self.config, self.number)
        self.directory.record(
            "labelled", self.number, frames=len(good), errors=failed.info["label_error"].tolist()
        )
        self.directory.add("quarantine", failed.without_labels())
        self.directory.add("labelled", good.with_info(split=splits))

    def _previous_potential(self) -> AniPotential | None:
        path = self.directory.model(self.number - 1)
        if not path.exists():
            return None
        potential = UncertaintyCV.load(path).potential
        if not isinstance(potential, AniPotential):
            raise CampaignError(f"{path} holds a potential that cannot be trained further")
        return potential

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
