"""Configurations to begin with: YAML with every key, its description, unit and default."""

from __future__ import annotations

import textwrap
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from uncv.config import CampaignConfig, make_config
from uncv.config.template_kinds import TEMPLATES
from uncv.errors import ConfigError

WIDTH = 96
_UNITS = {
    "_ev_per_angstrom": "eV/Å",
    "_angstrom3": "Å³",
    "_angstrom": "Å",
    "_per_ps": "1/ps",
    "_hartree": "Hartree",
    "_gpa": "GPa",
    "_amu": "amu",
    "_ev": "eV",
    "_fs": "fs",
    "_ps": "ps",
    "_k": "K",
    "_s": "s",
}
_HEAD = """\
# yaml-language-server: $schema=uncv.schema.json
# (by that line editors complete this file; make it by: uncv config schema > uncv.schema.json)
#
# {title}
#
# Lines that begin with '#' and a blank are comments. A key behind '#' without a blank has its
# default: take the '#' away, that of its section too, to change it. null stands for none.
"""


def template(kind: str) -> str:
    """Return a configuration of a kind as YAML with comments.

    Parameters
    ----------
    kind : str
        One of `template_kinds`.

    Raises
    ------
    ConfigError
        If there is no such kind.

    Examples
    --------
    >>> template("quick").splitlines()[0]
    '# yaml-language-server: $schema=uncv.schema.json'
    """
    if kind not in TEMPLATES:
        known = ", ".join(TEMPLATES)
        raise ConfigError(f"there is no template {kind!r}; expected one of {known}")
    title, values = TEMPLATES[kind]
    config = make_config(values, f"the template {kind}")
    lines = _HEAD.format(title="\n# ".join(textwrap.wrap(title, WIDTH))).splitlines()
    for name, field in CampaignConfig.model_fields.items():
        lines += ["", *_top(name, field, getattr(config, name), values.get(name))]
    return "\n".join(lines) + "\n"


def template_kinds() -> dict[str, str]:
    """Return the kinds of templates, and what each is for."""
    return {kind: title for kind, (title, _) in TEMPLATES.items()}


def _top(name: str, field: FieldInfo, value: Any, given: Any) -> list[str]:
    """Return the lines of a key at the top level: a section, or a value."""
    if not isinstance(value, BaseModel):
        return _key(name, field, value, active=given is not None, indent="")
    return _section(name, field, value, given, "")


def _section(name: str, field: FieldInfo, value: BaseModel, given: Any, indent: str) -> list[str]:
    hash_ = "" if given else "#"
    lines = [*_prose(_first_paragraph(type(value)), indent), f"{indent}{hash_}{name}:"]
    fields = dict(type(value).model_fields)
    sections = _sections(field.annotation)
    if len(sections) > 1:
        kinds = [str(section.model_fields["kind"].default) for section in sections]
        fields = {"kind": _which(fields.pop("kind"), kinds), **fields}
    deeper = f"{indent}  "
    for key, inner in fields.items():
        at = getattr(value, key)
        if isinstance(at, BaseModel) and not _optional(inner):
            lines += _section(key, inner, at, (given or {}).get(key), deeper)
        else:
            lines += _key(key, inner, at, active=given is not None and key in given, indent=deeper)
    return lines


def _optional(field: FieldInfo) -> bool:
    return type(None) in get_args(field.annotation)


def _key(name: str, field: FieldInfo, value: Any, *, active: bool, indent: str) -> list[str]:
    hash_ = "" if active else "#"
    line = f"{indent}{hash_}{name}: {_in_yaml(value)}"
    comment = _comment(name, field)
    if not comment:
        return [line]
    if len(line) + len(comment) + 4 <= WIDTH:
        return [f"{line}  # {comment}"]
    return [*_prose(comment, indent), line]


def _comment(name: str, field: FieldInfo) -> str:
    unit = next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")
    choices = _choices(field.annotation)
    rules = _sections(field.annotation)
    parts = [
        _keys_of(rules[0]) if len(rules) == 1 else "",
        field.description or "",
        f"in {unit}" if unit else "",
        f"one of {', '.join(choices)}" if len(choices) > 1 else "",
        "must be given" if field.is_required() else "",
    ]
    return "; ".join(part for part in parts if part)


def _choices(annotation: Any) -> list[str]:
    """Return the values of a Literal, wherever it stands in an annotation."""
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    return [choice for inner in get_args(annotation) for choice in _choices(inner)]


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """Return the alternatives of a section whose keys depend on its kind; none of another."""
    inner = get_args(annotation)
    if not inner and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for choice in inner for section in _sections(choice)]


def _keys_of(section: type[BaseModel]) -> str:
    """Return what an optional section is, and its keys with their defaults."""
    fields = section.model_fields.items()
    keys = [
        f"{name} (must be given)" if field.is_required() else f"{name} ({_in_yaml(field.default)})"
        for name, field in fields
    ]
    return f"{_first_paragraph(section)} Keys: {', '.join(keys)}"


def _which(field: FieldInfo, kinds: list[str]) -> FieldInfo:
    """Return the field of a kind, said which others there are."""
    text = f"decides which keys there are: one of {', '.join(kinds)}"
    return FieldInfo(annotation=str, default=field.default, description=text)


def _prose(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def _first_paragraph(section: type[BaseModel]) -> str:
    return " ".join((section.__doc__ or "").split("\n\n")[0].split())


def _in_yaml(value: Any) -> str:
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else _plain(value)
    text = yaml.safe_dump(
        plain, default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False
    )
    return text.removesuffix("...\n").strip()


def _plain(value: Any) -> Any:
    return [_plain(inner) for inner in value] if isinstance(value, tuple) else value
