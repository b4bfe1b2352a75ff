"""What became of an attack."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from uncv.adversarial.ascent import Ascent
from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.errors import DataError


@dataclass(frozen=True, eq=False)
class AttackResult:
    """All attacks and the frames chosen of them.

    Parameters
    ----------
    frames : Dataset
        The best step of each attack (F frames), without labels. Columns: ``parent`` (start frame),
        ``seed``, ``attack``, ``step`` (of this frame, −1 if no step was sound), ``steps`` (taken),
        ``uncertainty`` and ``start_uncertainty`` (calibrated if the variable is),
        ``raw_uncertainty`` (not calibrated), ``predicted_energy`` and ``start_energy`` (eV),
        ``loss``, ``displacement`` (largest of an atom, Å), ``stop_reason``, ``fingerprint``.
    distinct : numpy.ndarray
        Attacks whose frames are sound, like none of the known frames and no better attack's; best
        first.
    chosen : numpy.ndarray
        Attacks whose frames are candidates, in the order of choice.
    loss : numpy.ndarray
        log U − Ē/k_BT − log Q of every step (S, F); NaN once an attack has ended.
    known : str
        What Q was taken over and duplicates were sought among: 'reference frames' or
        'start frames'.
    """

    frames: Dataset
    distinct: NDArray[np.int64]
    chosen: NDArray[np.int64]
    loss: NDArray[np.float64]
    known: str

    @property
    def candidates(self) -> Dataset:
        """The chosen frames."""
        return self.frames[self.chosen]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why each attack ended (F,), '' where it took all steps."""
        return tuple(str(reason) for reason in self.frames.info["stop_reason"])

    def checked(self) -> AttackResult:
        """Return self if there are candidates.

        Raises
        ------
        DataError
            If there are none.
        """
        if len(self.chosen):
            return self
        raise DataError(
            f"none of {len(self.frames)} attacks came to a frame unlike the {self.known}; raise "
            "the temperature, the limits or the number of steps"
        )


def bare(frames: Dataset, which: NDArray[np.int64]) -> Dataset:
    """Return the structures of some frames, without labels and columns."""
    return Dataset(
        frames.numbers[which], frames.positions[which], frames.cell[which], frames.pbc[which]
    )


def described(cv: UncertaintyCV, starts: Dataset, found: Ascent, seed: int) -> Dataset:
    """Return the best step of each attack with the columns of `AttackResult`."""
    count = len(found.step)
    parent = np.arange(count) % len(starts)
    frames = replace(bare(starts, parent), positions=found.positions, cell=found.cell)
    now, before = cv.predict(frames), cv.predict(bare(starts, np.arange(len(starts))))
    raw = now.uncertainty
    if cv.calibrator is not None:
        raw = cv.calibrated(None).predict(frames).uncertainty
    moved = np.linalg.norm(found.positions - starts.positions[parent], axis=2).max(axis=1)
    loss = found.loss[np.maximum(found.step, 0), np.arange(count)]
    return frames.with_info(
        parent=parent,
        seed=np.full(count, seed),
        attack=np.arange(count),
        step=found.step,
        steps=np.isfinite(found.loss).sum(axis=0) - 1,
        uncertainty=now.uncertainty,
        start_uncertainty=before.uncertainty[parent],
        raw_uncertainty=raw,
        predicted_energy=now.energy,
        start_energy=before.energy[parent],
        loss=loss,
        displacement=moved,
        stop_reason=np.array(found.reasons),
        fingerprint=np.full(count, cv.fingerprint),
    )
