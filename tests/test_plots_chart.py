"""Charts: what they refuse, and that paper and screen show the same numbers."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from uncv.plots_chart import (
    Axis,
    Band,
    Bars,
    Chart,
    Dots,
    Heat,
    Line,
    Panel,
    thinned,
)
from uncv.plots_still import save_chart, still, themed_svg
from uncv.plots_still_marks import PALETTE
from uncv.report.live import live_json

X = [1.0, 2.0, 4.0]


def every_mark(slider: bool = False) -> Chart:
    marks = [
        Band("spread", X, [0.5, 0.6, 0.7], [2.0, 2.1, 2.2]),
        Line("mean", X, [1.0, 1.5, 2.0], [0.9, 1.4, 1.9], [1.2, 1.6, 2.3], colour=1),
        Dots("chosen", X, [1.0, 1.2, np.nan], 2, "x", ["one", "two", "<three>"]),
    ]
    bars = [Bars("train", X, [1.0, 2.0, 3.0]), Bars("label", X, [4.0, 5.0, 6.0], 1)]
    panels = [
        Panel(Axis("step"), Axis("u (eV)", log=True), marks, "series"),
        Panel(Axis("round", whole=True), Axis("time (s)"), bars, "bars"),
    ]
    names = ("round 1", "round 2") if slider else ()
    return Chart("all", "All", "Every kind of mark", panels, slider=names)


def heat() -> Chart:
    edges, values = [0.0, 1.0, 2.0], [[1.0, np.nan], [3.0, 4.0]]
    marks = [Heat("frames", edges, edges, values, 4.0), Dots("chosen", [0.5], [1.5])]
    limits = Axis("φ", limits=(0.0, 2.0), ticks=(0.0, 1.0, 2.0))
    return Chart("map", "Map", "A map", [Panel(limits, limits, marks, square=True)])


def drawn(chart: Chart) -> dict:
    return json.loads(live_json(chart))


def test_paper_shows_the_numbers():
    series, bars = still(every_mark()).axes
    mean = next(line for line in series.lines if line.get_color() == PALETTE[1])
    np.testing.assert_array_equal(mean.get_xydata(), np.stack([X, [1.0, 1.5, 2.0]], axis=1))
    assert series.get_yscale() == "log"
    assert (series.get_title(), series.get_xlabel(), series.get_ylabel()) == (
        "series", "step", "u (eV)")  # fmt: skip
    words = [t.get_text() for t in series.get_legend().get_texts()]
    assert sorted(words) == ["chosen", "mean", "spread"]
    ends = sorted(tuple(path.vertices[:, 1]) for c in series.containers
                  for path in c[2][0].get_paths())  # fmt: skip
    np.testing.assert_allclose(ends, [(0.9, 1.2), (1.4, 1.6), (1.9, 2.3)])
    below, above = bars.containers
    assert [b.get_height() for b in below] == [1.0, 2.0, 3.0]
    assert [(b.get_y(), b.get_height()) for b in above] == [(1.0, 4.0), (2.0, 5.0), (3.0, 6.0)]


def test_screen_shows_the_same_numbers():
    series, bars = drawn(every_mark())["panels"]
    low, high, mean, dots = series["data"]
    assert (low["y"], high["y"]) == ([0.5, 0.6, 0.7], [2.0, 2.1, 2.2])
    assert high["fill"] == "tonexty"
    assert (mean["x"], mean["y"]) == ([1, 2, 4], [1, 1.5, 2])
    np.testing.assert_allclose(mean["error_y"]["array"], [0.2, 0.1, 0.3])
    np.testing.assert_allclose(mean["error_y"]["arrayminus"], [0.1, 0.1, 0.1])
    assert dots["y"] == [1, 1.2, None]
    assert dots["text"] == ["one", "two", "<three>"]
    assert series["layout"]["yaxis"]["type"] == "log"
    assert bars["layout"]["barmode"] == "stack"
    assert [t["y"] for t in bars["data"]] == [[1, 2, 3], [4, 5, 6]]


def test_a_map_has_its_first_axis_to_the_right():
    axis, bar = still(heat()).axes
    image = axis.get_images()[0]
    np.testing.assert_array_equal(image.get_array().filled(-1.0), [[1.0, 3.0], [-1.0, 4.0]])
    assert image.get_extent() == [0.0, 2.0, 0.0, 2.0]
    assert bar.get_ylabel() == "frames"
    trace = drawn(heat())["panels"][0]["data"][0]
    assert trace["z"] == [[1, 3], [None, 4]]
    assert (trace["zmin"], trace["zmax"]) == (0, 4)


def test_a_slider_shows_one_panel_at_a_time_and_paper_all():
    assert drawn(every_mark(slider=True))["slider"] == ["round 1", "round 2"]
    axes = still(every_mark(slider=True)).axes
    assert [a.get_title() for a in axes] == ["round 1", "round 2"]


@pytest.mark.parametrize("chart", [every_mark(), every_mark(slider=True), heat()])
def test_a_picture_takes_its_colours_from_the_page(chart):
    text = themed_svg(chart)
    assert text.startswith("<svg")
    assert text.endswith("</svg>")
    assert not [c for c in PALETTE if c in text]
    assert "var(--c0)" in text or chart.name == "map"
    assert "var(--text)" in text
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    assert all(i.startswith(f"{chart.name}-") for i in ids)
    used = re.findall(r'url\(#([^)]*)\)|href="#([^"]*)"', text)
    assert {a or b for a, b in used} <= set(ids)
    assert themed_svg(chart) == text


def test_files(tmp_path):
    png, svg = save_chart(every_mark(), tmp_path)
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in svg.read_text(encoding="utf-8")
    assert (png.name, svg.name) == ("all.png", "all.svg")


def test_colours_stand_out_from_white():
    """WCAG 2.2, 1.4.11: graphics need a contrast of 3."""

    def luminance(colour: str) -> float:
        parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    assert all(1.05 / (luminance(c) + 0.05) >= 3.0 for c in PALETTE)


def test_text_cannot_end_the_script():
    panel = Panel(Axis("</script>"), Axis("y"), [Line("a", [1], [1])])
    text = live_json(Chart("x", "x", "x", [panel]))
    assert "</" not in text
    assert json.loads(text)["panels"][0]["layout"]["xaxis"]["title"]["text"] == "</script>"


def test_charts_that_cannot_be():
    with pytest.raises(ValueError, match="'x' has no panel; give at least one"):
        Chart("x", "x", "x", [])
    panel = Panel(Axis("x"), Axis("y"), [])
    with pytest.raises(ValueError, match="slider of 'x' has 2 entries for 1 panels"):
        Chart("x", "x", "x", [panel], slider=["a", "b"])


@pytest.mark.parametrize(("count", "chosen"), [(0, 0), (3, 3), (1500, 1500), (5000, 1500)])
def test_thinned_points_are_spread_over_all(count, chosen):
    found = thinned(count, 1500)
    assert len(found) == chosen
    if count:
        assert (found[0], found[-1]) == (0, count - 1)
        assert np.ptp(np.diff(found)) <= 1
