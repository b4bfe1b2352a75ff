"""How an attack is made."""

from __future__ import annotations

from dataclasses import dataclass, field

from uncv.adversarial.base import Move
from uncv.adversarial.displacements import Displacements
from uncv.errors import ConfigError
from uncv.selection import METHODS, Method
from uncv.stopping import StopRules
from uncv.units import KB_IN_EV_PER_K


@dataclass(frozen=True)
class AttackSettings:
    """What moves, how many attacks, how long, and which frames are kept.

    Parameters
    ----------
    moves : tuple of Move
        `Displacements`, `Torsions`, `Strain` or several of them, which act in the order given.
    attacks : int
        Attacks made at once; start structures take turns.
    steps : int
        Steps of each, at most.
    temperature : float
        In K: energies some k_BT above that of known frames are bearable, whatever their
        uncertainty; infinite for uncertainty alone.
    stop : StopRules
        When a structure is unphysical; bonds are those of its start. A limit of the force is not
        for attacks.
    tolerance : float
        Two frames are the same if the features of their atoms differ by no more than this part of
        their length; see `uncv.adversarial.distinct`.
    count : int, optional
        How many candidates to choose of the distinct frames; all of them by default, or where
        there are fewer.
    method : str
        How, as in `uncv.select`; 'threshold' is not for attacks.

    Raises
    ------
    ConfigError
        If there is no move or a value is out of range.
    """

    moves: tuple[Move, ...] = (Displacements(),)
    attacks: int = 64
    steps: int = 60
    temperature: float = 1000.0
    stop: StopRules = field(
        default_factory=lambda: StopRules(
            min_distance_factor=0.65, min_contact_factor=1.0, max_bond_factor=1.5
        )
    )
    tolerance: float = 0.02
    count: int | None = None
    method: Method = "lcmd"

    def __post_init__(self) -> None:
        if not self.moves:
            raise ConfigError("there is no move; give at least one, such as Displacements()")
        if len({type(move) for move in self.moves}) < len(self.moves):
            raise ConfigError("two moves are of the same kind; give each kind once")
        for name in ("attacks", "steps", "temperature"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected a positive number")
        if self.count is not None and self.count < 1:
            raise ConfigError(f"count is {self.count}; expected at least 1, or None for all")
        if not 0 <= self.tolerance < 1:
            raise ConfigError(f"tolerance is {self.tolerance}; expected 0 to below 1")
        if self.method not in METHODS or self.method == "threshold":
            known = ", ".join(name for name in METHODS if name != "threshold")
            raise ConfigError(f"method is {self.method!r}; expected one of {known}")

    @property
    def kt(self) -> float:
        """k_BT in eV."""
        return KB_IN_EV_PER_K * self.temperature
