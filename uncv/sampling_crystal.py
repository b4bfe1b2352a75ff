"""Molecular dynamics of crystals at constant volume or pressure, by ASE, biased or not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np

from uncv.ase import Plumed
from uncv.ase.drive import AseBias
from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.driver import Frame
from uncv.errors import DataError
from uncv.io import write
from uncv.plumed import plumed_of_run
from uncv.sampling_crystal_settings import CrystalSettings
from uncv.sampling_crystal_walker import CrystalRun, CrystalWalker
from uncv.sampling_reweightable import Verdict, judge_run
from uncv.sampling_run import RunLog, SampledRun, checker_of
from uncv.schedule import as_schedule
from uncv.step import StepValues
from uncv.stopping import StopChecker, StopRules

__all__ = ["CrystalSettings", "sample_crystal"]


def sample_crystal(
    starts: Dataset,
    cv: UncertaintyCV,
    *,
    settings: CrystalSettings | None = None,
    bias: AseBias | None = None,
    stop: StopRules | StopChecker | None = None,
    plumed: str | Path | Plumed | None = None,
    restart_pool: Dataset | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SampledRun:
    """Run the walkers for a fixed number of steps, one stride of each in turn.

    A stopped walker rests until the next stride, then begins again at a random frame of
    ``restart_pool`` with fresh velocities; the frame that stopped it is kept with the reason. What
    walker k does depends on the seed and k, not on how many walkers there are, unless PLUMED
    shares between them.

    Parameters
    ----------
    starts : Dataset
        Start structures of one crystal, taken in turn, each with its own cell; the bonds of stop
        rules are those of the first.
    cv : UncertaintyCV
        Potential and uncertainty.
    settings : CrystalSettings, optional
        Of the dynamics.
    bias : Bias, AdaptiveBias, CappedBias or ScheduledBias, optional
        V(u); it acts on the cell too.
    stop : StopRules or StopChecker, optional
        When a walker stops; values that are not finite always stop it, and at constant pressure
        the limits of the cell in the settings. Without a value that is finite the frame kept is
        the last sound one.
    plumed : str, Path or uncv.ase.Plumed, optional
        PLUMED input; each walker has an instance of it, and METAD with WALKERS_N shares.
    restart_pool : Dataset, optional
        Where stopped walkers begin again; the starts by default.
    seed : int
        Of velocities, noise and restarts.
    out : str or Path, optional
        A file for the frames (.extxyz or .npz); also written, as far as the run came, when it
        fails.
    progress : callable, optional
        Called with steps done and steps in all.

    Raises
    ------
    DataError
        If there is no start structure, they or the pool are not of the same atoms, or there is a
        pressure but no cell.
    EngineError
        If PLUMED is to learn the temperature of a run in which it changes.

    Examples
    --------
    >>> settings = CrystalSettings(temperature=300.0, pressure=0.0, steps=20, stride=10, walkers=1)
    >>> settings.cell, settings.volume_limits
    ('full', (0.5, 3.0))
    """
    settings = settings or CrystalSettings()
    pool = starts if restart_pool is None or not len(restart_pool) else restart_pool
    _check(starts, pool, settings)
    checker = None if stop is None else checker_of(stop, starts, cv, periodic=True)
    run = CrystalRun(
        cv,
        settings,
        bias,
        plumed_of_run(plumed, settings.timestep, settings.temperature),
        checker,
        seed,
    )
    log = RunLog(starts, settings.walkers)
    with ExitStack() as stack:
        walkers = [
            stack.enter_context(closing(CrystalWalker(run, starts, number)))
            for number in range(settings.walkers)
        ]
        stack.enter_context(log.kept_on_failure(out))
        for walker in walkers:
            walker.begin()
        done = 0
        while done < settings.steps:
            steps = min(settings.stride, settings.steps - done)
            done += steps
            _stride(walkers, log, pool, done, steps=steps, whole=steps == settings.stride)
            if progress is not None:
                progress(done, settings.steps)
        for walker in walkers:
            walker.flush()
    result = log.run(settings.steps * settings.walkers, _verdict(run, log, walkers))
    if out is not None:
        write(out, result.frames)
    return result


def _stride(
    walkers: list[CrystalWalker], log: RunLog, pool: Dataset, done: int, *, steps: int, whole: bool
) -> None:
    for walker in walkers:
        walker.advance(steps)
    if whole:
        log.store(_frame(walkers, done))
    for walker in walkers:
        log.stop(walker.taken_stops())
        if not walker.active:
            walker.restart(pool)


def _frame(walkers: list[CrystalWalker], step: int) -> Frame:
    """Return all walkers where they now are."""
    here = [walker.here for walker in walkers]
    energy, u, bias = (
        np.array([getattr(h, name) for h in here]) for name in ("energy", "uncertainty", "bias")
    )
    known = [h.coefficient for h in here if h.coefficient is not None]
    return Frame(
        step,
        np.array([h.positions for h in here]),
        np.array([h.cell for h in here]),
        StepValues(energy, u, None),
        bias,
        np.array([walker.active for walker in walkers]),
        np.array(known) if len(known) == len(here) else None,
    )


def _verdict(run: CrystalRun, log: RunLog, walkers: list[CrystalWalker]) -> Verdict:
    return judge_run(
        run.bias,
        as_schedule(run.settings.temperature),
        run.plumed,
        stops=log.stops,
        capped=sum(walker.capped for walker in walkers),
    )


def _check(starts: Dataset, pool: Dataset, settings: CrystalSettings) -> None:
    if not len(starts):
        raise DataError("there is no start structure; give at least one frame")
    for name, frames in (("start structures", starts), ("frames of the restart pool", pool)):
        same = frames.numbers.shape[1:] == starts.numbers.shape[1:]
        if not (same and (frames.numbers == starts.numbers[0]).all()):
            raise DataError(f"the {name} are not all of the atoms of the first start structure")
        if not (frames.pbc == starts.pbc[0]).all():
            raise DataError(f"the {name} are not periodic along the same directions")
        if not frames.mask.all():
            raise DataError(f"the {name} are padded; give frames of this crystal alone")
    if settings.pressure is not None and not starts.pbc[0].all():
        raise DataError(
            f"the pressure is {settings.pressure:g} GPa but the start structures are periodic "
            f"along {starts.pbc[0].tolist()}; give frames with a cell, or pressure=None"
        )
