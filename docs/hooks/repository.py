"""Pages made of files outside docs/: examples, notebooks, CONTRIBUTING, CHANGELOG; links to them.

Nothing is copied: a page is made when the site is built, from the file as it stands.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
LANGUAGES = {".py": "python", ".dat": "plumed", ".yaml": "yaml"}
PROJECT = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")
INDEX = """# Examples

Each of these is a file in the folder `examples/` of the repository and is run by the tests; a page
shows the file as it stands. `UNCV_QUICK=1 python 01_linear_bias.py` runs one shortened.

| example | what it shows |
|---|---|
"""


class Example(NamedTuple):
    """A page of an example: its place in the site, its title, and its text."""

    page: str
    title: str
    text: str


def on_config(config: Any, **_: Any) -> Any:
    """Put the examples into the navigation, below their index."""
    pages = [{found.title: found.page} for found in examples()]
    for entry in config.nav:
        if "Examples" in entry:
            entry["Examples"] = ["examples/index.md", *pages]
    return config


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Add the pages."""
    found = examples()
    rows = [f"| [{e.title}]({Path(e.page).name}) | {_first_line(e)} |" for e in found]
    files.append(File.generated(config, "examples/index.md", content=INDEX + "\n".join(rows)))
    for example in found:
        files.append(File.generated(config, example.page, content=example.text))
    for name, page in PROJECT.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=linked(text, ROOT, page)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links that leave docs/ lead to the pages made of the files they name."""
    if page.file.generated_by:
        return markdown
    return linked(markdown, (ROOT / "docs" / page.file.src_uri).parent, page.file.src_uri)


def linked(markdown: str, folder: Path, page: str) -> str:
    """Replace links to files outside docs/ by those to their pages.

    Parameters
    ----------
    markdown : str
        The text of a page.
    folder : pathlib.Path
        Where its links begin.
    page : str
        The page's own place in the site.
    """

    def replaced(found: re.Match[str]) -> str:
        if re.match(r"[a-z]+:", found[1]):
            return found[0]
        target = (folder / found[1]).resolve()
        place = _place(target) if target.is_relative_to(ROOT) else None
        if place is None:
            return found[0]
        return f"]({'../' * page.count('/')}{place}{found[2] or ''})"

    return LINK.sub(replaced, markdown)


def _place(target: Path) -> str | None:
    """Return the page of a file of the repository, or None if it is none of ours."""
    relative = target.relative_to(ROOT).as_posix()
    if relative in PROJECT:
        return PROJECT[relative]
    if relative == "README.md":
        return "index.md"
    if relative in ("examples", "examples/notebooks", "examples/README.md"):
        return "examples/index.md"
    if target.parent in (EXAMPLES, EXAMPLES / "notebooks") and target.is_file():
        return f"examples/{target.stem}.md"
    return relative.removeprefix("docs/") if relative.startswith("docs/") else None


def examples() -> list[Example]:
    """Return the pages of scripts, of inputs and of notebooks, in this order."""
    files = [path for path in sorted(EXAMPLES.iterdir()) if path.suffix in LANGUAGES]
    notebooks = sorted((EXAMPLES / "notebooks").glob("*.ipynb"))
    return [_script(path) for path in files] + [_notebook(path) for path in notebooks]


def _first_line(example: Example) -> str:
    """Return the first sentence below the title of a page."""
    paragraphs = [part for part in example.text.split("\n\n")[1:] if part[:1] not in "#`* "]
    return paragraphs[0].replace("\n", " ").split(". ")[0].rstrip(".:") if paragraphs else ""


def _script(path: Path) -> Example:
    text = path.read_text(encoding="utf-8")
    said = ast.get_docstring(ast.parse(text)) if path.suffix == ".py" else _comment(text)
    page = f"# `{path.name}`\n\n{said or ''}\n\n"
    code = f"```{LANGUAGES[path.suffix]}\n{text.rstrip()}\n```\n"
    return Example(f"examples/{path.stem}.md", path.name, page + code)


def _comment(text: str) -> str:
    """Return the comment at the beginning of a file."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").removeprefix(" "))
    return "\n".join(lines)


def _notebook(path: Path) -> Example:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts = []
    for cell in cells:
        source = "".join(cell["source"]).strip()
        if source:
            code = cell["cell_type"] == "code"
            parts.append(f"```python\n{source}\n```" if code else source)
    title = parts[0].splitlines()[0].lstrip("# ") if parts else path.name
    text = "\n\n".join([*parts, f"The notebook is `examples/notebooks/{path.name}`."])
    return Example(f"examples/{path.stem}.md", title, text + "\n")
