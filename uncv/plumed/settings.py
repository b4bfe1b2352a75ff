"""What one PLUMED instance is told before the first step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class PlumedSettings:
    """What a walker's PLUMED instance is told once.

    Parameters
    ----------
    script : str or Path
        A PLUMED input file, or the input itself (a string with a line break).
    masses : sequence of float
        Masses of the atoms (A,), amu.
    timestep : float
        Time between steps, ps.
    temperature : float
        Temperature in K, from which PLUMED takes k_B T.
    charges : sequence of float, optional
        Charges of the atoms (A,), e.
    provides : tuple of str
        Names that ``EXTRACV NAME=`` may ask for; their values are passed to the driver.
    vectors : mapping of str to int
        Labels that ``PUT`` may have, with the number of elements; passed to the driver as arrays.
    walker, walkers : int
        Number of this walker, from 0, and how many share the run; see `for_walker`.
    directory : str or Path, optional
        Made if absent; PLUMED's relative paths, inputs as well as outputs, begin here. The
        process's own directory by default.
    log : str or Path, optional
        PLUMED's log; none is written by default.
    suffix : str, optional
        Added to the name of every output of the instance: COLVAR becomes COLVAR.3 with '.3'. The
        number of the walker by default, if there are several.

    Raises
    ------
    ValueError
        If a number is not positive, or masses and charges differ in number.
    """

    script: str | Path
    masses: Sequence[float]
    timestep: float = 0.001
    temperature: float = 300.0
    charges: Sequence[float] | None = None
    provides: tuple[str, ...] = ("uncertainty", "energy")
    vectors: Mapping[str, int] = field(default_factory=dict)
    walker: int = 0
    walkers: int = 1
    directory: str | Path | None = None
    log: str | Path | None = None
    suffix: str | None = None

    def __post_init__(self) -> None:
        if len(self.masses) == 0:
            raise ValueError("PLUMED needs the mass of at least one atom, got none")
        if self.charges is not None and len(self.charges) != len(self.masses):
            raise ValueError(f"got {len(self.charges)} charges for {len(self.masses)} atoms")
        for name, value in (("timestep", self.timestep), ("temperature", self.temperature)):
            if not value > 0.0:
                raise ValueError(f"the {name} must be positive, got {value}")
        if not 0 <= self.walker < self.walkers:
            raise ValueError(f"walker {self.walker} is not among {self.walkers}, counted from 0")
        if self.suffix is not None and any(character.isspace() for character in self.suffix):
            raise ValueError(f"the suffix must be free of spaces, got '{self.suffix}'")

    @property
    def ending(self) -> str:
        """The suffix that is used."""
        if self.suffix is not None:
            return self.suffix
        return f".{self.walker}" if self.walkers > 1 else ""
