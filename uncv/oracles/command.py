"""Labels by a program of the user's: extended XYZ out, extended XYZ with labels back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from uncv.data import Dataset
from uncv.errors import ConfigError, OracleError, UncvError
from uncv.io import read, write
from uncv.oracles.base import FrameOracle, Labels

_TAIL = 400  # characters of what a failed program has said
_SAME = 1e-3  # Å within which an atom counts as the one that was given


class CommandOracle(FrameOracle):
    """Runs a program on a file of structures and reads the labels from the file it writes.

    The program gets extended XYZ with species, positions (Å), cell and pbc, and writes all frames
    in their order, atoms in their order and unturned, with ``energy`` (eV), ``forces`` (eV/Å) and,
    if it has one, ``stress`` (eV/Å^3, tension positive) or ``virial`` (eV). A frame that it cannot
    label it may write without labels or with NaN. It runs in an empty folder of its own, without a
    shell.

    Parameters
    ----------
    command : sequence of str
        Program and arguments; ``{input}`` and ``{output}`` in them become paths. What names an
        existing file is made absolute.
    level_of_theory : str
        What the labels are, recorded with every frame; nobody else can know.
    timeout : float
        Seconds after which the program is ended, for each frame that it got.
    frames_at_once : int
        Frames for one run of the program. When a run of several fails as a whole, each gets its
        own, so that a bad frame costs one label.
    software : str
        Name and version of the program, recorded with every frame.
    max_force : float, optional
        A frame with a larger force on an atom (eV/Å) counts as failed.

    Raises
    ------
    ConfigError
        If there is no such program, a placeholder is missing, or a number is not positive.
    """

    def __init__(
        self,
        command: Sequence[str],
        level_of_theory: str,
        *,
        timeout: float = 3600.0,
        frames_at_once: int = 1,
        software: str = "",
        max_force: float | None = None,
    ) -> None:
        self.command = _located(command)
        super().__init__(level_of_theory, max_force, software=software or Path(command[0]).name)
        for name, value in {"timeout": timeout, "frames_at_once": frames_at_once}.items():
            if not value > 0:
                raise ConfigError(f"{name} is {value}; give a positive number")
        self.timeout = timeout
        self.frames_at_once = frames_at_once

    @property
    def identity(self) -> str:
        """Level of theory and command."""
        return f"{super().identity}, {' '.join(self.command)}"

    def attempt(self, frames: Dataset) -> Sequence[Labels | Exception]:
        """Return labels of frames from one run, or from one for each when that failed."""
        try:
            return self._run(frames)
        except Exception as error:  # noqa: BLE001 - recorded with the frame, which is set apart
            if len(frames) == 1:
                return [error]
            return [self._compute_or_error(frames[i]) for i in range(len(frames))]

    def compute(self, frame: Dataset) -> Labels:
        """Return the labels of a dataset of one frame.

        Raises
        ------
        OracleError
            If the program fails, takes too long, or does not write this frame with its labels.
        """
        found = self._run(frame)[0]
        if isinstance(found, Exception):
            raise found
        return found

    def _run(self, frames: Dataset) -> list[Labels | Exception]:
        with TemporaryDirectory(prefix="uncv_label_") as scratch:
            try:
                answered = self._ask(frames, Path(scratch))
            except (UncvError, OSError) as error:  # the folder's name is another one each time
                raise OracleError(str(error).replace(f"{scratch}{os.sep}", "")) from error
        for i in range(len(frames)):
            _check_same(frames[i], answered[i])
        return [_labels(answered[i]) for i in range(len(frames))]

    def _ask(self, frames: Dataset, folder: Path) -> Dataset:
        """Run the program in a folder and return what it wrote, as many frames as it got."""
        given, output = folder / "frames.extxyz", folder / "labelled.extxyz"
        write(given, Dataset(frames.numbers, frames.positions, frames.cell, frames.pbc))
        paths = {"{input}": str(given), "{output}": str(output)}
        command = [_filled(argument, paths) for argument in self.command]
        _execute(command, folder, self.timeout * len(frames))
        if not output.is_file():
            raise OracleError(f"the program wrote no {output.name}{_said(folder)}")
        answered = read(output)
        if len(answered) != len(frames):
            raise OracleError(
                f"the program wrote {len(answered)} of {len(frames)} frames{_said(folder)}"
            )
        return answered


def _located(command: Sequence[str]) -> tuple[str, ...]:
    """Return the command with absolute paths, since it runs in another folder."""
    if isinstance(command, str) or not command:
        raise ConfigError(
            f"command is {command!r}; give a list of program and arguments, such as "
            "['python', 'label.py', '{input}', '{output}']"
        )
    for placeholder in ("{input}", "{output}"):
        if not any(placeholder in argument for argument in command):
            raise ConfigError(f"no argument of {list(command)} holds {placeholder}; add it")
    program = shutil.which(command[0])
    if program is None:
        raise ConfigError(
            f"there is no program {command[0]!r}; correct its path or make it executable"
        )
    return (
        str(Path(program).absolute()),
        *(str(Path(a).absolute()) if Path(a).is_file() else str(a) for a in command[1:]),
    )


def _filled(argument: str, paths: dict[str, str]) -> str:
    for placeholder, path in paths.items():
        argument = argument.replace(placeholder, path)
    return argument


def _execute(command: list[str], folder: Path, timeout: float) -> None:
    """Run a program to its end; it and all it has started are ended when it takes too long."""
    with (folder / "stdout").open("wb") as said, (folder / "stderr").open("wb") as complained:
        process = subprocess.Popen(  # noqa: S603 - the user's own program, without a shell
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=complained,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise OracleError(
                f"the program had not finished after {timeout:g} s{_said(folder)}"
            ) from None
        finally:
            _end(process)
    if code:
        raise OracleError(f"the program ended with exit code {code}{_said(folder)}")


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _said(folder: Path) -> str:
    """Return the last words of a program: of its errors, or if it had none of its output."""
    for name in ("stderr", "stdout"):
        with (folder / name).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            text = file.read().decode("utf-8", "replace").strip()
        if text:
            return f"; its {name} ends with: {text}"
    return " and said nothing"


def _check_same(frame: Dataset, answered: Dataset) -> None:
    """Refuse a frame that is not the one that was given, so that no label goes astray."""
    atoms = int(frame.frame_atoms[0])
    numbers = answered.numbers[0][: answered.frame_atoms[0]]
    if not np.array_equal(numbers, frame.numbers[0][:atoms]):
        raise OracleError(
            f"the program wrote {len(numbers)} atoms that are not, or not in the order of, the "
            f"{atoms} atoms of the frame"
        )
    moved = _displacement(frame, answered.positions[0, :atoms])
    if moved > _SAME:
        raise OracleError(
            f"the program wrote an atom {moved:.3g} Å from where it was; it must keep order and "
            "orientation of frames and atoms, and write positions with 4 digits or more"
        )


def _displacement(frame: Dataset, positions: NDArray[np.float64]) -> float:
    """Return the largest distance (Å) of an atom to its place or to an image of that."""
    shift = positions - frame.positions[0, : len(positions)]
    cell = np.where(frame.pbc[0][:, None], frame.cell[0], 0.0)
    whole = np.rint(shift @ np.linalg.pinv(cell))
    return float(np.linalg.norm(shift - whole @ cell, axis=1).max(initial=0.0))


def _labels(answered: Dataset) -> Labels | Exception:
    """Return what a program wrote for one frame; the base looks at whether it is finite."""
    if answered.energy is None or answered.forces is None:
        return OracleError("the program wrote no energy, or no forces")
    stress = None
    if answered.stress is not None and np.isfinite(answered.stress[0]).all():
        stress = answered.stress[0]
    return Labels(float(answered.energy[0]), answered.forces[0], stress)
