"""A PLUMED input with what PLUMED must know of a run, whatever the engine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from uncv.errors import EngineError
from uncv.schedule import Schedule, as_schedule
from uncv.units import FS_IN_PS


class Told(NamedTuple):
    """Time step in ps and temperature in K."""

    timestep: float
    temperature: float


@dataclass(frozen=True)
class Plumed:
    """A PLUMED input with what PLUMED must know of the run.

    Parameters
    ----------
    script : str or Path
        Input file, or the input itself (a string with a line break). It reads u by
        ``u: EXTRACV NAME=uncertainty``, the potential energy by ``EXTRACV NAME=energy``, and the
        uncertainties of A atoms by ``atomic_uncertainty: PUT SHAPE=A UNIT=number PERIODIC=NO``.
    timestep : float, optional
        Of the integrator, in ps; OpenMM refuses to run with another one. By default that of the
        run where `uncv.sample` or `uncv.sample_crystal` knows it, else 0.001.
    temperature : float, optional
        In K; by default that of the run, else 300.
    directory : str or Path, optional
        Where relative paths in the script begin.
    log : str or Path, optional
        PLUMED's log.
    """

    script: str | Path
    timestep: float | None = None
    temperature: float | None = None
    directory: str | Path | None = None
    log: str | Path | None = None

    def told(self, timestep: float = 0.001, temperature: float = 300.0) -> Told:
        """Return what PLUMED is told, these numbers (ps and K) where the input names none."""
        return Told(
            timestep if self.timestep is None else self.timestep,
            temperature if self.temperature is None else self.temperature,
        )


def plumed_of_run(
    plumed: str | Path | Plumed | None, timestep: float, temperature: float | Schedule
) -> Plumed | None:
    """Return a PLUMED input that knows the time step and the temperature of a run.

    Parameters
    ----------
    plumed : str, Path or Plumed, optional
        What the user gave.
    timestep : float
        In fs.
    temperature : float or Schedule
        In K.

    Raises
    ------
    EngineError
        If the temperature changes and ``plumed`` does not say which PLUMED is to be told.
    """
    if plumed is None:
        return None
    given = plumed if isinstance(plumed, Plumed) else Plumed(plumed)
    kelvin = as_schedule(temperature)
    if kelvin.varies and given.temperature is None:
        raise EngineError(
            "PLUMED is told one temperature but that of the run changes; say which by "
            "plumed=Plumed(script, temperature=...)"
        )
    told = given.told(timestep * FS_IN_PS, kelvin.at(0))
    return replace(given, timestep=told.timestep, temperature=told.temperature)
