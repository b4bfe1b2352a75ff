"""Labels kept by the content of their frame, so that none is computed twice."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from uncv.data import Dataset
from uncv.errors import OracleError
from uncv.oracles.base import (
    Answer,
    FrameOracle,
    Labels,
    check_force,
    reason_of,
    with_answers,
)

_DIGITS = 8  # of positions and cell in Å, beyond which frames count as the same
_START = b'{"key": "'


class LabelCache:
    """Labels in a file: one line of JSON each, only ever added to.

    A line that a kill has torn, or that is damaged, is ignored; its label will be computed again.
    Several processes may read and add at the same time. Numbers come back bit by bit.

    Parameters
    ----------
    path : path-like
        The file; made with the first label.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cache = LabelCache(Path(folder) / "labels.jsonl")
    ...     cache.add("0123", Answer(Labels(-1.5, np.zeros((2, 3))), ""))
    ...     cache.find("0123").labels.energy
    -1.5
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self._places: dict[str, tuple[int, int]] = {}
        self._read = 0  # bytes of the file that the places are of

    def find(self, key: str) -> Answer | None:
        """Return the labels under a key, None if there are none."""
        self._refresh()
        if key not in self._places:
            return None
        start, length = self._places[key]
        with self.path.open("rb") as file:
            file.seek(start)
            return _parsed(file.read(length), key)

    def add(self, key: str, answer: Answer) -> None:
        """Write labels under a key; they are on the disk when this returns.

        Raises
        ------
        OracleError
            If the file cannot be written; what it holds is unharmed.
        """
        line = _line(key, answer)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file, _locked(file):
                if self._torn():
                    line = b"\n" + line
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OracleError(
                f"the labels in {self.path} cannot be added to ({error}); the earlier ones are "
                "kept: make room or correct the permissions, then run again"
            ) from error

    def __len__(self) -> int:
        self._refresh()
        return len(self._places)

    def _torn(self) -> bool:
        """Whether the last line has no end: its writer was killed, since we hold the lock."""
        size = self.path.stat().st_size
        if size == 0:
            return False
        with self.path.open("rb") as file:
            file.seek(size - 1)
            return file.read(1) != b"\n"

    def _refresh(self) -> None:
        """Look at what has been added since the last look, up to the last line that has an end."""
        if not self.path.exists():
            self._places, self._read = {}, 0
            return
        if self.path.stat().st_size < self._read:  # another file has taken its place
            self._places, self._read = {}, 0
        with self.path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                if line.startswith(_START) and line.endswith(b"}\n"):
                    key = line[len(_START) :].split(b'"', 1)[0].decode("ascii", "replace")
                    self._places[key] = (self._read, len(line))
                self._read += len(line)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_places": {}, "_read": 0}


class CachedOracle:
    """An oracle that asks another one only for frames whose labels are not kept yet.

    A frame is the same if oracle, elements, positions, cell and periodic directions are, to 1e-8 Å.
    Of equal frames in one batch one is computed. A label is kept as soon as it is there, and
    failures are not kept. The limit on forces of the other oracle holds for kept labels too.

    Parameters
    ----------
    oracle : FrameOracle
        The one that computes.
    path : path-like or LabelCache
        Where labels are kept; several oracles may share one file.

    Examples
    --------
    >>> import tempfile
    >>> from uncv.oracles import XTBOracle
    >>> pair = Dataset([1, 1], [[[0.0, 0.0, 0.0], [0.0, 0.0, 0.74]]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     oracle = CachedOracle(XTBOracle(), Path(folder) / "labels.jsonl")
    ...     first, again = oracle.label(pair), oracle.label(pair)
    >>> bool(first.energy[0] == again.energy[0])
    True
    """

    def __init__(self, oracle: FrameOracle, path: str | Path | LabelCache) -> None:
        self.oracle = oracle
        self.cache = path if isinstance(path, LabelCache) else LabelCache(path)

    @property
    def level_of_theory(self) -> str:
        """What the labels are."""
        return self.oracle.level_of_theory

    def label(self, frames: Dataset) -> Dataset:
        """Label frames, as `FrameOracle.label`.

        Raises
        ------
        OracleError
            If the file of labels cannot be written.
        """
        identity = self.oracle.identity
        keys = [content_key(identity, frames[i]) for i in range(len(frames))]
        known = {key: self._kept(key) for key in dict.fromkeys(keys)}
        first = {key: keys.index(key) for key, answer in known.items() if answer is None}
        missing = list(first.items())
        for start in range(0, len(missing), self.oracle.frames_at_once):
            part = missing[start : start + self.oracle.frames_at_once]
            labelled = self.oracle.label(frames[[index for _, index in part]])
            for row, (key, _) in enumerate(part):
                known[key] = answer = _answer(labelled, row)
                if answer.labels is not None:
                    self.cache.add(key, answer)
        answers = [known[key] or Answer(None, "no answer") for key in keys]
        return with_answers(frames, answers, self.level_of_theory)

    def _kept(self, key: str) -> Answer | None:
        answer = self.cache.find(key)
        if answer is None or answer.labels is None:
            return None
        try:
            check_force(answer.labels, self.oracle.max_force)
        except OracleError as error:
            return Answer(None, reason_of(error), answer.software)
        return answer


def content_key(identity: str, frame: Dataset) -> str:
    """Return a hash of what a label depends on: who computes it, and the structure of one frame.

    Positions and cell are rounded to 1e-8 Å, and a cell counts in periodic directions only.
    """
    atoms = int(frame.frame_atoms[0])
    cell = np.where(frame.pbc[0][:, None], frame.cell[0], 0.0)
    numbers = [frame.numbers[0, :atoms].astype("<i8"), frame.pbc[0].astype("<i8")]
    lengths = [_rounded(frame.positions[0, :atoms]), _rounded(cell)]
    content = hashlib.sha256(identity.encode() + b"\0")
    for array in (*numbers, *lengths):
        content.update(array.tobytes())
    return content.hexdigest()


def _rounded(lengths: np.ndarray) -> np.ndarray:
    return np.round(lengths, _DIGITS).astype("<f8") + 0.0  # no −0


def _answer(labelled: Dataset, row: int) -> Answer:
    """Return what an oracle has said of one frame of a batch."""
    error, software = (str(labelled.info[k][row]) for k in ("label_error", "software"))
    if error or labelled.energy is None or labelled.forces is None:
        return Answer(None, error, software)
    stress = None if labelled.stress is None else labelled.stress[row]
    if stress is not None and not np.isfinite(stress).all():
        stress = None
    forces = labelled.forces[row, : labelled.frame_atoms[row]]
    return Answer(Labels(float(labelled.energy[row]), forces, stress), "", software)


def _line(key: str, answer: Answer) -> bytes:
    labels = answer.labels
    if labels is None:
        raise ValueError("an answer without labels is not kept")
    content = {
        "key": key,
        "software": answer.software,
        "energy": labels.energy,
        "forces": labels.forces.tolist(),
        "stress": None if labels.stress is None else labels.stress.tolist(),
    }
    return json.dumps(content).encode() + b"\n"


def _parsed(line: bytes, key: str) -> Answer | None:
    """Return the labels of a line, None if it is damaged."""
    try:
        content = json.loads(line)
        forces = np.array(content["forces"], dtype=np.float64).reshape(-1, 3)
        stress = content["stress"]
        if stress is not None:
            stress = np.array(stress, dtype=np.float64).reshape(3, 3)
        labels = Labels(float(content["energy"]), forces, stress)
        return Answer(labels, "", str(content["software"])) if content["key"] == key else None
    except (ValueError, KeyError, TypeError):
        return None


@contextmanager
def _locked(file: BinaryIO) -> Iterator[None]:
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
