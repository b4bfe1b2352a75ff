"""Reporters for `openmm.app.Simulation`: a table of energy, u and bias for each walker.

Trajectories are written by OpenMM's own DCDReporter and XTCReporter; with several walkers they hold
the copies of the molecule one after another, in the topology that `uncv.openmm.replicate` returns.
"""

from __future__ import annotations

import csv
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from openmm import unit

from uncv.openmm.checkpoint import driver_of
from uncv.units import EV_IN_KJ_PER_MOL, uncertainty_in_openmm, unit_name

if TYPE_CHECKING:
    import openmm
    from openmm import app


class WalkerReporter:
    """Writes energy, uncertainty and bias of each walker to a CSV file.

    Columns: step, time (ps), walker, energy (kJ/mol), uncertainty (OpenMM's unit of its kind), bias
    (kJ/mol) and active (0 for a parked walker); with the adaptive bias also its coefficient c in
    kJ/mol over OpenMM's unit of u. The model is not evaluated again for a report.

    Parameters
    ----------
    file : str or Path
        CSV file.
    interval : int
        Steps between reports.
    append : bool
        Add to an existing file, for a continued run.

    Raises
    ------
    ValueError
        If the interval is not positive.
    """

    def __init__(self, file: str | Path, interval: int, *, append: bool = False) -> None:
        if interval < 1:
            raise ValueError(f"interval is {interval} steps; expected at least 1")
        self._interval = interval
        begun = append and Path(file).exists() and Path(file).stat().st_size > 0
        mode = "a" if append else "w"
        self._file = Path(file).open(mode, newline="", encoding="utf-8")  # noqa: SIM115
        self._table = csv.writer(self._file)
        self._titled = begun

    def describeNextReport(self, simulation: app.Simulation) -> dict[str, Any]:  # noqa: N802
        """Tell OpenMM when the next report is due, and that it needs the energy."""
        steps = self._interval - simulation.currentStep % self._interval
        return {"steps": steps, "periodic": None, "include": ["energy"]}

    def report(self, simulation: app.Simulation, state: openmm.State) -> None:
        """Write one line for each walker."""
        driver = driver_of(simulation)
        frame = driver.frame
        if frame is None:
            return
        if not self._titled:
            adaptive = frame.coefficient is not None
            self._title(unit_name(driver.cv.kind, openmm=True), adaptive=adaptive)
        energies = frame.values.energy * EV_IN_KJ_PER_MOL
        values = driver.in_openmm_units(frame.values.uncertainty)
        scale = uncertainty_in_openmm(driver.cv.kind)
        time = round(state.getTime().value_in_unit(unit.picosecond), 9)
        for walker, active in enumerate(frame.active):
            row = (energies[walker], values[walker], frame.bias[walker] * EV_IN_KJ_PER_MOL)
            numbers = [repr(float(v)) for v in row]
            line = [frame.step, time, walker, *numbers, int(active)]
            if frame.coefficient is not None:
                c = frame.coefficient[walker] * EV_IN_KJ_PER_MOL / scale
                line.append(repr(float(c)))
            self._table.writerow(line)
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _title(self, name: str, *, adaptive: bool) -> None:
        title = f"uncertainty ({name})" if name else "uncertainty"
        row = ["step", "time (ps)", "walker", "energy (kJ/mol)", title, "bias (kJ/mol)", "active"]
        self._table.writerow([*row, "coefficient"] if adaptive else row)
        self._titled = True
