"""apax in an environment and a process of its own, answering turn by turn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import ase
import ase.io
from step_cost_turns import Contender, Took

import uncv

WORKER = Path(__file__).with_name("step_cost_apax.py")
NAMES = ("apax in ASE", "apax in ASE, uncertainty-driven dynamics", "apax's own engine")


class ApaxError(Exception):
    """apax cannot be used, and why."""


def environment(folder: Path) -> Path:
    """Return the Python of an environment with apax, made by pip if it is not there yet.

    Raises
    ------
    ApaxError
        If it cannot be installed.
    """
    python = folder / "bin" / "python"
    if not python.is_file():
        print(f"installing apax into {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True)
    if subprocess.run([python, "-c", "import apax"], capture_output=True).returncode:
        command = [python, "-m", "pip", "install", "--quiet", "apax"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise ApaxError(f"pip install apax failed: {done.stderr.strip()[-300:]}")
    return python


class Apax:
    """A worker that is asked for steps; ``with Apax(...) as apax``.

    Parameters
    ----------
    python : Path
        Of the environment.
    frame : Dataset
        The molecule.
    members, threads : int
        Of the ensemble; cores that the worker may use.

    Attributes
    ----------
    about : dict
        What its model is.

    Raises
    ------
    ApaxError
        If the worker ends.
    """

    def __init__(self, python: Path, frame: uncv.Dataset, members: int, threads: int) -> None:
        self._folder = TemporaryDirectory()
        here = Path(self._folder.name)
        ase.io.write(here / "molecule.xyz", ase.Atoms(frame.numbers[0], frame.positions[0]))
        self._log = here / "log"
        cores = sorted(os.sched_getaffinity(0))[:threads]
        command = [python, WORKER, here / "molecule.xyz", here / "apax" / "model", str(members)]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )  # fmt: skip
        try:
            self.about: dict[str, Any] = self._answer()
        except ApaxError:
            self.close()
            raise

    def contenders(self, steps: int) -> dict[str, Contender]:
        """Return what takes turns; steps of a turn are multiples of ten."""
        return {name: Contender(lambda name=name: self._run(name, steps), steps) for name in NAMES}

    def _run(self, name: str, steps: int) -> Took:
        self._process.stdin.write(f"{name} {steps}\n")
        self._process.stdin.flush()
        return Took(*self._answer())

    def _answer(self) -> Any:
        line = self._process.stdout.readline()
        if not line:
            last = self._log.read_text().strip().splitlines()[-1:]
            raise ApaxError(f"apax's worker ended: {' '.join(last)}")
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._folder.cleanup()
