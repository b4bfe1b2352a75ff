"""The JSON schema of a configuration, by which editors complete and check a YAML file."""

from __future__ import annotations

from typing import Any

from uncv.config import CampaignConfig

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def config_schema() -> dict[str, Any]:
    """Return the JSON schema of `CampaignConfig`, with descriptions and defaults.

    Where the keys of a section depend on its ``kind``, each kind has a schema of its own. A section
    without ``kind`` is of the default kind, so only the others require it.

    Examples
    --------
    >>> config_schema()["properties"]["seed"]["default"]
    0
    """
    schema = CampaignConfig.model_json_schema()
    for field in schema["properties"].values():
        names = [_name(choice) for choice in field.get("oneOf", ())]
        default = field.get("default", {}).get("kind") if names else None
        for section in (schema["$defs"][name] for name in names):
            _require_kind(section, default)
        field.pop("discriminator", None)
    return {
        "$schema": DRAFT,
        "title": "Configuration of a campaign of uncv",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def _name(choice: dict[str, Any]) -> str:
    return choice["$ref"].rpartition("/")[2]


def _require_kind(section: dict[str, Any], default: str | None) -> None:
    if section["properties"]["kind"].get("const") != default:
        section["required"] = ["kind", *section.get("required", ())]
