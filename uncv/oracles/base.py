"""What every oracle does: label frame by frame, so that one failure costs one label."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncv.data import Dataset
from uncv.errors import ConfigError, OracleError


class Labels(NamedTuple):
    """Reference values of one frame: energy in eV, forces (A, 3) in eV/Å, stress in eV/Å^3."""

    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64] | None = None


def labelled_part(answer: Dataset) -> Dataset:
    """Return the frames that an oracle could label, without their empty ``label_error`` column."""
    good = answer[np.flatnonzero(answer.info["label_error"] == "")]
    return replace(good, info={k: v for k, v in good.info.items() if k != "label_error"})


class FrameOracle(ABC):
    """Base of oracles that compute one frame after the other.

    Parameters
    ----------
    level_of_theory : str
        What the labels are, recorded with every frame.
    max_force : float, optional
        A frame with a larger force on an atom (eV/Å) counts as failed.

    Raises
    ------
    ConfigError
        If max_force is not positive.
    """

    def __init__(self, level_of_theory: str, max_force: float | None = None) -> None:
        if max_force is not None and not max_force > 0:
            raise ConfigError(f"max_force is {max_force}; give a positive number in eV/Å or None")
        self.level_of_theory = level_of_theory
        self.max_force = max_force

    @abstractmethod
    def compute(self, frame: Dataset) -> Labels:
        """Return the labels of a dataset of one frame, or raise if the calculation fails."""

    def label(self, frames: Dataset) -> Dataset:
        """Label frames; a failed one carries NaN, and the reason in its ``label_error`` column.

        Parameters
        ----------
        frames : Dataset
            Structures; labels they carry are replaced.

        Returns
        -------
        Dataset
            The same frames with energy (eV), forces (eV/Å; 0 on padding), stress (eV/Å^3) where
            the oracle gives one, and the columns ``label_error`` ('' where all went well) and
            ``level_of_theory``.
        """
        energy = np.full(len(frames), np.nan)
        forces = np.full(frames.positions.shape, np.nan)
        stress = np.full(frames.cell.shape, np.nan)
        errors = []
        for i in range(len(frames)):
            try:
                labels = self._checked(frames[i])
                energy[i], forces[i] = labels.energy, labels.forces
                stress[i] = np.nan if labels.stress is None else labels.stress
                errors.append("")
            except Exception as error:  # noqa: BLE001 - recorded with the frame, which is set apart
                errors.append(f"{type(error).__name__}: {error}")
        known = None if np.isnan(stress).all() else stress
        labelled = replace(frames, energy=energy, forces=forces, stress=known)
        return labelled.with_info(
            label_error=np.array(errors, dtype=str),
            level_of_theory=np.full(len(frames), self.level_of_theory),
        )

    def _checked(self, frame: Dataset) -> Labels:
        atoms = int(frame.frame_atoms[0])
        energy, forces, stress = self.compute(frame)
        if not (np.isfinite(energy) and np.isfinite(forces[:atoms]).all()):
            raise OracleError("the energy or a force is NaN or infinite; the frame is set apart")
        largest = float(np.linalg.norm(forces[:atoms], axis=1).max())
        if self.max_force is not None and largest > self.max_force:
            raise OracleError(
                f"the largest force is {largest:.3g} eV/Å, the limit is {self.max_force:g} eV/Å"
            )
        padded = np.zeros(frame.positions.shape[1:])
        padded[:atoms] = forces[:atoms]
        return Labels(float(energy), padded, stress)
