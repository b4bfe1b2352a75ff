"""The dynamics of a group of walkers, whatever engine moves them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uncv.bias import AnyBias, WarmUp
from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.learning.directory import regular
from uncv.plumed import Plumed
from uncv.sampling import SampleSettings, sample
from uncv.sampling_crystal import CrystalSettings, sample_crystal
from uncv.sampling_run import SampledRun
from uncv.schedule import Schedule
from uncv.stopping import StopChecker
from uncv.units import FS_IN_PS

if TYPE_CHECKING:
    from openmm.app import Topology

WARM_UP_FRAMES = 10
"""Frames of each walker that the warm-up is judged by."""


@dataclass(frozen=True)
class Dynamics:
    """What a run is given, but for its bias.

    Parameters
    ----------
    topology : openmm.app.Topology
        Of one walker.
    starts : Dataset
        Start structures.
    cv : UncertaintyCV
        Potential and uncertainty.
    settings : SampleSettings or CrystalSettings
        Of the run; the latter is moved by ASE.
    stop : StopChecker, optional
        When a walker stops.
    pool : Dataset, optional
        Where a stopped walker begins again.
    seed : int
        Of the warm-up.
    plumed : str, optional
        PLUMED input file that acts in the run, not in the warm-up.
    folder : path-like, optional
        Where PLUMED's relative paths begin.
    """

    topology: Topology
    starts: Dataset
    cv: UncertaintyCV
    settings: SampleSettings | CrystalSettings
    stop: StopChecker | None = None
    pool: Dataset | None = None
    seed: int = 0
    plumed: str | None = None
    folder: str | Path | None = None

    def run(
        self,
        bias: AnyBias | None,
        steps: int,
        seed: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> SampledRun:
        """Return a run of so many steps of each walker."""
        settings = replace(self.settings, steps=steps)
        return self._sample(settings, bias, seed, self._plumed(), progress)

    def warm_up(self, steps: int) -> WarmUp:
        """Run without a bias and return u and the forces; of the starts if nothing was stored."""
        frames = self.starts.without_labels()
        if steps > 0:
            stride = max(1, steps // WARM_UP_FRAMES)
            settings = replace(self.settings, steps=steps, stride=stride)
            stored = regular(self._sample(settings, None, self.seed, None, None).frames)
            frames = stored if len(stored) else frames
        found = self.cv.evaluate(frames)
        return WarmUp(found.uncertainty, found.uncertainty_gradient, found.forces)

    def _sample(
        self,
        settings: SampleSettings | CrystalSettings,
        bias: AnyBias | None,
        seed: int,
        plumed: Plumed | None,
        progress: Callable[[int, int], None] | None,
    ) -> SampledRun:
        options: dict[str, Any] = {
            "bias": bias,
            "stop": self.stop,
            "restart_pool": self.pool,
            "plumed": plumed,
            "seed": seed,
            "progress": progress,
        }
        if isinstance(settings, CrystalSettings):
            return sample_crystal(self.starts, self.cv, settings=settings, **options)
        return sample(self.topology, self.starts, self.cv, settings=settings, **options)

    def _plumed(self) -> Plumed | None:
        if self.plumed is None:
            return None
        given = self.settings.temperature
        temperature = given.at(0) if isinstance(given, Schedule) else given
        timestep = self.settings.timestep * FS_IN_PS
        return Plumed(self.plumed, timestep, temperature, directory=self.folder)


def join_warm_ups(parts: list[WarmUp]) -> WarmUp:
    """Return the warm-ups of several groups of walkers as one."""
    values = [
        np.concatenate([np.asarray(getattr(part, name)) for part in parts])
        for name in ("uncertainty", "gradient", "force")
    ]
    return WarmUp(*values)


def join_runs(runs: list[SampledRun], first: list[int]) -> SampledRun:
    """Return the runs of several groups as one, their walkers numbered on.

    Parameters
    ----------
    runs : list of SampledRun
        Of the groups.
    first : list of int
        Number of each group's first walker.
    """
    from uncv.data import concatenate

    if len(runs) == 1 and first[0] == 0:
        return runs[0]
    frames = [
        r.frames.with_info(walker=r.frames.info["walker"] + n)
        for r, n in zip(runs, first, strict=True)
    ]
    rows = min(len(r.uncertainty) for r in runs)
    known = [r.coefficients for r in runs if r.coefficients is not None]
    bad = [r.reason for r in runs if not r.reweightable]
    return SampledRun(
        concatenate(frames),
        np.concatenate([r.uncertainty[:rows] for r in runs], axis=1),
        np.concatenate([r.bias[:rows] for r in runs], axis=1),
        tuple(reason for r in runs for reason in r.stop_reasons),
        sum(r.walker_steps for r in runs),
        not bad,
        bad[0] if bad else "",
        np.concatenate([c[:rows] for c in known], axis=1) if len(known) == len(runs) else None,
    )
