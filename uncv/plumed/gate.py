"""Drives a PLUMED instance through the steps of an engine that has no step hook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.errors import PlumedError
from uncv.plumed.driver import PlumedDriver, PlumedForces

Array = NDArray[np.float64]


class _Evaluation(NamedTuple):
    step: int
    positions: Array
    box: Array | None
    values: dict[str, float]
    answer: PlumedForces

    def saw(self, step: int, positions: ArrayLike, box: ArrayLike | None) -> bool:
        """Whether this is the answer for that structure too."""
        if step != self.step or (box is None) != (self.box is None):
            return False
        same_box = box is None or np.array_equal(self.box, box)  # type: ignore[arg-type]
        return same_box and np.array_equal(self.positions, positions)


class StepGate:
    """Calls ``update`` exactly once for each completed step of an engine without a step hook.

    The engine tells the number of completed steps at every evaluation. While that number stays
    the same (trial moves of a barostat, a minimiser, somebody who asks for the energy) nothing is
    deposited; when it has risen, the structure evaluated last at the old number is the one that
    the integrator moved on from, and its update is made before the new evaluation.

    Parameters
    ----------
    driver : PlumedDriver
        The walker's instance; the gate closes it.
    """

    def __init__(self, driver: PlumedDriver) -> None:
        self.driver = driver
        self._last: _Evaluation | None = None
        self._begun: tuple[int, Array, Array | None] | None = None
        self._updated = -1

    def begin(
        self, step: int, positions: ArrayLike, box: ArrayLike | None = None
    ) -> PlumedForces | None:
        """Begin an evaluation, or return the answer if it is the one given last.

        Parameters
        ----------
        step : int
            Number of completed steps.
        positions : array_like
            Positions (A, 3), nm.
        box : array_like, optional
            Box vectors as rows (3, 3), nm.

        Returns
        -------
        PlumedForces or None
            None if `finish` is to follow.

        Raises
        ------
        PlumedError
            If the number of steps went back, or PLUMED fails.
        """
        latest = self._updated if self._last is None else self._last.step
        if step < latest or step <= self._updated:
            raise PlumedError(
                f"the step count went back from {max(latest, self._updated + 1)} to {step}, and "
                "PLUMED cannot take back what it deposited; do not set the step count, and make "
                "a new system for each new run"
            )
        self.flush(step)
        if self._last is not None and not self._begun and self._last.saw(step, positions, box):
            return self._last.answer
        kept = np.array(positions, dtype=np.float64)
        self._begun = (step, kept, None if box is None else np.array(box, dtype=np.float64))
        self.driver.begin(step, positions, box)
        return None

    def needs(self, name: str) -> bool:
        """Whether PLUMED uses this value at the step begun."""
        return self.driver.needs(name)

    def finish(self, values: Mapping[str, float]) -> PlumedForces:
        """Compute bias and forces of the structure begun; see `PlumedDriver.finish`."""
        if self._begun is None:
            raise PlumedError("finish was called without an evaluation begun; call begin before")
        answer = self.driver.finish(values)
        self._last = _Evaluation(*self._begun, dict(values), answer)
        self._begun = None
        return answer

    def flush(self, step: int) -> None:
        """Make the update that is due when this many steps are complete; a repetition does none.

        Parameters
        ----------
        step : int
            Number of completed steps.
        """
        last = self._last
        if last is None or last.step >= step or last.step <= self._updated:
            return
        if self._begun is not None:  # an evaluation was given up: PLUMED holds its structure
            self.driver.begin(last.step, last.positions, last.box)
            self.driver.finish(last.values)
            self._begun = None
        self.driver.update()
        self._updated = last.step

    def close(self) -> None:
        """Close the driver; a second call does nothing."""
        self.driver.close()
