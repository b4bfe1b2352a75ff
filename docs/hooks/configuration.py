"""The configuration reference, written from the schema of a campaign when the site is built."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from mkdocs.structure.files import File, Files

from uncv.config.schema import config_schema

PAGE = "configuration.md"
INTRODUCTION = """# Configuration

Every key of a campaign's YAML file, made from the schema when the site is built. A key that is not
given has its default; `uncv config template KIND` writes a file with all of them, and `uncv config
schema` the schema for your editor. Units are in the names. An unknown key is an error that names
the nearest one. [Campaigns](campaigns.md) says how to begin.
"""
HEADER = "| key | takes | default | what it is |\n|---|---|---|---|"
BOUNDS = {
    "exclusiveMinimum": "> {}",
    "minimum": "≥ {}",
    "exclusiveMaximum": "< {}",
    "maximum": "≤ {}",
    "minItems": "at least {} of them",
}
TYPES = {
    "string": "text",
    "number": "number",
    "integer": "whole number",
    "boolean": "`true`, `false`",
    "object": "keys and values",
    "null": "`null`",
}


class Place(NamedTuple):
    """A section of the file: where it stands, how deep, and what its schema says."""

    name: str
    level: int
    schema: dict[str, Any]


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Add the page."""
    files.append(File.generated(config, PAGE, content=configuration_page()))
    return files


def configuration_page() -> str:
    """Return the page in Markdown."""
    schema = config_schema()
    parts = [INTRODUCTION, *_section(Place("", 1, schema), schema["$defs"])]
    return "\n\n".join(parts) + "\n"


def _section(place: Place, definitions: dict[str, Any]) -> list[str]:
    """Return the text of a section, its table, and the sections within it."""
    rows, inner = [], []
    for name, given in place.schema.get("properties", {}).items():
        full = f"{place.name}.{name}" if place.name else name
        below = [Place(full, place.level + 1, found) for found in _references(given, definitions)]
        inner += below
        if place.name or not below:
            rows.append(_row(place, name, given, below))
    parts = [] if not place.name else [_heading(place), _description(place.schema)]
    if rows:
        title = "" if place.name else "## Top level\n\n"
        parts.append(title + "\n".join([HEADER, *rows]))
    for part in inner:
        parts += _section(part, definitions)
    return [part for part in parts if part]


def _heading(place: Place) -> str:
    kind = place.schema["properties"].get("kind", {}).get("const")
    said = f"`{place.name}`" + (f", kind `{kind}`" if kind else "")
    return "#" * place.level + " " + said


def _description(schema: dict[str, Any]) -> str:
    return str(schema.get("description", "")).strip()


def _references(given: dict[str, Any], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the schemas of the sections that a key may hold."""
    choices = [given, *given.get("anyOf", ()), *given.get("oneOf", ()), given.get("items", {})]
    names = [choice["$ref"].rpartition("/")[2] for choice in choices if "$ref" in choice]
    return [definitions[name] for name in names if "properties" in definitions[name]]


def _row(place: Place, name: str, given: dict[str, Any], below: list[Place]) -> str:
    if below:
        takes = "a list of sections, below" if "items" in given else "a section, below"
        said = given.get("description") or _description(below[0].schema).split("\n\n")[0]
    else:
        takes, said = _takes(given), given.get("description", "")
    default = "must be given" if name in place.schema.get("required", ()) else _default(given)
    cells = (f"`{name}`", takes, default, said)
    return "| " + " | ".join(cell.replace("\n", " ").replace("|", "\\|") for cell in cells) + " |"


def _default(given: dict[str, Any]) -> str:
    if "default" not in given:
        return "–"
    value = given["default"]
    shown = value if value and isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"`{shown}`"


def _takes(given: dict[str, Any]) -> str:
    """Return in words what values a key takes."""
    if "const" in given:
        return f"`{given['const']}`"
    if "enum" in given:
        return ", ".join(f"`{choice}`" for choice in given["enum"])
    if choices := given.get("anyOf") or given.get("oneOf"):
        return " or ".join(dict.fromkeys(_takes(choice) for choice in choices))
    if parts := given.get("prefixItems"):
        return f"list of {len(parts)}, each a {_takes(parts[0])}"
    bounds = [words.format(given[key]) for key, words in BOUNDS.items() if key in given]
    return " ".join([_type(given), *bounds])


def _type(given: dict[str, Any]) -> str:
    if given.get("type") != "array":
        return TYPES.get(given.get("type", ""), "value")
    return f"list of {_takes(given['items'])}" if "items" in given else "list"
