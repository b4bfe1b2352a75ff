"""What is read off a run directory at some number of labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import uncv
from uncv.analysis import autocorrelation_times, coverage, coverage_series, dihedrals
from uncv.data import Dataset, concatenate
from uncv.learning.directory import RunDirectory

EQUAL_FRAMES = (1000, 2000, 5000, 10000, 20000, 30000, 38000)
"""Numbers of frames at which methods are compared, where there are as many."""
FRAME_PS = 25 * 0.5e-3
"""Between the stored frames of a walker."""


def figures_of(directory: Path, labels: int, test: Path, *, dynamics: bool) -> dict[str, Any]:
    """Return coverage, errors, autocorrelation and times of a campaign with so many labels."""
    run = RunDirectory(directory)
    frames = concatenate(run.stored_frames())
    angles = dihedrals(frames)
    counts = [n for n in EQUAL_FRAMES if n <= len(frames)]
    test_frames: Dataset = uncv.read(test)
    potential = uncv.UncertaintyCV.load(run.final).potential
    found = uncv.evaluation.errors(potential, test_frames)
    events = run.journal.events()
    sampled = [e for e in events if e["event"] == "sampled"]
    return {
        "labels": labels,
        "frames": len(frames),
        "walker_steps": sum(e["walker_steps"] for e in sampled),
        "coverage": float(coverage(angles)),
        "coverage_at": dict(zip(map(str, counts), coverage_series(angles, counts), strict=True)),
        **found._asdict(),
        "frame_ps": FRAME_PS,
        "stops": sum(e["stops"] for e in sampled),
        "autocorrelation": autocorrelation(frames, angles, dynamics=dynamics),
        "seconds": {
            name: round(sum(e.get("seconds", 0.0) for e in events if e["event"] == event), 1)
            for name, event in (("training", "trained"), ("sampling", "sampled"))
        },
        **_trainings([e for e in events if e["event"] == "trained"]),
    }


def coverage_by_labels(directory: Path, labels: list[int]) -> dict[int, float]:
    """Return the coverage by the frames that a campaign had seen when it had so many labels."""
    run = RunDirectory(directory)
    rounds = uncv.read(directory / "labelled.extxyz").info["round"]
    frames = concatenate(run.stored_frames())
    angles, seen = dihedrals(frames), frames.info["round"]
    known = [n for n in labels if n <= len(rounds)]
    counts = [int((seen <= rounds[:n].max()).sum()) for n in known]
    return dict(zip(known, map(float, coverage_series(angles, counts)), strict=True))


def _trainings(events: list[dict[str, Any]]) -> dict[str, float]:
    """Return the seconds of the longest training of a round, and of the last on all labels."""
    rounds = [e["seconds"] for e in events if e["round"] > 1 and not e.get("anew")]
    last = [e["seconds"] for e in events if e.get("anew")]
    return {"longest_training": max(rounds, default=0.0), "last_training": max(last, default=0.0)}


def autocorrelation(
    frames: Dataset, angles: np.ndarray, *, dynamics: bool
) -> dict[str, list[float]]:
    """Return integrated times of cos and sin of φ and ψ, with errors, in frames.

    A walker goes on from round to round, so that its frames are one series; attacks are none.
    """
    if not dynamics:
        return {}
    found = autocorrelation_times(angles, walker=frames.info["walker"])
    return {name: [float(t.time), float(t.error)] for name, t in found}
