"""Reads a PLUMED input line by line and refuses what an engine of uncv cannot answer for."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from uncv.errors import PlumedError


class ScriptLine(NamedTuple):
    """One directive of a PLUMED input, its continuation lines joined and its comments gone.

    Attributes
    ----------
    source : str
        The file it stands in, or ``PLUMED input`` for a text.
    number : int
        Line of the source where it begins, from 1.
    text : str
        The directive as PLUMED takes it.
    """

    source: str
    number: int
    text: str

    @property
    def action(self) -> str:
        """Name of the action, without the label that may stand before it."""
        words = self.text.split()
        return words[1] if words[0].endswith(":") and len(words) > 1 else words[0]

    @property
    def label(self) -> str:
        """Label of the action, empty if PLUMED is to choose one."""
        first = self.text.split()[0]
        return first[:-1] if first.endswith(":") else self.value("LABEL")

    @property
    def place(self) -> str:
        """Source, line number and text, for messages."""
        return f"{self.source}, line {self.number} ('{self.text}')"

    def value(self, keyword: str) -> str:
        """Return what follows ``KEYWORD=``, empty if the keyword is not there.

        >>> ScriptLine("PLUMED input", 1, "u: EXTRACV NAME=energy").value("NAME")
        'energy'
        """
        values = [w.split("=", 1)[1] for w in self.text.split() if w.startswith(f"{keyword}=")]
        return values[0].strip("{}") if values else ""


def read_script(script: str | Path) -> tuple[ScriptLine, ...]:
    """Read a PLUMED input up to ENDPLUMED.

    Parameters
    ----------
    script : str or Path
        A file, or the input itself: a string with a line break is an input, any other a path.

    Raises
    ------
    PlumedError
        If there is no such file, or a ``...`` that is opened is never closed.
    """
    if isinstance(script, str) and "\n" in script:
        return tuple(_directives(script, "PLUMED input"))
    path = Path(script)
    if not path.is_file():
        raise PlumedError(
            f"there is no PLUMED input file {path}; to give the input itself, end its line "
            "with a line break"
        )
    return tuple(_directives(path.read_text(), str(path)))


def check_script(
    lines: Collection[ScriptLine], provides: Collection[str], folder: Path | None = None
) -> frozenset[str]:
    """Refuse actions that would be silently wrong, in included files too.

    Parameters
    ----------
    lines : collection of ScriptLine
        The input.
    provides : collection of str
        Names that EXTRACV may ask for.
    folder : Path, optional
        Where PLUMED will look for included files; the current directory by default.

    Returns
    -------
    frozenset of str
        The names that EXTRACV does ask for.

    Raises
    ------
    PlumedError
        On an EXTRACV with another name, on ENERGY, on PUT, and on a file in a folder that does
        not exist (PLUMED would end the process), with the line.
    """
    asked: set[str] = set()
    for line in lines:
        _check_action(line, provides)
        _check_files(line, folder or Path())
        if line.action == "EXTRACV":
            asked.add(line.value("NAME"))
        if line.action == "INCLUDE":
            included = (folder or Path()) / line.value("FILE")
            if included.is_file():  # a missing one is for PLUMED to report
                asked |= check_script(read_script(included), provides, folder)
    return frozenset(asked)


def _check_action(line: ScriptLine, provides: Collection[str]) -> None:
    known = " or ".join(f"NAME={name}" for name in provides)
    if line.action == "ENERGY":
        advice = "EXTRACV NAME=energy" if "energy" in provides else "a bias on other variables"
        raise PlumedError(
            f"{line.place}: ENERGY would rescale forces that PLUMED does not have here; "
            f"use {advice}"
        )
    if line.action == "PUT":
        raise PlumedError(f"{line.place}: PUT is not offered; use EXTRACV {known}")
    if line.action == "EXTRACV" and line.value("NAME") not in provides:
        raise PlumedError(
            f"{line.place}: EXTRACV asks for '{line.value('NAME')}', which is not provided; "
            f"use {known}"
        )


def _check_files(line: ScriptLine, folder: Path) -> None:
    keywords = [word.split("=", 1)[0] for word in line.text.split() if "=" in word]
    for keyword in keywords:
        if not keyword.endswith("FILE"):
            continue
        for name in line.value(keyword).split(","):
            if not (folder / name).parent.is_dir():
                raise PlumedError(
                    f"{line.place}: {keyword}={name} lies in a folder that does not exist; "
                    f"make {(folder / name).parent} first"
                )


def _directives(text: str, source: str) -> Iterator[ScriptLine]:
    parts: list[str] = []
    start, inside = 0, False
    for number, raw in enumerate(text.splitlines(), start=1):
        words = raw.split("#", 1)[0].split()
        if not words:
            continue
        start = start if inside else number
        if inside and words[0] == "...":
            inside, words = False, []
        elif words[-1] == "...":
            inside, words = True, words[:-1]
        parts += words
        if inside or not parts:
            continue
        line = ScriptLine(source, start, " ".join(parts))
        if line.action == "ENDPLUMED":
            return
        yield line
        parts = []
    if inside:
        raise PlumedError(f"{source}, line {start}: the '...' opened here is never closed")
