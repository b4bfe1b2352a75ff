"""Which files a PLUMED input writes, and how they return to where they were at a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

from uncv.errors import PlumedError
from uncv.plumed.script import ScriptLine

READERS = {"EXTERNAL", "INCLUDE", "LOAD", "READ"}
"""Actions whose FILE is read."""
DEFAULTS = {
    "EDS": ("OUT_RESTART", "restart.edsrestart"),
    "METAD": ("FILE", "HILLS"),
    "OPES_EXPANDED": ("FILE", "DELTAFS"),
    "OPES_METAD": ("FILE", "KERNELS"),
    "OPES_METAD_EXPLORE": ("FILE", "KERNELS"),
    "PBMETAD": ("FILE", "HILLS"),
}
"""Keyword and name of the file that an action writes unasked."""
REWRITTEN = {"STATE_WFILE": "STORE_STATES", "GRID_WFILE": "STORE_GRIDS"}
"""Keywords of files that are written anew each time, unless the flag says that all are kept."""


class Output(NamedTuple):
    """A file that PLUMED writes.

    Attributes
    ----------
    line : ScriptLine
        Who writes it.
    keyword : str
        The keyword that names it.
    name : str
        As in the input.
    rewritten : bool
        Whether it is written anew each time; the others grow.
    """

    line: ScriptLine
    keyword: str
    name: str
    rewritten: bool

    @property
    def shared(self) -> bool:
        """Whether other walkers read it."""
        return self.keyword == "FILE" and self.line.value("WALKERS_N") not in ("", "1")

    def path(self, folder: Path, suffix: str) -> Path:
        """Return where the file lies: relative to a folder, with the instance's suffix."""
        if self.shared:
            identity = self.line.value("WALKERS_ID") or "0"
            return folder / self.line.value("WALKERS_DIR") / f"{self.name}.{identity}"
        return folder / with_suffix(self.name, suffix)


class Kept(NamedTuple):
    """The files of an instance at a checkpoint.

    Attributes
    ----------
    sizes : dict
        Bytes of each file that grows, by its path relative to PLUMED's folder.
    contents : dict
        Text of each file that is rewritten.
    """

    sizes: dict[str, int]
    contents: dict[str, str]


def outputs(lines: Iterable[ScriptLine]) -> Iterator[Output]:
    """Yield the files that an input writes."""
    for line in lines:
        named = [word.partition("=")[::2] for word in line.words if "=" in word]
        found = {k: v.strip("{}") for k, v in named if _is_output(line, k)}
        keyword, default = DEFAULTS.get(line.action, ("", ""))
        if default:
            found.setdefault(keyword, default)
        for keyword, names in found.items():
            rewritten = keyword in REWRITTEN and not line.has(REWRITTEN[keyword])
            for name in names.split(","):
                yield Output(line, keyword, name, rewritten)


def redirected(lines: Iterable[ScriptLine], folder: Path) -> Iterator[ScriptLine]:
    """Yield an input whose outputs go to another folder, for a rehearsal."""
    for line in lines:
        new = line
        for keyword in dict.fromkeys(output.keyword for output in outputs([line])):
            names = [o.name for o in outputs([line]) if o.keyword == keyword]
            moved = ",".join(str(folder / Path(name).name) for name in names)
            new = new.with_value(keyword, moved)
        if line.has("WALKERS_N"):  # the folder and FILE are joined
            names = [o.name for o in outputs([line]) if o.keyword == "FILE"]
            new = new.with_value("FILE", ",".join(Path(name).name for name in names))
            new = new.with_value("WALKERS_DIR", str(folder))
        yield new


def set_aside(path: Path) -> None:
    """Rename a file of a former run as PLUMED does; nothing where there is none."""
    if not path.is_file():
        return
    names = (path.with_name(f"bck.{k}.{path.name}") for k in count())
    path.rename(next(name for name in names if not name.exists()))


def keep(lines: Iterable[ScriptLine], folder: Path, suffix: str) -> Kept:
    """Return sizes and contents of the files as they are.

    Raises
    ------
    PlumedError
        If an output is compressed: it cannot be cut later.
    """
    sizes: dict[str, int] = {}
    contents: dict[str, str] = {}
    for output in outputs(lines):
        if output.name == "/dev/null":
            continue
        path = output.path(folder, suffix)
        key = str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
        if path.suffix == ".gz":
            raise PlumedError(
                f"{output.line.place}: {path.name} is compressed and cannot be cut at a "
                "checkpoint; write it without .gz"
            )
        if output.rewritten:
            contents[key] = path.read_text() if path.is_file() else ""
        else:
            sizes[key] = path.stat().st_size if path.is_file() else 0
    return Kept(sizes, contents)


def check_kept(kept: Kept, folder: Path) -> None:
    """Refuse files that cannot be those of the run.

    Raises
    ------
    PlumedError
        If a file is shorter than it was.
    """
    for name, size in kept.sizes.items():
        path = folder / name
        found = path.stat().st_size if path.is_file() else 0
        if found < size:
            raise PlumedError(
                f"{path} has {found} bytes and had {size} at the checkpoint, so it was moved or "
                f"written anew; put the file of that run back (PLUMED renames to bck.*.{path.name})"
            )


def put_back(kept: Kept, folder: Path) -> None:
    """Cut the files that have grown since, and restore those that were rewritten."""
    for name, size in kept.sizes.items():
        path = folder / name
        if path.is_file() and path.stat().st_size > size:
            with path.open("r+b") as file:
                file.truncate(size)
    for name, text in kept.contents.items():
        if text:
            (folder / name).write_text(text)
        else:
            (folder / name).unlink(missing_ok=True)


def with_suffix(name: str, suffix: str) -> str:
    """Return the name PLUMED gives a file of an instance with a suffix.

    PLUMED puts it before an extension of at most four characters.

    >>> with_suffix("COLVAR", ".2"), with_suffix("out/colvar.dat", ".2")
    ('COLVAR.2', 'out/colvar.2.dat')
    """
    stem, dot, extension = name.rpartition(".")
    plain = not dot or not 0 < len(extension) < 5 or "/" in extension
    if plain or stem == "" or stem.endswith("/"):
        return f"{name}{suffix}"
    return f"{stem}{suffix}.{extension}"


def _is_output(line: ScriptLine, keyword: str) -> bool:
    if keyword in REWRITTEN:
        return True
    return keyword == "OUT_RESTART" or (keyword == "FILE" and line.action not in READERS)
