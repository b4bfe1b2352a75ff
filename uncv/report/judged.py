"""What the models of a campaign say of frames that they were not trained on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from uncv.calibration import Coverage, Scores, coverage_of
from uncv.cv import CVPrediction, UncertaintyCV
from uncv.data import Dataset
from uncv.errors import UncvError
from uncv.evaluation import Judged, judge
from uncv.io import read
from uncv.metrics import Estimate
from uncv.metrics.bootstrap import DEFAULT, estimate, points, weighted_mean
from uncv.plots_chart import thinned
from uncv.report.run import RunFiles
from uncv.units import EV_PER_ANGSTROM3_IN_GPA, Kind

FloatArray = NDArray[np.float64]
NEW, TEST = "new labels", "test set"


class Rmse(NamedTuple):
    """Root mean square errors, each with a 95 % interval over frames; None without the labels."""

    energy_mev_per_atom: Estimate | None
    force_ev_per_angstrom: Estimate | None
    stress_gpa: Estimate | None


class Verdict(NamedTuple):
    """What one model says of some labelled frames.

    Attributes
    ----------
    round : int
        Of the model.
    labels : int
        Frames that it was made from.
    frames : int
        Frames it is judged by.
    rmse : Rmse
        Its errors.
    judged : Judged
        Errors beside uncertainties.
    inside : Coverage
        Share of the errors inside the uncertainty.
    energy, force : numpy.ndarray
        Reference and prediction (n, 2): of energies in meV/atom from the mean of the references,
        of force components in eV/Å.
    """

    round: int
    labels: int
    frames: int
    rmse: Rmse
    judged: Judged
    inside: Coverage
    energy: FloatArray
    force: FloatArray


class Verdicts(NamedTuple):
    """The models of a campaign judged: by new labels, by test data, and why not."""

    new: list[Verdict]
    test: list[Verdict]
    notes: tuple[str, ...]
    test_said: str


def judge_models(
    run: RunFiles, most: int, tell: Callable[[int, int], None] = lambda done, total: None
) -> Verdicts:
    """Judge every model by the labels that were chosen with it, and by the test data.

    Parameters
    ----------
    run : RunFiles
        The campaign.
    most : int
        Frames of the test data that each model is judged by; none at all if 0.
    tell : callable
        Told how many models are done, and how many there are.
    """
    test, said = _test_data(run, most)
    rounds = run.round_of_labels()
    sizes = _sizes(run)
    found = Verdicts([], [], (), said)
    notes: list[str] = []
    for done, (number, labels) in enumerate(sizes.items() if most else ()):
        new = None if run.labelled is None else run.labelled[np.flatnonzero(rounds == number)]
        try:
            cv = UncertaintyCV.load(run.directory.model(number))
            if new is not None and len(new):
                found.new.append(_verdict(cv, new, number, labels))
            if test is not None:
                found.test.append(_verdict(cv, test, number, labels))
        except (UncvError, OSError, ValueError, ImportError) as error:
            notes.append(f"the model of round {number} cannot be judged: {error}")
        tell(done + 1, len(sizes))
    if not most:
        notes.append("models were not evaluated (--frames 0): errors are those of the journal")
    return found._replace(notes=tuple(notes))


def pooled(verdicts: list[Verdict]) -> Judged | None:
    """Return all points of several verdicts as one, None where there are too few."""
    if sum(len(v.judged.scores.residual) for v in verdicts) < 2:
        return None
    last, begun, parts = verdicts[-1].judged, 0, []
    same = [v for v in verdicts if v.judged.uncertainty_kind == last.uncertainty_kind]
    for v in same:
        parts.append(v.judged.scores._replace(frame=v.judged.scores.frame + begun))
        begun += v.frames
    joined = Scores(
        np.concatenate([p.residual for p in parts]),
        np.concatenate([p.uncertainty for p in parts]),
        np.concatenate([p.frame for p in parts]),
    )
    deviation = np.concatenate([v.judged.standard_deviation for v in same])
    promised = {v.judged.promised for v in same}
    return last._replace(
        scores=joined,
        standard_deviation=deviation,
        frames=begun,
        promised=last.promised if len(promised) == 1 else None,
        notes=tuple(dict.fromkeys(note for v in same for note in v.judged.notes)),
    )


def _verdict(cv: UncertaintyCV, data: Dataset, number: int, labels: int) -> Verdict:
    listening = _Listening(cv)
    judged = judge(cast("UncertaintyCV", listening), data)
    said = listening.said()
    energy = force = np.zeros((0, 2))
    if data.has("energy"):
        known = np.asarray(data.energy) / data.frame_atoms
        pair = np.stack([known, said.energy / data.frame_atoms], axis=1)
        energy = 1000.0 * (pair - known.mean())
    if data.has("forces"):
        mask = data.mask
        force = np.stack([np.asarray(data.forces)[mask].ravel(), said.forces[mask].ravel()], axis=1)
    rmse = _rmse(cv, data, said, energy)
    inside = coverage_of(judged.scores)
    return Verdict(number, labels, len(data), rmse, judged, inside, energy, force)


class _Listening:
    """A collective variable that keeps what it was asked for."""

    def __init__(self, cv: UncertaintyCV) -> None:
        self.kind: Kind = cv.kind
        self.uncertainty: Any = cv.uncertainty
        self.calibrator: Any = cv.calibrator
        self._cv = cv
        self._parts: list[CVPrediction] = []

    def predict(self, data: Dataset) -> CVPrediction:
        """Return it, and keep it."""
        self._parts.append(self._cv.predict(data))
        return self._parts[-1]

    def said(self) -> CVPrediction:
        """Return everything that was asked for."""
        return CVPrediction(*(np.concatenate(values) for values in zip(*self._parts, strict=True)))


def _rmse(cv: UncertaintyCV, data: Dataset, said: CVPrediction, energy: FloatArray) -> Rmse:
    force = stress = None
    frames = np.arange(len(data))
    if data.has("forces"):
        wrong = (said.forces - np.asarray(data.forces))[data.mask].ravel()
        force = _root(wrong, np.repeat(frames, 3 * data.frame_atoms))
    if data.has("stress") and data.pbc.all():
        told = cv.potential.evaluate(data).stress
        if told is not None:
            wrong = EV_PER_ANGSTROM3_IN_GPA * (told - np.asarray(data.stress)).reshape(-1)
            stress = _root(wrong, np.repeat(frames, 9))
    total = _root(energy[:, 1] - energy[:, 0], frames) if len(energy) else None
    return Rmse(total, force, stress)


def _root(wrong: FloatArray, frame: NDArray[np.int64]) -> Estimate | None:
    """Return the root mean square of errors, frames resampled."""
    if len(wrong) < 2:
        return Estimate(float(abs(wrong[0])), np.nan, np.nan) if len(wrong) else None
    data = points(np.ones(len(wrong)), wrong, frame)
    found = estimate(weighted_mean(wrong**2, data), data, DEFAULT)
    return Estimate(*(float(np.sqrt(value)) for value in found))


def _sizes(run: RunFiles) -> dict[int, int]:
    """Return how many labels each model that is there was made from, by its round."""
    sizes = {int(e["round"]): sum((e.get("frames") or {}).values()) for e in run.of("trained")}
    return {n: size for n, size in sizes.items() if run.directory.model(n).exists()}


def _test_data(run: RunFiles, most: int) -> tuple[Dataset | None, str]:
    """Return the test data of the configuration, or at most so many frames of them; and words."""
    given = run.at("system", "test_data")
    if given is None:
        return None, "To have them, name labelled frames as system.test_data in the configuration."
    if not most:
        return None, "To have them, evaluate the models (--frames more than 0)."
    try:
        data = read(given)
    except (UncvError, OSError, ValueError) as error:
        return None, f"The test data cannot be read: {error}."
    chosen = thinned(len(data), most)
    some = "" if len(chosen) == len(data) else f" of {len(data)}, evenly spaced,"
    return data[chosen], f"{len(chosen)} frames{some} of {given}"
