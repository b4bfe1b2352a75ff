"""The documentation site builds without a warning, is whole, and needs no network."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
import yaml

import uncv

pytest.importorskip("mkdocs", reason="the site needs mkdocs: pip install 'uncv[docs]'")
pytest.importorskip("mkdocstrings", reason="the reference needs it: pip install 'uncv[docs]'")

ROOT = Path(uncv.__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
OWN_EXAMPLES = ("index.md", "openmm.md", "training.md")
LOADS = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src"}


class Page(NamedTuple):
    """What a page of the site loads, links to, and can be linked to."""

    loads: list[str]
    links: list[str]
    anchors: set[str]
    text: str


class Reader(HTMLParser):
    """Collects it."""

    def __init__(self) -> None:
        super().__init__()
        self.page = Page([], [], set(), "")

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.page.anchors.update({given[key] for key in ("id", "name") if given.get(key)})
        if given.get(LOADS.get(tag, "")):
            self.page.loads.append(given[LOADS[tag]])
        if tag == "a" and given.get("href"):
            self.page.links.append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built site; a warning ends the build."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=540
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "WARNING" not in done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Page]:
    found = {}
    for path in sorted(site.rglob("*.html")):
        reader, text = Reader(), path.read_text(encoding="utf-8")
        reader.feed(text)
        found[path] = reader.page._replace(text=text)
    return found


@pytest.fixture(scope="module")
def reference(site) -> set[str]:
    """Names that have an entry in the Python reference: those of its inventory."""
    head, _, packed = (site / "objects.inv").read_bytes().partition(b"zlib.\n")
    assert head.startswith(b"# Sphinx inventory version 2")
    lines = zlib.decompress(packed).decode().splitlines()
    return {line.split(" py:")[0] for line in lines if " py:" in line}


class Loose(yaml.SafeLoader):
    """Reads mkdocs.yml, whose tags name Python objects, without making them."""


Loose.add_multi_constructor("", lambda loader, suffix, node: suffix)


def in_navigation(entries) -> set[str]:
    """Pages of the navigation of mkdocs.yml."""
    found: set[str] = set()
    for entry in entries:
        target = next(iter(entry.values())) if isinstance(entry, dict) else entry
        found |= in_navigation(target) if isinstance(target, list) else {target}
    return found


@pytest.mark.slow
def test_every_page_is_in_the_navigation(site):
    """Of the source by mkdocs.yml, and of the site by what a reader can click."""
    given = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loose)
    named = in_navigation(given["nav"])
    written_by_programs = {f"benchmarks/{path.name}" for path in (DOCS / "benchmarks").glob("*.md")}
    sources = {path.relative_to(DOCS).as_posix() for path in PAGES}
    assert sources - written_by_programs <= named
    menu = (site / "index.html").read_text(encoding="utf-8").partition("<article")[0]
    for source in sources:
        assert f'href="{source.removesuffix(".md")}.html"' in menu or source == "index.md", source


@pytest.mark.slow
def test_nothing_is_loaded_from_another_host(site, pages):
    """Neither by the pages nor by their style sheets; links for readers may lead outside."""
    for path, page in pages.items():
        for target in page.loads:
            assert not re.match(r"(?:[a-z]+:)?//", target), f"{path.name} loads {target}"
        for found in re.findall(r"""(?:url\(|@import|import\()\s*["']?(//|https?:)""", page.text):
            raise AssertionError(f"{path.name} loads from {found}")
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", sheet.read_text("utf-8"))


@pytest.mark.slow
def test_a_browser_opens_it_from_the_disk(site):
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium")
    asked, errors = [], []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        for name in ("index", "theory", "api/cv", "examples/index"):
            page.goto((site / f"{name}.html").as_uri())
            assert page.locator("article h1").is_visible()
        browser.close()
    assert not [url for url in asked if not url.startswith(("file:", "data:"))]
    assert not errors


@pytest.mark.slow
def test_every_link_leads_somewhere(site, pages):
    """Files and anchors, those of generated pages among them."""
    for path, page in pages.items():
        if path.name == "404.html":  # its links are those of a server
            continue
        for link in page.links + page.loads:
            if re.match(r"[a-z]+:", link):
                continue
            target, _, anchor = link.partition("#")
            where = (path.parent / target).resolve() if target else path
            assert where.exists(), f"{path.relative_to(site)} links to {link}"
            if anchor and where in pages and not anchor.startswith("__"):
                assert anchor in pages[where].anchors, f"{path.relative_to(site)}: {link}"


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in uncv.__all__ if name != "__version__"])
def test_every_public_name_has_an_entry_and_a_docstring(reference, name):
    value = getattr(uncv, name)
    assert (value.__doc__ or "").strip(), f"uncv.{name} has no docstring"
    if not isinstance(value, ModuleType):
        assert f"uncv.{name}" in reference
        return
    parts = getattr(value, "__all__", [f.__name__ for f in vars(value).values() if own(f, value)])
    missing = [part for part in parts if not known(reference, value, part)]
    assert not missing, f"uncv.{name}: {missing}"


def own(value, module: ModuleType) -> bool:
    """Whether it is a public function or class of this very module."""
    named = getattr(value, "__name__", "_")
    return getattr(value, "__module__", "") == module.__name__ and not named.startswith("_")


def known(reference: set[str], module: ModuleType, part: str) -> bool:
    """Whether a name has an entry: where it is offered, where it is defined, or at the top.

    Constants need none; what they are is said by those who take them.
    """
    value = getattr(module, part)
    if not callable(value):
        return True
    home = f"{getattr(value, '__module__', module.__name__)}.{part}"
    return bool({f"{module.__name__}.{part}", home, f"uncv.{part}"} & reference)


@pytest.mark.slow
def test_generated_pages_hold_every_command_and_every_key(site):
    from typer.main import get_command

    from uncv.cli import app
    from uncv.config.schema import config_schema

    commands = (site / "commands.html").read_text(encoding="utf-8")
    for name, command in get_command(app).commands.items():
        assert f'id="uncv-{name}"' in commands
        for parameter in command.params:
            flags = [opt for opt in parameter.opts if opt.startswith("--")]
            assert all(f"<code>{flag}" in commands for flag in flags if flag != "--help"), name
    configuration = (site / "configuration.html").read_text(encoding="utf-8")
    for definition in config_schema()["$defs"].values():
        for key in definition.get("properties", {}):
            assert f"<code>{key}</code>" in configuration, key


@pytest.mark.slow
def test_equations_are_drawn(site):
    """All of them, as pictures that say in words what they show."""
    text = (DOCS / "theory.md").read_text(encoding="utf-8")
    page = (site / "theory.html").read_text(encoding="utf-8")
    assert page.count('<svg class="math" role="img" aria-label=') >= text.count("$") // 4
    article = re.sub(r"<svg.*?</svg>", "", page.partition("<article")[2], flags=re.DOTALL)
    assert "\\(" not in article
    assert "$$" not in article


@pytest.mark.slow
def test_the_examples_are_pages(site):
    for path in (ROOT / "examples").glob("*.py"):
        text = (site / "examples" / f"{path.stem}.html").read_text(encoding="utf-8")
        assert path.name in text


@pytest.mark.slow
@pytest.mark.parametrize("page", OWN_EXAMPLES)
def test_python_blocks_run(tmp_path, monkeypatch, page):
    monkeypatch.chdir(tmp_path)
    text = (DOCS / page).read_text(encoding="utf-8")
    names: dict = {}
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)):
        quick = code.replace("steps=200, stride=10", "steps=20, stride=10")
        exec(compile(quick, f"docs/{page}, block {number}", "exec"), names)


def lines_of_commands() -> list[tuple[str, str]]:
    """Lines of code blocks that call uncv, without what a shell puts in."""
    found = []
    for path in [*PAGES, ROOT / "README.md"]:
        language = None  # of the block that the line is in
        for line in path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
            if line.startswith("```"):
                language = line.strip("`") if language is None else None
            elif language in ("", "bash", "console") and re.match(r"uncv [a-z-]+(?: |$)", line):
                found.append((path.name, re.sub(r"\$\(.*?\)", "", line)))
    return sorted(set(found))


@pytest.mark.parametrize(("page", "line"), lines_of_commands())
def test_command_lines_name_commands_and_options_that_exist(page, line):
    from typer.main import get_command

    from uncv.cli import app

    command, words = get_command(app), line.split("#")[0].split("&&")[0].split()[1:]
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    given = {word.split("=")[0] for word in words if re.match(r"--[a-z]", word)}
    assert given <= options | {"--help"}, line


def test_the_configuration_of_the_tutorial_is_that_of_the_template():
    from uncv.config import parse_config
    from uncv.config.template import template

    text = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    assert parse_config(shown) == parse_config(template("quick"))


def test_the_python_block_of_the_tutorial_runs(tmp_path, monkeypatch, capsys):
    """With ANI-1x in place of the campaign's model."""
    (tmp_path / "quick_run").mkdir()
    cv = uncv.UncertaintyCV(uncv.load_potential("ani1x"), uncv.EnsembleUncertainty("energy"))
    cv.save(tmp_path / "quick_run" / "final.uncv")
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    exec(compile(code, "docs/tutorial.md", "exec"), {})
    assert "16 frames, reweightable: True" in capsys.readouterr().out


def test_every_result_of_a_benchmark_is_told_of():
    text = (DOCS / "benchmarks" / "index.md").read_text(encoding="utf-8")
    for path in (DOCS / "benchmarks").iterdir():
        page = path.with_suffix(".md").exists()  # which the navigation shows by itself
        if path.suffix in (".json", ".txt") and not page:
            assert f"({path.name})" in text, f"docs/benchmarks/index.md does not name {path.name}"
    for program in re.findall(r"`(?:python benchmarks/)?(\w+\.py)", text):
        assert (ROOT / "benchmarks" / program).exists(), program


FIGURES = [
    ("step_cost.json", ("figures", "biased / unbiased"), 2, "a ratio of {} with two"),
    ("step_cost.json", ("figures", "TorchANI / biased"), 1, "{} times as quick"),
    ("step_cost.json", ("figures", "8 x one walker / 8 walkers"), 1, "{} times less"),
    ("training_epoch.json", ("ratio_cached_jacobian",), 1, "{} to 5.4 times"),
    ("training_epoch.json", ("ratio_pull_back",), 1, "5.1 to {} times"),
    ("reference_coverage.json", ("300 K",), 2, "covers {} at 300 K"),
    ("reference_coverage.json", ("1200 K",), 2, "{} at 1200 K"),
    ("free_energy.json", ("change",), 2, "by −{} ± 0.87"),
    ("uncertainty_fit.json", ("fits", "posterior, last layer", "seconds"), 1, "{} s (posterior)"),
    ("uncertainty_fit.json", ("fits", "GMM, last layer, all axes", "seconds"), 1, "{} s (mixture"),
]


@pytest.mark.parametrize(("name", "keys", "digits", "words"), FIGURES)
def test_figures_of_the_benchmark_page_are_those_of_the_files(name, keys, digits, words):
    text = (DOCS / "benchmarks" / "index.md").read_text(encoding="utf-8")
    value = json.loads((DOCS / "benchmarks" / name).read_text(encoding="utf-8"))
    for key in keys:
        value = value[key]
    assert words.format(f"{abs(value):.{digits}f}") in text
