"""What one PLUMED instance is told before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
    directory : Path, optional
        Made if absent; PLUMED's relative paths, inputs as well as outputs, begin here. The
        process's own directory by default.
    log : Path, optional
        PLUMED's log; none is written by default.
    suffix : str
        Added to the name of every output of the instance: COLVAR becomes COLVAR.3 with '.3'.

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
    directory: Path | None = None
    log: Path | None = None
    suffix: str = ""

    def __post_init__(self) -> None:
        if len(self.masses) == 0:
            raise ValueError("PLUMED needs the mass of at least one atom, got none")
        if self.charges is not None and len(self.charges) != len(self.masses):
            raise ValueError(f"got {len(self.charges)} charges for {len(self.masses)} atoms")
        for name, value in (("timestep", self.timestep), ("temperature", self.temperature)):
            if not value > 0.0:
                raise ValueError(f"the {name} must be positive, got {value}")
        if any(character.isspace() for character in self.suffix):
            raise ValueError(f"the suffix must be free of spaces, got '{self.suffix}'")
