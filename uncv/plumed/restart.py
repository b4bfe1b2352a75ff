"""What changes in a PLUMED input when a run is taken up, and what PLUMED cannot take up exactly."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from uncv.plumed.outputs import with_suffix
from uncv.plumed.script import ScriptLine

OPES = {"OPES_EXPANDED", "OPES_METAD", "OPES_METAD_EXPLORE"}
FORGETFUL = {
    "ABMD": "its extreme value so far",
    "ACCUMULATE": "its sums",
    "AVERAGE": "its sums",
    "EDS": "its averages",
    "EXTENDED_LAGRANGIAN": "position and velocity of its fictitious variable",
    "HISTOGRAM": "its counts",
    "MAXENT": "its multipliers",
}
"""Actions that keep in memory what no file of theirs holds."""


def continued(
    lines: Iterable[ScriptLine], folder: Path, suffix: str, scratch: Path
) -> tuple[ScriptLine, ...]:
    """Return the input of a run that is taken up: RESTART first, and OPES reads its state.

    Parameters
    ----------
    lines : iterable of ScriptLine
        The input of the run.
    folder : Path
        Where its files lie.
    suffix : str
        Of the instance.
    scratch : Path
        Folder for what PLUMED is to read at once.
    """
    first = ScriptLine("checkpoint", 1, "RESTART")
    read = (_from_state(line, folder, suffix, scratch) for line in lines)
    return (first, *read)


def without_restart(lines: Iterable[ScriptLine]) -> list[ScriptLine]:
    """Return the input without what makes PLUMED read its own former outputs."""
    plain = (line for line in lines if line.action != "RESTART")
    return [line.with_value("RESTART", "NO") if line.has("RESTART") else line for line in plain]


def forgotten(lines: Iterable[ScriptLine], step: int) -> list[str]:
    """Return what a restart at a step would lose, in words; nothing if it is exact.

    OPES writes its state at every checkpoint, or at multiples of STATE_WSTRIDE if that is given.
    """
    lost = []
    for line in lines:
        stride = int(line.value("STATE_WSTRIDE") or 1)
        if line.action in OPES and not line.has("STATE_WFILE"):
            lost.append(f"{line.place}: OPES needs STATE_WFILE=STATE to restart exactly")
        elif line.action in OPES and step % stride:
            lost.append(
                f"{line.place}: the checkpoint at step {step} is not at a multiple of "
                f"STATE_WSTRIDE={stride}; leave STATE_WSTRIDE out or choose a divisor of the "
                "interval between checkpoints"
            )
        if line.action in FORGETFUL:
            lost.append(f"{line.place}: {line.action} loses {FORGETFUL[line.action]}")
    return lost


def _from_state(line: ScriptLine, folder: Path, suffix: str, scratch: Path) -> ScriptLine:
    if line.action not in OPES or not line.has("STATE_WFILE"):
        return line
    name = line.value("STATE_WFILE")
    path = folder / with_suffix(name, suffix)
    if not path.is_file():
        return line
    state = path.read_text()
    last = scratch / f"{line.number}.state"
    last.write_text(state[state.rindex("#! FIELDS") :])  # STORE_STATES keeps the former ones too
    return line.with_value("STATE_RFILE", str(last))
