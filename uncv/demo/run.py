"""The demonstration: alanine dipeptide learnt twice, with and without a bias on the uncertainty."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from uncv.analysis import coverage, dihedrals
from uncv.config import CampaignConfig
from uncv.config.oracle import ForceFieldOracleConfig
from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.demo.measures import RunSummary, angles_of, summarise, together
from uncv.demo.metadynamics import Metadynamics, run_metadynamics
from uncv.demo.report import Material, write_demo_report
from uncv.demo.settings import RUNS, DemoSettings, demo_settings
from uncv.errors import CampaignError
from uncv.executors import InProcessExecutor, process_pool, torch_threads
from uncv.export import export
from uncv.io import read, write
from uncv.journal import replace_file
from uncv.learning import CampaignProgress, CampaignResult, learn
from uncv.learning.directory import RunDirectory, regular
from uncv.learning.setup import Setup, make_setup
from uncv.reference import reference_md

_POLL_SECONDS = 0.25
_CAMPAIGNS_SHARE = 0.85
_REFERENCE = "reference, 1200 K"


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

    def headlines(self) -> dict[str, Any]:
        """Return the numbers to look at first."""
        shown = ("labels", "coverage", "energy_rmse_mev_per_atom", "force_rmse_ev_per_angstrom")
        runs = {n: {k: getattr(run, k) for k in shown} for n, run in self.runs.items()}
        return {**runs, "report": self.folder / "report.html"}


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
    with _executor(settings) as executor, torch_threads(1):
        work = _Demo(folder, seed, settings, executor, tell)
        material, reference = work.measure(work.campaigns())
        work.tell_stage("writing the report", 0.97)
        write_demo_report(folder, material)
        _write_files(folder, material.cv, work.setup)
    summary = DemoSummary(folder, material.runs, reference, time.monotonic() - begun)
    text = json.dumps(summary.to_json(), indent=2)
    replace_file(folder / "summary.json", lambda part: part.write_text(text, encoding="utf-8"))
    work.tell_stage("done", 1.0)
    return summary


class _Demo:
    """The two campaigns, and what is measured of them; the work goes through an executor."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        settings: DemoSettings,
        executor: Executor,
        tell: Callable[[DemoProgress], None],
    ) -> None:
        self.folder = folder
        self.seed = seed
        self.settings = settings
        self.executor = executor
        self.tell = tell
        self.config = settings.config("biased", seed)
        self.setup = make_setup(self.config)

    def tell_stage(self, text: str, fraction: float) -> None:
        self.tell(DemoProgress(fraction, text, _states(self.folder)))

    def campaigns(self) -> dict[str, CampaignResult]:
        jobs = {
            name: self.executor.submit(
                _campaign, self.settings.config(name, self.seed), self.folder / name
            )
            for name in RUNS
        }
        self._watch(list(jobs.values()))
        results = {name: job.result() for name, job in jobs.items()}
        if not all(result.finished for result in results.values()):
            raise CampaignError(
                f"the campaigns in {self.folder} were interrupted; run the same command again to "
                "continue"
            )
        return results

    def _watch(self, jobs: list[Future[CampaignResult]]) -> None:
        waiting = True
        while waiting:
            try:
                waiting = bool(wait(jobs, timeout=_POLL_SECONDS).not_done)
            except KeyboardInterrupt:  # the campaigns have heard it too, and end after their step
                continue
            states = _states(self.folder)
            done = sum(state.fraction for state in states.values()) / len(RUNS)
            self.tell(DemoProgress(_CAMPAIGNS_SHARE * done, "campaigns", states))

    def measure(self, results: dict[str, CampaignResult]) -> tuple[Material, float]:
        """Return what the report needs, and the coverage by the reference at equal frames."""
        settings, seed = self.settings, self.seed
        angles = {name: np.concatenate(angles_of(self.folder / name)) for name in RUNS}
        frames = min(len(values) for values in angles.values())
        self.tell_stage("reference dynamics at 1200 K", _CAMPAIGNS_SHARE)
        meta = self.executor.submit(_metadynamics, self.config, self.folder, settings, seed)
        hot = self.executor.submit(_reference, self.config, settings, seed).result()
        self.tell_stage("measuring on the test set", 0.88)
        jobs = {
            name: self.executor.submit(summarise, result, hot, frames, settings.curve_frames, seed)
            for name, result in results.items()
        }
        runs = {name: job.result() for name, job in jobs.items()}
        self.tell_stage("metadynamics by PLUMED", 0.94)
        maps = {name: values[:frames] for name, values in angles.items()}
        maps[_REFERENCE] = dihedrals(hot[:frames], np.array(self.setup.torsions))
        temperatures = dict.fromkeys(maps, self.config.sampling.temperature_k)
        temperatures[_REFERENCE] = settings.reference.temperature
        cv = UncertaintyCV.load(RunDirectory(self.folder / "biased").final)
        material = Material(runs, maps, cv, hot, meta.result(), temperatures)
        return material, coverage(maps[_REFERENCE])


def _write_files(folder: Path, cv: UncertaintyCV, setup: Setup) -> None:
    for name in ("labelled", "candidates"):
        parts = {run: read(folder / run / f"{name}.extxyz") for run in RUNS}
        joined = together(parts)
        replace_file(folder / f"{name}.extxyz", partial(write, data=joined))
    replace_file(folder / "alanine_dipeptide.uncv", cv.save)
    export(cv, setup.start, folder / "alanine_dipeptide.pt")


def _executor(settings: DemoSettings) -> Executor:
    return process_pool(settings.workers) if settings.workers > 1 else InProcessExecutor()


def _campaign(config: CampaignConfig, folder: Path) -> CampaignResult:
    """Run one campaign, leaving word of its progress beside its run directory."""
    told = 0.0

    def tell(state: CampaignProgress) -> None:
        nonlocal told
        if state.stage == "done" or time.monotonic() - told > _POLL_SECONDS:
            told = time.monotonic()
            text = json.dumps(state._asdict())
            path = _state_file(folder)
            path.with_suffix(".part").write_text(text, encoding="utf-8")
            path.with_suffix(".part").replace(path)

    return learn(config, folder, tell)


def _reference(config: CampaignConfig, settings: DemoSettings, seed: int) -> Dataset:
    setup = make_setup(config)
    files = cast("ForceFieldOracleConfig", config.oracle).force_field
    return reference_md(setup.topology, files, setup.start, settings.reference, seed=seed)


def _metadynamics(
    config: CampaignConfig, folder: Path, settings: DemoSettings, seed: int
) -> NDArray[np.float64]:
    setup, biased = make_setup(config), RunDirectory(folder / "biased")
    cv = UncertaintyCV.load(biased.final)
    seen = cv.predict(regular(biased.stored_frames()[-1])).uncertainty
    run = Metadynamics(folder, settings.metadynamics_steps, seed=seed)
    return run_metadynamics(setup.topology, setup.start, cv, seen, run)


def _states(folder: Path) -> dict[str, CampaignProgress]:
    paths = {name: _state_file(folder / name) for name in RUNS}
    return {
        name: CampaignProgress(**json.loads(path.read_text(encoding="utf-8")))
        for name, path in paths.items()
        if path.exists()
    }


def _state_file(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.progress.json")
