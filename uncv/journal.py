"""The record of a campaign that survives being killed: journal, whole files, one writer."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from uncv.errors import CampaignError, FileFormatError, UncvError


class Journal:
    """An append-only file of JSON lines; an event is on the disk when `append` returns.

    Parameters
    ----------
    path : path-like
        The file; made with the first event. A last line torn by a kill is cut off before the next
        event is written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     journal = Journal(Path(folder) / "journal.jsonl")
    ...     journal.append("labelled", round=0, frames=16)
    ...     journal.events("labelled")[0]["frames"]
    16
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def append(self, event: str, **fields: Any) -> None:
        """Write one event with the time (seconds since 1970) and flush it to the disk.

        Raises
        ------
        CampaignError
            If it cannot be written; the events before it are unharmed.
        """
        line = json.dumps({"event": event, "time": round(time.time(), 3), **fields}).encode()
        with _clear_errors(self.path):
            new = not self.path.exists()
            whole = self._whole_bytes()
            _write_at(self.path, whole, line + b"\n")
            if new:
                _to_disk(self.path.parent)

    def events(self, event: str | None = None) -> list[dict[str, Any]]:
        """Return the events in their order, all or those of one name.

        Raises
        ------
        FileFormatError
            If a line before the last one is damaged.
        CampaignError
            If the file cannot be read.
        """
        with _clear_errors(self.path, "read"):
            content = self.path.read_bytes() if self.path.exists() else b""
        lines = content[: content.rfind(b"\n") + 1].splitlines()
        read = [self._parse(number, line) for number, line in enumerate(lines, start=1)]
        return [entry for entry in read if event is None or entry["event"] == event]

    def _parse(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            entry = json.loads(line)
            entry["event"]
        except (ValueError, TypeError, KeyError) as error:
            raise FileFormatError(
                f"line {number} of {self.path} is damaged ({error}); expected one JSON event a "
                "line: restore the file or begin in a new run directory"
            ) from error
        return entry

    def _whole_bytes(self) -> int:
        """Length of the file up to its last line feed: an event without one is torn."""
        if not self.path.exists():
            return 0
        return self.path.read_bytes().rfind(b"\n") + 1


def replace_file(path: str | Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place, then put it there at once, so that readers see old or new.

    Parameters
    ----------
    path : path-like
        The file to make or replace.
    write : callable
        Called with a temporary path of the same suffix in the same folder.

    Raises
    ------
    CampaignError
        If the file cannot be written; what was there before is unharmed.
    """
    path = Path(path)
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        with _clear_errors(path):
            write(part)
            _to_disk(part)
            os.replace(part, path)
            _to_disk(path.parent)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def run_lock(directory: str | Path) -> Iterator[None]:
    """Hold a run directory for this process; the system releases it even after a kill.

    Raises
    ------
    CampaignError
        If another process holds it, or it cannot be locked.
    """
    path = Path(directory) / "lock"
    with _clear_errors(path):
        file = open(path, "a+")  # noqa: SIM115 - closed below, when the lock is given back
    with file:
        with _clear_errors(path, "locked"):
            _lock(file, directory)
            file.truncate(0)
            file.write(f"{os.getpid()} {socket.gethostname()}")
            file.flush()
        yield


def _lock(file: TextIO, directory: str | Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        raise CampaignError(
            f"{directory} is in use by process {holder}; wait for it, stop it, "
            "or give another run directory"
        ) from error


@contextmanager
def _clear_errors(path: Path, done: str = "written") -> Iterator[None]:
    """Turn what the system says of a file into what a user can do about it."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if isinstance(error, UncvError) or not (isinstance(error, OSError) or _is_torch(error)):
            raise
        raise CampaignError(
            f"{path} cannot be {done} ({_words(error)}); the last complete state is kept: "
            "make room or correct the permissions, then run again"
        ) from error


def _is_torch(error: OSError | RuntimeError) -> bool:
    """Whether torch could not write a file, for which it has no exception of its own."""
    return "PytorchStreamWriter" in str(error) or "inline_container" in str(error)


def _words(error: OSError | RuntimeError) -> str:
    return "torch could not write all of it" if _is_torch(error) else str(error)


def _write_at(path: Path, place: int, content: bytes) -> None:
    """Let a file end with this content from a place on, or with what it had there before."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        os.ftruncate(descriptor, place)
        try:
            os.lseek(descriptor, place, os.SEEK_SET)
            written = 0
            while written < len(content):
                written += os.write(descriptor, content[written:])
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, place)
            raise
    finally:
        os.close(descriptor)


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
