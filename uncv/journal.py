"""The record of a campaign that survives being killed: journal, whole files, one writer."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from uncv.errors import CampaignError, FileFormatError


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
        """Write one event with the time (seconds since 1970) and flush it to the disk."""
        line = json.dumps({"event": event, "time": round(time.time(), 3), **fields})
        whole = self._whole_bytes()
        with open(self.path, "r+b" if self.path.exists() else "w+b") as file:
            file.truncate(whole)
            file.seek(whole)
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def events(self, event: str | None = None) -> list[dict[str, Any]]:
        """Return the events in their order, all or those of one name.

        Raises
        ------
        FileFormatError
            If a line before the last one cannot be read.
        """
        if not self.path.exists():
            return []
        lines = self.path.read_bytes()[: self._whole_bytes()].splitlines()
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
        write(part)
        _to_disk(part)
        os.replace(part, path)
        _to_disk(path.parent)
    except OSError as error:
        raise CampaignError(
            f"{path} cannot be written ({error}); the last complete state is kept: "
            "make room or correct the permissions, then run again"
        ) from error
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def run_lock(directory: str | Path) -> Iterator[None]:
    """Hold a run directory for this process; the system releases it even after a kill.

    Raises
    ------
    CampaignError
        If another process holds it.
    """
    path = Path(directory) / "lock"
    with open(path, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise CampaignError(
                f"{directory} is in use by process {holder}; wait for it, stop it, "
                "or give another run directory"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
