"""Drives a PLUMED instance through the steps of an engine that has no step hook."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uncv.errors import PlumedError
from uncv.plumed.driver import PlumedDriver, PlumedForces, Values
from uncv.plumed.outputs import Kept

Array = NDArray[np.float64]


class _Evaluation(NamedTuple):
    step: int
    positions: Array
    box: Array | None
    values: dict[str, float | Array]
    answer: PlumedForces

    def saw(self, positions: ArrayLike, box: ArrayLike | None) -> bool:
        """Whether this is the answer for that structure too."""
        if (box is None) != (self.box is None):
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
        self._updated = -1  # the step whose update was made last
        self._steps = 0  # the engine has told so many completed steps

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
        if step < self._steps:
            raise PlumedError(
                f"the step count went back from {self._steps} to {step}, and PLUMED cannot take "
                "back what it deposited; do not set the step count, load a checkpoint of "
                "uncv.openmm.save_checkpoint, or make a new system for each new run"
            )
        self.flush(step)
        last = self._last
        if last is not None and last.step == step and not self._begun and last.saw(positions, box):
            return last.answer
        kept = np.array(positions, dtype=np.float64)
        self._begun = (step, kept, None if box is None else np.array(box, dtype=np.float64))
        self.driver.begin(step, positions, box)
        return None

    def needs(self, name: str) -> bool:
        """Whether PLUMED uses this value at the step begun."""
        return self.driver.needs(name)

    def finish(self, values: Values) -> PlumedForces:
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
        self._steps = max(self._steps, step)
        if self._last is not None and self.is_due(step):
            self._update(self._last)

    def is_due(self, step: int) -> bool:
        """Whether `flush` would make an update now."""
        return self._last is not None and self._updated < self._last.step < step

    def state(self, step: int) -> dict[str, NDArray]:
        """Complete the step evaluated last, and return what a checkpoint must hold.

        The structure evaluated last must be the one that the engine will move on from. Its update
        is made now rather than with the next evaluation, so that files and memory of PLUMED agree.

        Parameters
        ----------
        step : int
            Number of completed steps.

        Raises
        ------
        PlumedError
            If an output cannot be cut later.
        """
        self.flush(step)
        if self._last is not None:
            self._update(self._last, checkpoint=True)
        kept: dict[str, NDArray] = {
            "files": np.array(json.dumps(self.driver.kept()._asdict())),
            "steps": np.array([self._steps, self._updated]),
        }
        if self._last is not None:
            kept |= _packed(self._last)
        return kept

    def check(self, kept: dict[str, NDArray]) -> None:
        """Refuse what is not of this run; no file is changed.

        Raises
        ------
        PlumedError
            If the input writes other files, or a file is not that of the run.
        """
        self.driver.check(_files(kept))

    def put_back(self, kept: dict[str, NDArray]) -> None:
        """Return PLUMED's files to where `state` found them; of all walkers before any `resume`."""
        self.driver.put_back(_files(kept))

    def resume(self, kept: dict[str, NDArray]) -> None:
        """Take up the state that `state` gave, from the files that were put back."""
        self._last = _unpacked(kept) if "step" in kept else None
        self._begun = None
        self._steps, self._updated = kept["steps"].tolist()
        self.driver.resume()
        if self._last is not None:
            # A bias deposits nothing at the first update of an instance. That one is spent on the
            # step that is complete already, and what it has printed again is cut.
            self._evaluate(self._last)
            self.driver.update()
            self.driver.cut(_files(kept))

    def close(self) -> None:
        """Close the driver; a second call does nothing."""
        self.driver.close()

    def _update(self, last: _Evaluation, *, checkpoint: bool = False) -> None:
        if last.step <= self._updated:
            return
        if self._begun is not None:  # an evaluation was given up: PLUMED holds its structure
            self._evaluate(last)
            self._begun = None
        self.driver.update(checkpoint=checkpoint)
        self._updated = last.step

    def _evaluate(self, last: _Evaluation) -> None:
        self.driver.begin(last.step, last.positions, last.box)
        self.driver.finish(last.values)


def _files(kept: dict[str, NDArray]) -> Kept:
    return Kept(**json.loads(str(kept["files"])))


def _packed(last: _Evaluation) -> dict[str, NDArray]:
    """Return an evaluation as arrays."""
    answer = last.answer
    kept: dict[str, NDArray] = {
        "step": np.array(last.step),
        "positions": last.positions,
        "bias": np.array(answer.bias),
        "forces": answer.forces,
        "virial": answer.virial,
    }
    if last.box is not None:
        kept["box"] = last.box
    kept |= {f"value {name}": np.asarray(value) for name, value in last.values.items()}
    kept |= {f"derivative {name}": np.asarray(d) for name, d in answer.derivatives.items()}
    return kept | {f"vector {name}": d for name, d in answer.vectors.items()}


def _unpacked(kept: dict[str, NDArray]) -> _Evaluation:
    def named(what: str) -> dict[str, NDArray]:
        return {k.removeprefix(what): v for k, v in kept.items() if k.startswith(what)}

    values = {n: v if v.ndim else float(v) for n, v in named("value ").items()}
    answer = PlumedForces(
        float(kept["bias"]),
        kept["forces"],
        {name: float(value) for name, value in named("derivative ").items()},
        named("vector "),
        kept["virial"],
    )
    return _Evaluation(int(kept["step"]), kept["positions"], kept.get("box"), values, answer)
