"""A report as one HTML file that needs nothing beside it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import NamedTuple

from uncv.plots import Figure, png

_STYLE = """
:root { color-scheme: light dark; --text: #1b1f23; --page: #ffffff; --line: #d0d7de;
        --soft: #57606a; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6edf3; --page: #0d1117; --line: #30363d; --soft: #9da7b1; }
}
body { font: 16px/1.55 system-ui, sans-serif; color: var(--text); background: var(--page);
       max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.25; }
h2 { border-top: 1px solid var(--line); margin-top: 2.2rem; padding-top: 1.2rem; }
figure { margin: 1rem 0; }
img { max-width: 100%; height: auto; background: #ffffff; padding: .5rem; border-radius: 6px;
      border: 1px solid var(--line); box-sizing: border-box; }
figcaption { color: var(--soft); font-size: .9rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .35rem .8rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
""".strip()


class Table(NamedTuple):
    """A table: names of the columns, and rows of as many cells."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Parameters
    ----------
    title : str
        Heading.
    text : str
        Paragraphs, parted by blank lines; plain text.
    figure : matplotlib.figure.Figure, optional
        Shown below the text, described to those who cannot see it by ``caption``.
    caption : str
        What the figure shows; the title if empty.
    table : Table, optional
        Shown last.

    Raises
    ------
    ValueError
        If a row of the table has another number of cells than the header.
    """

    title: str
    text: str = ""
    figure: Figure | None = None
    caption: str = ""
    table: Table | None = None

    def __post_init__(self) -> None:
        for number, row in enumerate(self.table.rows if self.table else ()):
            if self.table and len(row) != len(self.table.header):
                raise ValueError(
                    f"row {number} of the table in {self.title!r} has {len(row)} cells; "
                    f"expected {len(self.table.header)}, one for each column"
                )


def write_report(path: str | Path, title: str, sections: Iterable[Section]) -> None:
    """Write a self-contained report: figures inside, no scripts, light or dark as the reader's.

    Parameters
    ----------
    path : str or Path
        The HTML file; its folder must exist.
    title : str
        Heading of the page.
    sections : iterable of Section
        Its parts in order.
    """
    body = "\n".join(_section(section) for section in sections)
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n"
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )
    Path(path).write_text(page, encoding="utf-8")


def _section(section: Section) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>"]
    paragraphs = (p.strip() for p in section.text.split("\n\n"))
    parts += [f"<p>{escape(p)}</p>" for p in paragraphs if p]
    if section.figure is not None:
        parts.append(_figure(section.figure, section.caption or section.title))
    if section.table is not None:
        parts.append(_table(section.table))
    return "<section>\n" + "\n".join(parts) + "\n</section>"


def _figure(figure: Figure, caption: str) -> str:
    data = b64encode(png(figure)).decode("ascii")
    text = escape(caption)
    return (
        f'<figure><img alt="{text}" src="data:image/png;base64,{data}">'
        f"<figcaption>{text}</figcaption></figure>"
    )


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.header)
    rows = (
        "<tr>" + "".join(f"<td>{escape(_cell(cell))}</td>" for cell in row) + "</tr>"
        for row in table.rows
    )
    return (
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n'
        + "\n".join(rows)
        + "\n</tbody></table></div>"
    )


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
