"""A report in a real browser: alone, drawn, moved by keys, dark, on paper, quick and small."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import reported

from uncv.report import report_campaign

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
                None)  # fmt: skip
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update",
         "--disable-sync"]  # fmt: skip
READY = "document.documentElement.dataset.figures === 'ready'"
# Shapes that each figure has drawn: paths of lines, points and bars, or the image of a map.
DRAWN = """figure => figure.querySelectorAll(
  '.live .scatterlayer path[d], .live .barlayer path[d], .live .heatmaplayer image').length"""
MOST_SECONDS = 60.0 * 1000  # a busy machine may take long to draw; what is timed has its own bound


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """Ten rounds of a molecule."""
    return report_campaign(
        reported.ten_rounds(), tmp_path_factory.mktemp("report") / "page.html"
    ).report


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory) -> Path:
    """Where screenshots are kept: UNCV_ARTEFACTS, or a folder of this test run."""
    given = os.environ.get("UNCV_ARTEFACTS")
    folder = Path(given) if given else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Opened:
    """A page without a network, what it said, and how long it took to open."""

    def __init__(self, browser, path: Path, width: int = 1200, **options) -> None:
        self.context = browser.new_context(
            offline=True, viewport={"width": width, "height": 900}, **options
        )
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri(), wait_until="load")

    def drawn(self) -> Opened:
        self.page.wait_for_function(READY, timeout=MOST_SECONDS)
        return self

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_) -> None:
        self.context.close()


@pytest.fixture(scope="module")
def light(browser, report):
    with Opened(browser, report, color_scheme="light") as opened:
        yield opened.drawn()


def test_it_opens_in_two_seconds_and_is_small(browser, report):
    """The time in which this process and the browser together have the whole page on the screen."""
    assert report.stat().st_size < 5e6
    took = []
    for _ in range(3):  # the least of three: others use this machine too
        with Opened(browser, report) as opened:
            timing = opened.page.evaluate(
                "() => { const n = performance.getEntriesByType('navigation')[0];"
                " return n.loadEventEnd - n.startTime; }"
            )
            pictures = opened.page.evaluate(
                "[...document.querySelectorAll('figure svg')]"
                ".filter(s => s.clientHeight > 50).length"
            )
            figures = opened.page.locator("figure").count()
            assert pictures >= figures > 8
            took.append(timing / 1000)
    assert min(took) < 2.0, took


def test_every_figure_is_drawn_without_a_network_or_a_complaint(light, artefacts):
    page = light.page
    marks = page.eval_on_selector_all("figure", f"all => all.map({DRAWN})")
    assert len(marks) > 8
    assert min(marks) > 0, marks
    hidden = page.eval_on_selector_all(
        "figure .still", "all => all.filter(e => e.offsetParent !== null).length"
    )
    assert hidden == 0
    assert light.said == []
    assert [a for a in light.asked if not a.startswith(("file:", "data:", "blob:"))] == []
    page.screenshot(path=artefacts / "light.png", full_page=True)


def test_the_slider_moves_by_keys_and_changes_the_map(light):
    page = light.page
    values = "document.querySelector('#figure-map .plot').data[0].z.flat().filter(v => v !== null)"

    def cells() -> int:
        return page.evaluate(f"{values}.length")

    slider = page.locator("#where-the-walkers-went input[type=range]")
    slider.focus()
    before = page.evaluate(f"{values}.reduce((a, b) => a + 10 ** b, 0)")
    page.keyboard.press("Home")
    page.wait_for_function("document.querySelector('#figure-map').dataset.shown === 'round 1'")
    first = page.evaluate(f"{values}.reduce((a, b) => a + 10 ** b, 0)")
    assert 0 < first < before
    assert slider.get_attribute("aria-valuetext") == "round 1"
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('#figure-map').dataset.shown === 'round 2'")
    assert cells() > 0
    walkers = page.locator("#figure-walkers")
    assert walkers.get_attribute("data-shown") == "round 2"  # the sliders go together
    page.keyboard.press("End")
    page.wait_for_function("document.querySelector('#figure-map').dataset.shown === 'round 10'")
    assert light.said == []


def test_figures_are_zoomed_and_moved_by_keys(light):
    page = light.page
    place = "document.querySelector('#figure-uncertainty .plot')._fullLayout.xaxis.range"
    page.locator("#figure-uncertainty .live").focus()
    low, high = page.evaluate(place)
    page.keyboard.press("+")
    page.wait_for_function(f"{place}[0] > {low}")
    one, two = page.evaluate(place)
    assert low < one < two < high
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"{place}[0] > {one}")
    page.keyboard.press("0")
    page.wait_for_function(f"Math.abs({place}[0] - {low}) < 1e-6")


def test_values_are_shown_where_one_points(light):
    page = light.page
    page.locator("#figure-errors").scroll_into_view_if_needed()
    point = page.locator("#figure-errors .plot .scatterlayer .points path").first.bounding_box()
    page.mouse.move(point["x"] + point["width"] / 2, point["y"] + point["height"] / 2)
    page.wait_for_selector("#figure-errors .hoverlayer .hovertext")


def test_dark_changes_colours_while_it_is_open(light, artefacts):
    ink = "getComputedStyle(document.querySelector('#figure-errors .xtick text')).fill"
    paper = "getComputedStyle(document.body).backgroundColor"
    page = light.page
    before = page.evaluate(f"[{ink}, {paper}]")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"{ink} !== '{before[0]}'")
    after = page.evaluate(f"[{ink}, {paper}]")
    assert contrast(*before) > 7
    assert contrast(*after) > 7
    assert luminance(after[1]) < 0.05 < 0.9 < luminance(before[1])
    page.screenshot(path=artefacts / "dark.png", full_page=True)
    page.emulate_media(color_scheme="light")
    page.wait_for_function(f"{ink} === '{before[0]}'")
    assert light.said == []


def test_a_narrow_page_does_not_scroll_sideways(light, artefacts):
    page = light.page
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function(
        "[...document.querySelectorAll('.plot .main-svg')].every(s => s.clientWidth <= 390)"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.screenshot(path=artefacts / "narrow.png", full_page=True)
    page.set_viewport_size({"width": 1200, "height": 900})


def test_paper_has_still_figures_and_no_controls(light, artefacts, tmp_path):
    page = light.page
    page.emulate_media(media="print")
    count = "all => all.filter(e => e.offsetParent !== null).length"
    figures = page.locator("figure").count()
    assert page.eval_on_selector_all("figure .still", count) == figures
    for controls in ("figure .live", ".slider", "nav", "summary"):
        assert page.eval_on_selector_all(controls, count) == 0, controls
    assert page.evaluate(
        "[...document.querySelectorAll('figure')].every("
        "f => getComputedStyle(f).breakInside === 'avoid')"
    )
    page.screenshot(path=artefacts / "print.png", full_page=True)
    content = page.pdf(path=artefacts / "print.pdf", format="A4")
    assert content.startswith(b"%PDF")
    page.emulate_media(media="screen")


def test_without_scripts_the_figures_stand_still(browser, report):
    with Opened(browser, report, java_script_enabled=False) as opened:
        page = opened.page
        assert page.locator("figure .still svg").first.is_visible()
        assert not page.locator(".slider").first.is_visible()
        assert page.locator(".unscripted").is_visible()


def test_a_crystal_draws_every_figure_too(browser, tmp_path, artefacts):
    path = report_campaign(reported.crystal(), tmp_path / "page.html").report
    with Opened(browser, path) as opened:
        page = opened.drawn().page
        marks = page.eval_on_selector_all("figure", f"all => all.map({DRAWN})")
        assert min(marks) > 0, marks
        assert page.locator("#figure-histogram").count() == 1
        assert opened.said == []
        page.screenshot(path=artefacts / "crystal.png", full_page=True)


def luminance(colour: str) -> float:
    """Relative luminance of an rgb(…) (WCAG 2.2)."""
    parts = [int(p) / 255 for p in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, two: str) -> float:
    """Contrast of two colours (WCAG 2.2)."""
    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_of_black_and_white():
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21.0)
