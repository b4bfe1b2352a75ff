"""The exceptions a caller may want to catch; messages say what, expected, found, remedy."""

from __future__ import annotations


class UncvError(Exception):
    """Base of every exception of uncv's own."""


class DataError(UncvError, ValueError):
    """A dataset or structure is not what the operation needs."""


class ElementError(DataError):
    """A structure contains an element that the potential was not made for."""


class CalibrationError(UncvError, ValueError):
    """A calibration cannot be computed from the data given."""


class CalibrationWarning(UserWarning):
    """A calibration no longer fits the errors that are seen."""


class NotFittedError(UncvError, RuntimeError):
    """An uncertainty, calibrator or collective variable was used before it was fitted."""


class FingerprintError(UncvError, ValueError):
    """An uncertainty was fitted on another potential than the one it is used with."""


class GradientError(UncvError, RuntimeError):
    """A gradient is zero, disconnected or not finite where it must not be."""


class FileFormatError(UncvError, ValueError):
    """A file is damaged, of another kind, or of a format version this uncv cannot read."""


class ConfigError(UncvError, ValueError):
    """A configuration or a setting is not valid."""


class DependencyError(UncvError, ImportError):
    """An optional dependency is missing, or its version does not work with the others."""


class EngineError(UncvError, RuntimeError):
    """An engine (OpenMM, ASE) was asked for something it cannot do."""


class PlumedError(UncvError, RuntimeError):
    """PLUMED refused its input or a command; the message is PLUMED's own."""


class OracleError(UncvError, RuntimeError):
    """A reference calculation failed."""


class TrainingError(UncvError, RuntimeError):
    """Training did not give a usable potential."""


class CampaignError(UncvError, RuntimeError):
    """An active-learning campaign cannot start, continue or finish."""


class ExecutionError(UncvError, RuntimeError):
    """Tasks cannot be handed to workers: none starts, or the executor is of no use any more."""


class WorkerDied(UncvError, RuntimeError):  # noqa: N818 - what happened, as Python's TimeoutError
    """The worker that did a task is gone; ``shared`` if other tasks may have been the reason."""

    def __init__(self, message: str, *, shared: bool = False) -> None:
        super().__init__(message)
        self.shared = shared


class WallTimeReached(UncvError, RuntimeError):  # noqa: N818 - not a mistake: the next job goes on
    """The time that is left does not suffice for another task; what is finished is kept."""
