"""A report stands alone: figures inside, text escaped, nothing fetched."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64decode
from html.parser import HTMLParser

import pytest

from uncv.plots_chart import Axis, Chart, Line, Panel
from uncv.report import Card, Facts, Folded, Missing, Notes, Page, Section, Table, write_report
from uncv.report.bundle import packed_plotly
from uncv.report.page import page_html, shown


class Read(HTMLParser):
    """Tags that are still open, identifiers, addresses, and words outside scripts and styles."""

    VOID = ("meta", "img", "link", "input", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.labels: list[str] = []
        self.words: list[str] = []
        self.headings: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids += [v for k, v in values.items() if k == "id"]
        self.addresses += [v for k, v in values.items() if k in ("src", "href", "xlink:href")]
        self.labels += [v for k, v in values.items() if k == "aria-label"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("script", "style"):
            return
        self.words.append(data)
        if self.open and re.fullmatch("h[123]", self.open[-1]):
            self.headings.append(data)


def chart(name: str = "growth", slider: tuple[str, ...] = ()) -> Chart:
    panels = [
        Panel(Axis("labels"), Axis("coverage"), [Line("a", [1, 2], [0.1, 0.2 * n])])
        for n in range(1, 1 + max(1, len(slider)))
    ]
    table = Table(["labels", "coverage"], [[1, 0.1], [2, 0.2]], name)
    return Chart(name, "Growth", "Coverage <grows>", panels, table, slider)


@pytest.fixture(scope="module")
def page():
    sections = [
        Section("Coverage <b>", "First & last.\n\nSecond.", [chart()]),
        Section("Rounds", parts=[chart("by_round", ("round 1", "round 2"))]),
        Section(
            "Numbers",
            parts=[
                Table(["run", "coverage"], [["a<b", 0.123456], ["c", None]]),
                Folded(Table(["event"], [["begun </script>"]], "events", "All events")),
                Facts([("seed", "0")]),
                Notes(["Not reweightable: <why>."]),
                Missing("No label has failed."),
            ],
        ),
    ]
    cards = [Card("labels", "160", "of 160")]
    text = page_html(Page("Run of “ala2” & more", "Finished.", cards, sections))
    return text, Read(text)


def test_page_is_well_formed(page):
    text, read = page
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert read.open == []
    assert len(read.ids) == len(set(read.ids))
    assert read.headings[:2] == ["Run of “ala2” & more", "Coverage <b>"]


def test_nothing_is_fetched(page):
    """Addresses are data, or places on the page; none of them leads out."""
    text, read = page
    assert read.addresses
    assert all(re.match(r"data:|#", a) for a in read.addresses)
    assert not re.search(r"@import|url\((?!#)", text)
    assert {a[1:] for a in read.addresses if a.startswith("#")} <= set(read.ids)


def test_text_is_escaped(page):
    _, read = page
    expected = ("Coverage <b>", "First & last.", "Second.", "a<b", "0.1235", "–",
                "begun </script>", "Not reweightable: <why>.", "No label has failed.",
                "All events", "160", "of 160", "Finished.")  # fmt: skip
    for words in expected:
        assert words in read.words


def test_each_figure_has_words_numbers_and_a_still_picture(page):
    text, read = page
    assert text.count("<figure") == text.count("<svg") == 2
    assert read.labels.count("Coverage <grows>") == 2
    assert read.words.count("Coverage <grows>") == 2
    assert read.words.count("Numbers") == 4  # a heading, its entry in the contents, two tables
    found = re.findall(r'<script type="application/json">(.*?)</script>', text, flags=re.DOTALL)
    assert [json.loads(f)["name"] for f in found] == ["growth", "by_round"]
    assert text.count('type="range"') == 1


def test_the_library_of_the_figures_is_inside_and_unchanged(page):
    from plotly.offline import get_plotlyjs

    text, _ = page
    assert packed_plotly() in text
    assert gzip.decompress(b64decode(packed_plotly())).decode() == get_plotlyjs()


def test_a_page_without_figures_has_no_scripts():
    text = page_html(Page("Nothing", sections=[Section("Empty", parts=[Missing("No frame yet.")])]))
    assert "<script" not in text
    assert Read(text).open == []


def test_writing_replaces_a_page_whole(tmp_path):
    path = tmp_path / "report.html"
    for title in ("one", "two"):
        write_report(path, Page(title))
    assert "<title>two</title>" in path.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [path]


def test_ragged_table():
    with pytest.raises(ValueError, match="row 1 of the table in 'T' has 1 cells; expected 2"):
        Section("T", parts=[Table(["a", "b"], [[1, 2], [3]])])


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "–"), (float("nan"), "–"), (0.123456, "0.1235"), (12, "12"), ("a", "a")],
)
def test_cells(value, words):
    assert shown(value) == words
