"""A PLUMED input with what PLUMED must know of a run, whatever the engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Plumed:
    """A PLUMED input with what PLUMED must know of the run.

    Parameters
    ----------
    script : str or Path
        Input file, or the input itself (a string with a line break). It reads u by
        ``u: EXTRACV NAME=uncertainty``, the potential energy by ``EXTRACV NAME=energy``, and the
        uncertainties of A atoms by ``atomic_uncertainty: PUT SHAPE=A UNIT=number PERIODIC=NO``.
    timestep : float
        Of the integrator, in ps; OpenMM refuses to run with another one.
    temperature : float
        In K.
    directory : str or Path, optional
        Where relative paths in the script begin.
    log : str or Path, optional
        PLUMED's log.
    """

    script: str | Path
    timestep: float = 0.001
    temperature: float = 300.0
    directory: str | Path | None = None
    log: str | Path | None = None
