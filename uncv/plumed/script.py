"""Reads a PLUMED input line by line, the files it includes among them."""

from __future__ import annotations

from collections.abc import Iterator
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
    given : str
        As it was given, if it was adapted since.
    """

    source: str
    number: int
    text: str
    given: str = ""

    @property
    def words(self) -> list[str]:
        """The directive word by word; what stands in braces is one word.

        >>> ScriptLine("PLUMED input", 1, "c: CUSTOM ARG=a FUNC={x + 1}").words
        ['c:', 'CUSTOM', 'ARG=a', 'FUNC={x + 1}']
        """
        words: list[str] = []
        depth = 0
        for part in self.text.split():
            if depth:
                words[-1] += f" {part}"
            else:
                words.append(part)
            depth = max(0, depth + part.count("{") - part.count("}"))
        return words

    @property
    def action(self) -> str:
        """Name of the action, without the label that may stand before it."""
        words = self.words
        return words[1] if words[0].endswith(":") and len(words) > 1 else words[0]

    @property
    def label(self) -> str:
        """Label of the action, empty if PLUMED is to choose one."""
        first = self.words[0]
        return first[:-1] if first.endswith(":") else self.value("LABEL")

    @property
    def place(self) -> str:
        """Source, line number and text, for messages."""
        return f"{self.source}, line {self.number} ('{self.given or self.text}')"

    def has(self, word: str) -> bool:
        """Whether a flag, or a keyword with any value, is there."""
        return any(w == word or w.startswith(f"{word}=") for w in self.words)

    def value(self, keyword: str) -> str:
        """Return what follows ``KEYWORD=`` without its braces, empty if it is not there.

        >>> ScriptLine("PLUMED input", 1, "u: EXTRACV NAME=energy").value("NAME")
        'energy'
        """
        values = [w.split("=", 1)[1] for w in self.words if w.startswith(f"{keyword}=")]
        if values and values[0].startswith("{") and values[0].endswith("}"):
            return values[0][1:-1].strip()
        return values[0] if values else ""

    def with_value(self, keyword: str, value: str) -> ScriptLine:
        """Return the directive with ``KEYWORD=value`` in place of another value, or added."""
        kept = [w for w in self.words if not w.startswith(f"{keyword}=")]
        return self.replaced(" ".join([*kept, f"{keyword}={value}"]))

    def replaced(self, text: str) -> ScriptLine:
        """Return the directive with another text; messages go on showing the one given."""
        return self._replace(text=text, given=self.given or self.text)


def read_script(script: str | Path, folder: Path | None = None) -> tuple[ScriptLine, ...]:
    """Read a PLUMED input up to ENDPLUMED, with what it includes in place of INCLUDE.

    Parameters
    ----------
    script : str or Path
        A file, or the input itself: a string with a line break is an input, any other a path.
    folder : Path, optional
        Where names of included files begin; the current directory by default.

    Raises
    ------
    PlumedError
        If there is no such file, a file includes itself, or a ``...`` is never closed.
    """
    if isinstance(script, str) and "\n" in script:
        return tuple(_with_included(script, "PLUMED input", folder or Path(), ()))
    path = Path(script)
    if not path.is_file():
        raise PlumedError(
            f"there is no PLUMED input file {path}; to give the input itself, end its line "
            "with a line break"
        )
    return tuple(_with_included(path.read_text(), str(path), folder or Path(), ()))


def _with_included(
    text: str, source: str, folder: Path, above: tuple[Path, ...]
) -> Iterator[ScriptLine]:
    for line in _directives(text, source):
        if line.action != "INCLUDE":
            yield line
            continue
        path = folder / line.value("FILE")
        if not path.is_file():
            raise PlumedError(
                f"{line.place}: the file {line.value('FILE')} cannot be found in {folder.resolve()}"
            )
        if path in above:
            raise PlumedError(f"{line.place}: {path} includes itself")
        yield from _with_included(path.read_text(), str(path), folder, (*above, path))


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
