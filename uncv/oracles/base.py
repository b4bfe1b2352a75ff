"""What every oracle does: label frame by frame, so that one failure costs one label."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncv.data import Dataset
from uncv.dependencies import installed_version
from uncv.errors import ConfigError, DependencyError, OracleError

_LONGEST_REASON = 600  # characters


class Labels(NamedTuple):
    """Reference values of one frame: energy in eV, forces (A, 3) in eV/Å, stress in eV/Å^3."""

    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64] | None = None


class Answer(NamedTuple):
    """What became of one frame.

    Attributes
    ----------
    labels : Labels or None
        None if there are none.
    error : str
        The reason, '' where all went well.
    software : str
        Name and version of what computed the labels.
    """

    labels: Labels | None
    error: str = ""
    software: str = ""


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
    software : str
        Name and version of what computes the labels, recorded with every frame.

    Raises
    ------
    ConfigError
        If max_force is not positive.
    """

    frames_at_once = 1
    """How many frames `attempt` gets in one call."""

    def __init__(
        self, level_of_theory: str, max_force: float | None = None, *, software: str = ""
    ) -> None:
        if max_force is not None and not max_force > 0:
            raise ConfigError(f"max_force is {max_force}; give a positive number in eV/Å or None")
        self.level_of_theory = level_of_theory
        self.max_force = max_force
        self.software = software

    @property
    def identity(self) -> str:
        """All that determines the labels of a frame: two oracles with the same one agree."""
        return f"{type(self).__name__}: {self.level_of_theory}"

    @abstractmethod
    def compute(self, frame: Dataset) -> Labels:
        """Return the labels of a dataset of one frame, or raise if the calculation fails."""

    def attempt(self, frames: Dataset) -> Sequence[Labels | Exception]:
        """Return the labels of each of some frames, or the reason why there are none."""
        return [self._compute_or_error(frames[i]) for i in range(len(frames))]

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
            the oracle gives one, and the columns ``label_error`` ('' where all went well),
            ``level_of_theory`` and ``software``.
        """
        answers: list[Answer] = []
        for first in range(0, len(frames), self.frames_at_once):
            part = frames[first : first + self.frames_at_once]
            found = self.attempt(part)
            answers += [self._answer(part[i], found[i]) for i in range(len(part))]
        return with_answers(frames, answers, self.level_of_theory)

    def _compute_or_error(self, frame: Dataset) -> Labels | Exception:
        try:
            return self.compute(frame)
        except Exception as error:  # noqa: BLE001 - recorded with the frame, which is set apart
            return error

    def _answer(self, frame: Dataset, found: Labels | Exception) -> Answer:
        try:
            if isinstance(found, Exception):
                raise found
            labels = _without_padding(found, frame)
            _check_finite(labels)
            check_force(labels, self.max_force)
        except Exception as error:  # noqa: BLE001 - recorded with the frame, which is set apart
            return Answer(None, reason_of(error), self.software)
        return Answer(labels, "", self.software)


def reason_of(error: Exception) -> str:
    """Return an exception as one line of text, the middle of a long one left out."""
    text = " ".join(str(error).split())
    if len(text) > _LONGEST_REASON:
        text = f"{text[: _LONGEST_REASON // 3]} ... {text[-2 * _LONGEST_REASON // 3 :]}"
    return f"{type(error).__name__}: {text}"


def check_force(labels: Labels, max_force: float | None) -> None:
    """Refuse labels with a force on an atom larger than a limit in eV/Å.

    Raises
    ------
    OracleError
    """
    largest = float(np.linalg.norm(labels.forces, axis=1).max(initial=0.0))
    if max_force is not None and largest > max_force:
        raise OracleError(
            f"the largest force is {largest:.3g} eV/Å, the limit is {max_force:g} eV/Å"
        )


def _check_finite(labels: Labels) -> None:
    if not (np.isfinite(labels.energy) and np.isfinite(labels.forces).all()):
        raise OracleError("the energy or a force is NaN or infinite; the frame is set apart")
    if labels.stress is not None and not np.isfinite(labels.stress).all():
        raise OracleError("the stress is NaN or infinite; the frame is set apart")


def _without_padding(labels: Labels, frame: Dataset) -> Labels:
    atoms = int(frame.frame_atoms[0])
    return labels._replace(energy=float(labels.energy), forces=labels.forces[:atoms])


def with_answers(frames: Dataset, answers: Sequence[Answer], level_of_theory: str) -> Dataset:
    """Return frames with their labels, or NaN and the reason where there are none."""
    energy = np.full(len(frames), np.nan)
    forces = np.full(frames.positions.shape, np.nan)
    stress = np.full(frames.cell.shape, np.nan)
    for i, (labels, _, _) in enumerate(answers):
        if labels is not None:
            energy[i], forces[i] = labels.energy, 0.0
            forces[i, : len(labels.forces)] = labels.forces
            stress[i] = np.nan if labels.stress is None else labels.stress
    known = None if np.isnan(stress).all() else stress
    return replace(frames, energy=energy, forces=forces, stress=known).with_info(
        label_error=np.array([answer.error for answer in answers], dtype=str),
        level_of_theory=np.full(len(frames), level_of_theory),
        software=np.array([answer.software for answer in answers], dtype=str),
    )


def installed(distribution: str, extra: str, module: str | None = None) -> str:
    """Return name and version of an optional program.

    Parameters
    ----------
    distribution : str
        Its name.
    extra : str
        The extra of uncv that brings it.
    module : str, optional
        What is imported, where that is not the name.

    Raises
    ------
    DependencyError
        If it is not there.

    Examples
    --------
    >>> installed("nonsense", "xtb")
    Traceback (most recent call last):
    uncv.errors.DependencyError: nonsense is not installed; run: pip install "uncv[xtb]"
    """
    version = installed_version(distribution)
    if version is None and find_spec(module or distribution) is None:
        raise DependencyError(f'{distribution} is not installed; run: pip install "uncv[{extra}]"')
    return f"{distribution} {version or ''}".strip()
