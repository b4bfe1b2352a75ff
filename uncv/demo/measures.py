"""What the demonstration measures of a finished campaign."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncv.analysis import coverage, dihedrals
from uncv.calibration import coverage as inside
from uncv.cv import UncertaintyCV
from uncv.data import Dataset, concatenate
from uncv.errors import DataError
from uncv.evaluation import errors, exchangeable_coverage
from uncv.learning import CampaignResult
from uncv.learning.directory import RunDirectory, regular

TEST_ALPHA = 0.05
"""Accepted share of errors outside, of the calibration on half of the test set."""


class ConformalShare(NamedTuple):
    """Share of test errors inside the calibrated uncertainty, with its 95 % interval."""

    share: float
    low: float
    high: float
    promised: float | None


class Curve(NamedTuple):
    """What became of a campaign label by label; all lists are as long as there are models."""

    labels: list[int]
    coverage: list[float]
    energy_rmse_mev_per_atom: list[float]
    force_rmse_ev_per_angstrom: list[float]


@dataclass(frozen=True)
class RunSummary:
    """Numbers of one campaign, as in ``summary.json``.

    Attributes
    ----------
    labels, failed_labels, md_steps, frames : int
        Labelled frames, those that the oracle refused (forces beyond its limit), steps of all
        walkers together, and stored frames that count.
    coverage : float
        Coverage of φ and ψ by these frames.
    energy_rmse_mev_per_atom, force_rmse_ev_per_angstrom : float
        Of the final potential on the 1200 K test set.
    conformal_coverage_out_of_distribution : ConformalShare
        Of the campaign's own calibration on the test set, which is not exchangeable with what the
        campaign calibrated on: no promise holds.
    conformal_coverage_exchangeable : ConformalShare
        Of a calibration on a random half of the test set, counted on the other half.
    calibration : str
        How the campaign calibrated in the end.
    seconds : float
        Wall time of the campaign.
    curve : Curve
        The same after each training.
    """

    labels: int
    failed_labels: int
    md_steps: int
    frames: int
    coverage: float
    energy_rmse_mev_per_atom: float
    force_rmse_ev_per_angstrom: float
    conformal_coverage_out_of_distribution: ConformalShare
    conformal_coverage_exchangeable: ConformalShare
    calibration: str
    seconds: float
    curve: Curve

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON, tuples with names as dictionaries."""
        plain = {k: v._asdict() if hasattr(v, "_asdict") else v for k, v in vars(self).items()}
        plain["wall_seconds"] = plain.pop("seconds")
        return plain


def angles_of(directory: Path) -> list[NDArray[np.float64]]:
    """Return φ and ψ (F, 2) of the stored frames of each round."""
    return [dihedrals(regular(part)) for part in RunDirectory(directory).stored_frames()]


def summarise(
    result: CampaignResult, test: Dataset, frames: int, curve_frames: int, seed: int
) -> RunSummary:
    """Measure a campaign on a test set, its coverage by its first ``frames`` stored frames."""
    directory = RunDirectory(result.directory)
    cv = UncertaintyCV.load(directory.final)
    angles = np.concatenate(angles_of(directory.path))[:frames]
    found = errors(cv.potential, test)
    own, half = _shares(cv, test, seed)
    events = directory.journal.events("trained")
    return RunSummary(
        labels=result.labels,
        failed_labels=sum(len(e["errors"]) for e in directory.journal.events("labelled")),
        md_steps=result.walker_steps,
        frames=len(angles),
        coverage=coverage(angles),
        energy_rmse_mev_per_atom=found.energy_rmse_mev_per_atom,
        force_rmse_ev_per_angstrom=found.force_rmse_ev_per_angstrom,
        conformal_coverage_out_of_distribution=own,
        conformal_coverage_exchangeable=half,
        calibration=events[-1]["calibration"],
        seconds=seconds_of(directory),
        curve=learning_curve(directory, test[:: max(1, len(test) // curve_frames)]),
    )


def learning_curve(directory: RunDirectory, test: Dataset) -> Curve:
    """Return coverage and errors after each training."""
    rounds = [event["round"] for event in directory.journal.events("trained")]
    labelled = directory.labelled()
    angles = angles_of(directory.path)
    curve = Curve([], [], [], [])
    for number in sorted(set(rounds)):
        found = errors(UncertaintyCV.load(directory.model(number)).potential, test)
        seen = angles[: number - 1]
        curve.labels.append(int((labelled.info["round"] < number).sum()) if labelled else 0)
        curve.coverage.append(coverage(np.concatenate(seen)) if seen else 0.0)
        curve.energy_rmse_mev_per_atom.append(found.energy_rmse_mev_per_atom)
        curve.force_rmse_ev_per_angstrom.append(found.force_rmse_ev_per_angstrom)
    return curve


def seconds_of(directory: RunDirectory) -> float:
    """Return how long the stages of a campaign took together, interruptions aside."""
    events = directory.journal.events()
    return round(sum(event.get("seconds", 0.0) for event in events), 1)


def together(parts: dict[str, Dataset]) -> Dataset:
    """Join the datasets of the runs, with a column that names the run."""
    return concatenate([d.with_info(run=np.full(len(d), name)) for name, d in parts.items()])


def _shares(cv: UncertaintyCV, test: Dataset, seed: int) -> tuple[ConformalShare, ConformalShare]:
    alpha = getattr(cv.calibrator, "alpha", None)
    own = ConformalShare(*inside(cv, test, seed=seed), None if alpha is None else 1.0 - alpha)
    half = exchangeable_coverage(cv, test, alpha=TEST_ALPHA, seed=seed)
    if half is None:
        raise DataError(f"{len(test)} test frames are too few to calibrate on half of them")
    return own, ConformalShare(*half, 1.0 - TEST_ALPHA)
