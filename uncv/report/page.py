"""A report as one HTML file that needs nothing beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from uncv.journal import replace_file
from uncv.plots_chart import Chart, Table
from uncv.plots_still import themed_svg
from uncv.report.bundle import packed_plotly
from uncv.report.live import live_json


class Card(NamedTuple):
    """A number to be seen first, with its name and a few words below it."""

    name: str
    value: str
    say: str = ""


class Notes(NamedTuple):
    """Sentences that a reader must not miss."""

    sentences: Sequence[str]


class Missing(NamedTuple):
    """Why a part is not there, and what it would need."""

    sentence: str


class Facts(NamedTuple):
    """Names and what they stand for, in words."""

    rows: Sequence[tuple[str, str]]


class Folded(NamedTuple):
    """A table, in words or numbers, that opens when asked for."""

    table: Table
    words: bool = False


Part = Chart | Table | Folded | Facts | Notes | Missing


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Parameters
    ----------
    title : str
        Heading.
    text : str
        Paragraphs, parted by blank lines; plain text.
    parts : sequence of Part
        Charts, tables, facts, notes, and what is missing. The charts with a slider share it.

    Raises
    ------
    ValueError
        If a row of a table has another number of cells than its header.
    """

    title: str
    text: str = ""
    parts: Sequence[Part] = ()

    def __post_init__(self) -> None:
        for table in self.tables:
            for number, row in enumerate(table.rows):
                if len(row) != len(table.header):
                    raise ValueError(
                        f"row {number} of the table in {self.title!r} has {len(row)} cells; "
                        f"expected {len(table.header)}, one for each column"
                    )

    @property
    def charts(self) -> list[Chart]:
        """Its figures."""
        return [part for part in self.parts if isinstance(part, Chart)]

    @property
    def tables(self) -> list[Table]:
        """Its tables, those of the figures included."""
        found: list[Table] = []
        for part in self.parts:
            if isinstance(part, Table):
                found.append(part)
            elif isinstance(part, (Folded, Chart)) and part.table is not None:
                found.append(part.table)
        return found


@dataclass(frozen=True)
class Page:
    """A report: what stands at its top, and its sections.

    Parameters
    ----------
    title : str
        Heading.
    lead : str
        A sentence below it.
    cards : sequence of Card
        The numbers to be seen first.
    sections : sequence of Section
        In their order.
    """

    title: str
    lead: str = ""
    cards: Sequence[Card] = ()
    sections: Sequence[Section] = ()


def write_report(path: str | Path, page: Page) -> None:
    """Write a self-contained report: nothing is fetched, and it is light or dark as its reader.

    Parameters
    ----------
    path : str or Path
        The HTML file; its folder must exist.
    page : Page
        The report.
    """
    text = page_html(page)
    replace_file(path, lambda part: part.write_text(text, encoding="utf-8"))


def page_html(page: Page) -> str:
    """Return a report as HTML."""
    drawn = any(section.charts for section in page.sections)
    scripts = f'<script type="text/plain" id="plotly">{packed_plotly()}</script>\n' if drawn else ""
    scripts += f"<script>\n{_source('page.js')}</script>\n" if drawn else ""
    title = escape(page.title)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{title}</title>\n<style>\n{_source('page.css')}</style>\n</head>\n<body>\n"
        f"<header>\n<h1>{title}</h1>\n{_lead(page)}{_cards(page.cards)}{_contents(page)}</header>\n"
        "<main>\n" + "\n".join(_section(s) for s in page.sections) + f"\n</main>\n{_footer(drawn)}"
        f"{scripts}</body>\n</html>\n"
    )


def _source(name: str) -> str:
    return (files("uncv.report") / name).read_text(encoding="utf-8")


def _lead(page: Page) -> str:
    return f'<p class="lead">{escape(page.lead)}</p>\n' if page.lead else ""


def _cards(cards: Sequence[Card]) -> str:
    if not cards:
        return ""
    made = (
        f"<div><dt>{escape(c.name)}</dt><dd>{escape(c.value)}"
        + (f'<span class="say">{escape(c.say)}</span>' if c.say else "")
        + "</dd></div>"
        for c in cards
    )
    return '<dl class="cards">\n' + "\n".join(made) + "\n</dl>\n"


def _contents(page: Page) -> str:
    links = (f'<li><a href="#{_key(s)}">{escape(s.title)}</a></li>' for s in page.sections)
    return f'<nav aria-label="Contents"><ul>{"".join(links)}</ul></nav>\n'


def _key(section: Section) -> str:
    return "".join(c if c.isalnum() else "-" for c in section.title.lower())


def _section(section: Section) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>"]
    paragraphs = (p.strip() for p in section.text.split("\n\n"))
    parts += [f"<p>{escape(p)}</p>" for p in paragraphs if p]
    sliders = [c for c in section.charts if len(c.slider) > 1]
    for part in section.parts:
        if sliders and part is sliders[0]:
            parts.append(_slider(sliders[0], _key(section)))
        parts.append(_part(part))
    return f'<section id="{_key(section)}">\n' + "\n".join(parts) + "\n</section>"


def _slider(chart: Chart, key: str) -> str:
    names, last = list(chart.slider), len(chart.slider) - 1
    return (
        f'<div class="slider" data-names="{escape(json.dumps(names))}">'
        f'<label for="slide-{key}">Round</label>'
        f'<input type="range" id="slide-{key}" min="0" max="{last}" step="1" value="{last}">'
        f'<output for="slide-{key}">{escape(names[-1])}</output></div>'
    )


def _part(part: Part) -> str:
    if isinstance(part, Chart):
        return _chart(part)
    if isinstance(part, Notes):
        said = "".join(f"<li>{escape(sentence)}</li>" for sentence in part.sentences)
        return f'<ul class="notes">{said}</ul>'
    if isinstance(part, Missing):
        return f'<p class="missing">{escape(part.sentence)}</p>'
    if isinstance(part, Facts):
        rows = (
            f'<tr><th scope="row">{escape(name)}</th><td>{escape(said)}</td></tr>'
            for name, said in part.rows
        )
        return (
            f'<div class="wide"><table class="words"><tbody>{"".join(rows)}</tbody></table></div>'
        )
    if isinstance(part, Folded):
        title = escape(part.table.title)
        return (
            f"<details><summary>{title}</summary>{_table(part.table, words=part.words)}</details>"
        )
    return _table(part)


def _chart(chart: Chart) -> str:
    caption = escape(chart.caption)
    numbers = "" if chart.table is None else _folded(chart.table)
    return (
        f'<figure class="chart" id="figure-{chart.name}">\n<h3>{escape(chart.title)}</h3>\n'
        f'<div class="still" role="img" aria-label="{caption}">{themed_svg(chart)}</div>\n'
        f'<div class="live" role="group" aria-label="{escape(chart.title)}: {caption}"></div>\n'
        f"<figcaption>{caption}</figcaption>\n{numbers}\n"
        f'<script type="application/json">{live_json(chart)}</script>\n</figure>'
    )


def _folded(table: Table, *, words: bool = False) -> str:
    summary = f"<summary>{escape(table.title)}</summary>"
    return f"<details>{summary}{_table(table, words=words)}</details>"


def _table(table: Table, *, words: bool = False) -> str:
    textual = [
        all(isinstance(cell, str) for cell in column) for column in zip(*table.rows, strict=True)
    ]
    kinds = [' class="text"' if told else "" for told in textual] or [""] * len(table.header)
    head = "".join(
        f'<th scope="col"{kind}>{escape(name)}</th>'
        for kind, name in zip(kinds, table.header, strict=True)
    )
    rows = (
        "<tr>"
        + "".join(
            f"<td{kind}>{escape(shown(cell))}</td>" for kind, cell in zip(kinds, row, strict=True)
        )
        + "</tr>"
        for row in table.rows
    )
    kind = ' class="words"' if words else ""
    return (
        f'<div class="wide"><table{kind}>\n<thead><tr>{head}</tr></thead>\n<tbody>\n'
        + "\n".join(rows)
        + "\n</tbody></table></div>"
    )


def _footer(drawn: bool) -> str:
    if not drawn:
        return ""
    return (
        "<footer>\n"
        '<p class="screen">Figures: drag to zoom, double-click to see all again, point to read '
        "values. With the keyboard: Tab to a figure, + and − zoom, arrows move, 0 shows all; Tab "
        "to a round slider, arrows choose the round.</p>\n"
        '<p class="unscripted">The figures stand still where scripts are off or still load; the '
        "numbers are in the tables.</p>\n"
        "<p>Interactive figures by plotly.js (MIT licence), carried in this file.</p>\n</footer>\n"
    )


def shown(value: object) -> str:
    """Return a cell as a reader sees it."""
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def tables_of(sections: Iterable[Section]) -> list[Table]:
    """Return the tables that have a name, in their order."""
    return [table for s in sections for table in s.tables if table.name]
