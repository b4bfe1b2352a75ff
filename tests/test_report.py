"""A report stands alone: figures inside, text escaped, nothing fetched."""

from __future__ import annotations

import re
from base64 import b64decode
from html.parser import HTMLParser

import pytest

from uncv.plots import coverage_curve, png
from uncv.report import Section, Table, write_report


class Page(HTMLParser):
    """Tags that are still open, sources of images, and words."""

    VOID = ("meta", "img")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.sources += [v for k, v in values.items() if k in ("src", "href")]
        if tag == "img":
            self.words.append(values["alt"])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def page(tmp_path):
    figure = coverage_curve({"a": ([1, 2], [0.1, 0.2])})
    sections = [
        Section("Coverage <b>", "First & last.\n\nSecond.", figure, "Coverage grows"),
        Section("Numbers", table=Table(["run", "coverage"], [["a<b", 0.123456], ["c", None]])),
    ]
    write_report(tmp_path / "report.html", "Run of “ala2” & more", sections)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    return text, Page(text), figure


def test_page_is_well_formed(page):
    text, parsed, _ = page
    assert text.startswith("<!DOCTYPE html>")
    assert parsed.open == []
    assert 'charset="utf-8"' in text


def test_figure_is_inside(page):
    _, parsed, figure = page
    (source,) = parsed.sources
    assert b64decode(source.removeprefix("data:image/png;base64,")) == png(figure)
    assert "Coverage grows" in parsed.words


def test_nothing_is_fetched(page):
    text, _, _ = page
    assert not re.search(r"https?://|<script|@import|<link", text)


def test_text_is_escaped(page):
    _, parsed, _ = page
    for words in ("Coverage <b>", "First & last.", "Second.", "a<b", "0.1235", "–"):
        assert words in parsed.words


def test_reads_in_the_dark(page):
    text, _, _ = page
    assert "prefers-color-scheme: dark" in text
    assert re.search(r"img \{[^}]*background: #ffffff", text)


def test_ragged_table():
    with pytest.raises(ValueError, match="row 1 of the table in 'T' has 1 cells; expected 2"):
        Section("T", table=Table(["a", "b"], [[1, 2], [3]]))
