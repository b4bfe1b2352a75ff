"""The demonstration: alanine dipeptide learnt twice, with and without a bias on the uncertainty."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.demo_measures import RunSummary, angles_of, summarise, together
from uncv.demo_metadynamics import Metadynamics, run_metadynamics
from uncv.demo_report import Material, write_demo_report
from uncv.demo_settings import RUNS, DemoSettings, demo_settings
from uncv.errors import CampaignError
from uncv.executors import InProcessExecutor, process_pool
from uncv.export import export
from uncv.io import write
from uncv.journal import replace_file
from uncv.learning import CampaignProgress, CampaignResult, learn
from uncv.learning_directory import RunDirectory
from uncv.learning_setup import make_setup
from uncv.reference import reference_md

_POLL_SECONDS = 0.25
_CAMPAIGNS_SHARE = 0.85


class DemoProgress(NamedTuple):
    """How far the demonstration is.

    Attributes
    ----------
    fraction : float
        Estimated share done, 0 to 1.
    stage : str
        What is being done.
    campaigns : dict of str to CampaignProgress
        The campaigns that have begun.
    """

    fraction: float
    stage: str
    campaigns: dict[str, CampaignProgress]


class DemoSummary(NamedTuple):
    """What the demonstration came to.

    Attributes
    ----------
    folder : pathlib.Path
        Where ``report.html``, ``summary.json`` and the rest lie.
    runs : dict of str to RunSummary
        Numbers of the unbiased and the biased campaign.
    reference_coverage : float
        Coverage by the 1200 K reference at as many frames.
    seconds : float
        Wall time.
    """

    folder: Path
    runs: dict[str, RunSummary]
    reference_coverage: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            **{name: run.to_json() for name, run in self.runs.items()},
            "coverage_ratio": self.runs["biased"].coverage / self.runs["unbiased"].coverage,
            "reference_coverage": self.reference_coverage,
            "wall_seconds": round(self.seconds, 1),
            "report": str(self.folder / "report.html"),
        }


def demo(
    out: str | Path,
    seed: int = 0,
    *,
    settings: DemoSettings | None = None,
    progress: Callable[[DemoProgress], None] | None = None,
) -> DemoSummary:
    """Run the demonstration; called again on the same folder it goes on where it stopped.

    Parameters
    ----------
    out : path-like
        Folder for everything.
    seed : int
        Of both campaigns and of the reference.
    settings : DemoSettings, optional
        Sizes; by default the full demonstration, tiny if ``UNCV_QUICK=1`` is in the environment.
    progress : callable, optional
        Called several times a second.

    Raises
    ------
    CampaignError
        If a campaign was interrupted or the folder holds another one.
    """
    begun = time.monotonic()
    settings = settings or demo_settings()
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    tell = progress or (lambda _: None)
    results = _campaigns(folder, seed, settings, tell)
    campaigns = {name: _read_progress(folder / name) for name in RUNS}
    done = {name: state for name, state in campaigns.items() if state is not None}

    def stage(text: str, fraction: float) -> None:
        tell(DemoProgress(fraction, text, done))

    stage("reference dynamics at 1200 K", _CAMPAIGNS_SHARE)
    setup = make_setup(settings.config("biased", seed))
    files = settings.config("biased", seed).oracle.force_field
    hot = reference_md(setup.topology, files, setup.start, settings.reference, seed=seed)
    stage("measuring on the test set", 0.90)
    angles = {name: np.concatenate(angles_of(folder / name)) for name in RUNS}
    frames = min(len(values) for values in angles.values())
    runs = {
        name: summarise(result, hot, frames, curve_frames=settings.curve_frames, seed=seed)
        for name, result in results.items()
    }
    stage("metadynamics by PLUMED", 0.94)
    cv = UncertaintyCV.load(RunDirectory(folder / "biased").final)
    seen = np.concatenate(
        [part.info["uncertainty"] for part in RunDirectory(folder / "biased").stored_frames()]
    )
    run = Metadynamics(folder, settings.metadynamics_steps, seed=seed)
    colvar = run_metadynamics(setup.topology, setup.start, cv, seen, run)
    stage("writing the report", 0.98)
    material = _material(runs, {n: a[:frames] for n, a in angles.items()}, cv, hot, colvar, frames)
    _write_files(folder, cv, setup.start)
    write_demo_report(folder, material)
    reference = runs and float(_reference_coverage(material))
    summary = DemoSummary(folder, runs, reference, time.monotonic() - begun)
    text = json.dumps(summary.to_json(), indent=2)
    replace_file(folder / "summary.json", lambda part: part.write_text(text, encoding="utf-8"))
    stage("done", 1.0)
    return summary
