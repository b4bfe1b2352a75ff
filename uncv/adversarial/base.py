"""What an attack may change of a structure, and how far."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

from torch import Tensor

from uncv.data import Dataset
from uncv.errors import ConfigError


class Geometry(NamedTuple):
    """F structures, differentiable in what moves them.

    Attributes
    ----------
    positions : torch.Tensor
        (F, A, 3), Å.
    cell : torch.Tensor
        Cell vectors as rows (F, 3, 3), Å; zero without one.
    """

    positions: Tensor
    cell: Tensor


class Motion(Protocol):
    """A move bound to the start structures of an attack."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the parameters of one structure; all zero leaves it as it is."""

    def moved(self, geometry: Geometry, values: Tensor) -> Geometry:
        """Return the structures moved by parameters (F, ...)."""

    def projected(self, values: Tensor) -> Tensor:
        """Return the nearest parameters (F, ...) inside the limit."""


class Move(Protocol):
    """What is changed; `size` draws the start, `rate` is Adam's step, `limit` the trust region."""

    @property
    def size(self) -> float:
        """Standard deviation of the random parameters an attack begins with."""

    @property
    def rate(self) -> float:
        """Largest change of a parameter in a step, nearly."""

    def bound(self, frames: Dataset) -> Motion:
        """Return the motion of these structures (F frames)."""


def check_positive(**values: float) -> None:
    """Refuse a value that is not a positive number.

    Raises
    ------
    ConfigError
    """
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{name} is {value}; expected a positive number")
