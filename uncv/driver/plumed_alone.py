"""PLUMED on particles whose forces come from elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from uncv.driver.region import FloatArray
from uncv.errors import EngineError, PlumedError
from uncv.plumed import PlumedWalkers


class PlumedAlone:
    """Answers the force evaluations of a system without a model of uncv; see `Driver`.

    Parameters
    ----------
    plumed : PlumedWalkers
        An instance a walker.
    periodic : bool
        Whether the box counts.
    """

    def __init__(self, plumed: PlumedWalkers, periodic: bool) -> None:
        self.plumed = plumed
        self.failure: Exception | None = None
        self.periodic, self.walkers = periodic, len(plumed.gates)

    def __getstate__(self) -> dict[str, Any]:
        """Refuse to be serialised with a live PLUMED instance."""
        raise EngineError(
            "a System with PLUMED in it cannot be serialised; serialise it before plumed_force"
        )

    def evaluate(
        self, positions: FloatArray, box: FloatArray | None, step: int, time: float
    ) -> tuple[float, FloatArray]:
        """Return PLUMED's bias (kJ/mol) and forces (n, 3) (kJ/mol/nm); see `Driver.evaluate`.

        Raises
        ------
        PlumedError
            If PLUMED fails, or its input asks for the end of the run.
        """
        self.plumed.check_time(step, time)
        self.plumed.begin(step, positions, box if self.periodic else None, range(self.walkers))
        if stopped := self.plumed.stopped():
            raise PlumedError(
                f"PLUMED asked for the end of the run (COMMITTOR), walkers {stopped}, "
                f"at step {step - 1}"
            )
        answers = self.plumed.finish({walker: {} for walker in range(self.walkers)})
        energy = sum(answer.bias for answer in answers.values())
        return energy, np.concatenate([answers[w].forces for w in range(self.walkers)])

    def flush(self, step: int) -> None:
        """Make the update that is due when this many steps are complete."""
        self.plumed.flush(step)

    def close(self) -> None:
        """End the PLUMED instances."""
        self.plumed.close()

    def state(self, step: int) -> dict[str, NDArray]:
        """Return what a checkpoint after this many steps must hold."""
        return self.plumed.state(step)

    def restore(self, kept: dict[str, NDArray]) -> None:
        """Take up the state that `state` gave."""
        self.plumed.resume(kept)
