"""What a run of walkers gives, and how it is collected."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uncv.bias import FreeEnergyProfile
from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.driver import Frame, StopEvent
from uncv.io import write
from uncv.sampling_reweightable import Verdict
from uncv.stopping import StopChecker, StopRules

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class SampledRun:
    """What a run gave.

    Attributes
    ----------
    frames : Dataset
        Stored structures without labels, each with its own cell; columns walker, step, energy
        (predicted, eV), uncertainty, bias (eV) and stop_reason ('' but for the frames at which a
        walker stopped); and not_reweightable, with the reason, where a schedule or a cap acted.
    uncertainty, bias : numpy.ndarray
        Series (T, W) at the stored steps; NaN where a walker was parked. Bias in eV.
    stop_reasons : tuple of str
        One for each stop.
    walker_steps : int
        Steps of all walkers together, those of parked walkers included.
    reweightable : bool
        Whether exp(+V/k_BT) gives equilibrium averages.
    reason : str
        Why not; '' if it is.
    coefficients : numpy.ndarray or None
        With the adaptive bias, its c as a series (T, W) like ``uncertainty``: 0 until a window is
        full, in eV per unit of u.
    profile : FreeEnergyProfile or None
        With the extended bias, the free energy along u; None where too little of u was visited.
    """

    frames: Dataset
    uncertainty: FloatArray
    bias: FloatArray
    stop_reasons: tuple[str, ...]
    walker_steps: int
    reweightable: bool
    reason: str
    coefficients: FloatArray | None = None
    profile: FreeEnergyProfile | None = None


class RunLog:
    """Frames and series as they come."""

    def __init__(self, starts: Dataset, walkers: int) -> None:
        self._like = starts[:1].without_labels()
        self._walkers = walkers
        self._series: list[Frame] = []
        self._rows: list[tuple] = []
        self._positions: list[FloatArray] = []
        self._cells: list[FloatArray] = []
        self._reasons: list[str] = []

    @property
    def stops(self) -> int:
        """Number of stops so far."""
        return len(self._reasons)

    def store(self, frame: Frame) -> None:
        """Keep the walkers that are active."""
        self._series.append(frame)
        for w in np.flatnonzero(frame.active):
            row = (
                w,
                frame.step,
                frame.values.energy[w],
                frame.values.uncertainty[w],
                frame.bias[w],
            )
            cell = frame.cell if frame.cell is None or frame.cell.ndim == 2 else frame.cell[w]
            self._keep((*row, ""), frame.positions[w], cell)

    def stop(self, events: list[StopEvent]) -> None:
        """Keep the frames at which walkers stopped."""
        for e in events:
            self._reasons.append(e.reason)
            row = (e.walker, e.step, e.energy, e.uncertainty, e.bias, e.reason)
            self._keep(row, e.positions, e.cell)

    def frames(self) -> Dataset:
        """Return the frames with their columns."""
        names = ("walker", "step", "energy", "uncertainty", "bias", "stop_reason")
        columns = zip(*self._rows, strict=True) if self._rows else ((),) * len(names)
        info = {name: np.array(column) for name, column in zip(names, columns, strict=True)}
        atoms = self._like.positions.shape[1]
        return Dataset(
            self._like.numbers[0],
            np.array(self._positions).reshape(-1, atoms, 3),
            cell=np.array(self._cells).reshape(-1, 3, 3),
            pbc=self._like.pbc[0],
            info=info,
        )

    @contextmanager
    def kept_on_failure(self, out: str | Path | None) -> Iterator[None]:
        """Write the frames that a run had stored when it ends before its time."""
        try:
            yield
        except BaseException as error:
            frames = self.frames()
            if out is not None and len(frames):
                write(out, frames)
                error.add_note(f"the {len(frames)} frames stored before are in {out}")
            raise

    def run(self, walker_steps: int, verdict: Verdict) -> SampledRun:
        """Return everything."""
        hide = [np.where(f.active, 1.0, np.nan) for f in self._series]
        frames = self.frames()
        if verdict.changed:
            frames = frames.with_info(not_reweightable=np.full(len(frames), verdict.changed))
        return SampledRun(
            frames,
            np.array([f.values.uncertainty * h for f, h in zip(self._series, hide, strict=True)]),
            np.array([f.bias * h for f, h in zip(self._series, hide, strict=True)]),
            tuple(self._reasons),
            walker_steps,
            verdict.reweightable,
            verdict.reason,
            self._coefficients(hide),
        )

    def _keep(self, row: tuple, positions: FloatArray, cell: FloatArray | None) -> None:
        self._rows.append(row)
        self._positions.append(positions)
        self._cells.append(self._like.cell[0] if cell is None else cell)

    def _coefficients(self, hide: list[FloatArray]) -> FloatArray | None:
        known = [f.coefficient for f in self._series if f.coefficient is not None]
        if not known or len(known) < len(hide):
            return None
        return np.array([c * h for c, h in zip(known, hide, strict=True)])


def checker_of(
    stop: StopRules | StopChecker, starts: Dataset, cv: UncertaintyCV, *, periodic: bool
) -> StopChecker:
    """Return the checker of a run, whose bonds are those of the first start structure.

    Parameters
    ----------
    stop : StopRules or StopChecker
        A checker is returned as it is.
    starts : Dataset
        Start structures.
    cv : UncertaintyCV
        Tells the kind of u.
    periodic : bool
        Whether distances know the cell.
    """
    if isinstance(stop, StopChecker):
        return stop
    mask = starts.mask[0]
    return stop.prepare(
        starts.numbers[0][mask],
        starts.positions[0][mask],
        kind=cv.kind,
        cell=starts.cell[0] if periodic else None,
        pbc=starts.pbc[0] if periodic else None,
    )
