"""The pages that benchmarks have written into docs/benchmarks, in the navigation by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
INDEX = "benchmarks/index.md"


def on_config(config: Any, **_: Any) -> Any:
    """List them below their index, by their own titles."""
    paths = [path for path in sorted(FOLDER.glob("*.md")) if path.name != "index.md"]
    pages = [{_title(path): f"benchmarks/{path.name}"} for path in paths]
    for entry in config.nav:
        if entry.get("Benchmarks") == INDEX:
            entry["Benchmarks"] = [INDEX, *pages]
    return config


def _title(path: Path) -> str:
    """Return the heading of a page up to its colon."""
    first = path.read_text(encoding="utf-8").splitlines()[0]
    return first.removeprefix("# ").split(":")[0]
