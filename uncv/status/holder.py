"""Which process holds a run directory, found out without taking the lock."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import NamedTuple

LOCKS = Path("/proc/locks")


class Holder(NamedTuple):
    """Who works in a run directory.

    Attributes
    ----------
    held : bool or None
        Whether a process of this machine holds it; None where that cannot be told, because the
        system does not say or the last process was one of another machine.
    process : int or None
        Its number, or that of the last one that did.
    machine : str
        Where that one ran, '' where the lock does not say.
    """

    held: bool | None
    process: int | None
    machine: str = ""


def holder_of(directory: str | Path) -> Holder:
    """Return which process holds a run directory.

    The lock is not tried: a campaign that begins at that moment would be refused.
    """
    lock = Path(directory) / "lock"
    try:
        process, machine = _named(lock.read_text(encoding="utf-8"))
        holders = _flocks(lock)
    except FileNotFoundError:
        return Holder(False, None)
    if holders:
        return Holder(True, holders[0] or process, machine)
    if machine not in ("", socket.gethostname()):
        return Holder(None, process, machine)
    if holders is None:
        return Holder(False if process is None or not _lives(process) else None, process, machine)
    return Holder(False, process, machine)


def _named(text: str) -> tuple[int | None, str]:
    """Return process and machine of a lock file, which may be empty for a moment."""
    words = text.split()
    process = int(words[0]) if words and words[0].isdigit() else None
    return process, words[1] if len(words) > 1 else ""


def _flocks(lock: Path) -> list[int] | None:
    """Return the processes that hold a file, None where the system keeps no table of locks."""
    place = lock.stat()
    device = f"{os.major(place.st_dev):02x}:{os.minor(place.st_dev):02x}:{place.st_ino}"
    try:
        lines = LOCKS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    rows = [line.split() for line in lines]
    # A row that waits has an arrow in its second column.
    return [int(row[4]) for row in rows if row[1:2] == ["FLOCK"] and row[5:6] == [device]]


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
