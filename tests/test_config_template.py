"""Templates of configurations, and the schema by which editors complete them."""

from __future__ import annotations

import re

import pytest
import yaml

from uncv.config import CampaignConfig, dump_config, load_config, make_config, parse_config
from uncv.config.schema import DRAFT, config_schema
from uncv.config.template import template, template_kinds
from uncv.config.template_kinds import TEMPLATES
from uncv.errors import ConfigError

KINDS = tuple(template_kinds())
PROSE = re.compile(r"\s*# ")
HIDDEN = re.compile(r"\s*#\S")


def keys_of(text: str) -> dict:
    """All keys, those with a '#' before them too, as a nested dictionary."""
    lines = [line for line in text.splitlines() if line != "#" and not PROSE.match(line)]
    return yaml.safe_load("\n".join(line.replace("#", "", 1) if HIDDEN.match(line) else line
                                    for line in lines))  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_is_a_configuration_that_sets_what_it_says(kind, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(template(kind), encoding="utf-8")
    assert load_config(path) == make_config(TEMPLATES[kind].values)
    assert TEMPLATES[kind].title[:60] in template(kind).replace("\n# ", " ")


@pytest.mark.parametrize("kind", KINDS)
def test_behind_the_hash_stands_the_default(kind):
    """Taking every '#' away from the keys changes nothing."""
    assert make_config(keys_of(template(kind))) == make_config(TEMPLATES[kind].values)


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_is_there(kind):
    values = yaml.safe_load(dump_config(make_config(TEMPLATES[kind].values)))
    shown = keys_of(template(kind))
    assert shown.keys() == values.keys()
    for section, keys in values.items():
        if isinstance(keys, dict):
            assert shown[section].keys() == keys.keys(), section


@pytest.mark.parametrize("kind", KINDS)
def test_lines_are_short_and_keys_with_a_unit_name_it(kind):
    lines = template(kind).splitlines()
    assert max(map(len, lines)) <= 100
    units = {"temperature_k": "in K", "timestep_fs": "in fs", "max_force_ev_per_angstrom": "eV/Å"}
    for key, unit in units.items():
        at = next(i for i, line in enumerate(lines) if line.lstrip("# ").startswith(f"{key}:"))
        assert unit in lines[at] or unit in lines[at - 1]


def test_choices_are_named():
    text = template("quick")
    assert "one of openmm_forcefield, xtb, pyscf, ase, potential, command" in text
    assert "\n  #cell: full" in text
    assert "one of full, isotropic" in text


def test_there_is_no_other_template():
    with pytest.raises(ConfigError, match="no template 'cube'; expected one of quick, molecule"):
        template("cube")


def test_the_schema_holds_every_key_with_its_default():
    schema = config_schema()
    assert schema["$schema"] == DRAFT
    defaults = yaml.safe_load(dump_config(CampaignConfig()))
    assert schema["properties"].keys() == defaults.keys()
    sampling = schema["$defs"]["SamplingConfig"]["properties"]
    for key, value in defaults["sampling"].items():
        assert sampling[key]["default"] == value
    assert sampling["stride"]["description"] == "steps between stored frames"
    assert sampling["walkers"]["exclusiveMinimum"] == 0
    assert all(d["additionalProperties"] is False for d in schema["$defs"].values())
    assert schema["$defs"]["SamplingConfig"]["description"] == "The dynamics of each round."


def test_only_the_default_kind_may_be_left_out():
    definitions = config_schema()["$defs"]
    assert "kind" not in definitions["EnsembleConfig"].get("required", [])
    assert "kind" not in definitions["ForceFieldOracleConfig"].get("required", [])
    for name in ("GradientConfig", "MixtureConfig", "XTBOracleConfig", "CommandOracleConfig"):
        assert "kind" in definitions[name]["required"]


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("uncertainty: {reduce: rms}", True),
        ("oracle: {kind: xtb, charge: -1}", True),
        ("oracle: {charge: -1}", False),
        ("oracle: {kind: xtb, functional: pbe}", False),
        ("sampling: {walkers: 0}", False),
        ("sampling: {walker: 3}", False),
        ("bias: {kind: cubic}", False),
    ],
)
def test_the_schema_agrees_with_the_configuration(text, good):
    jsonschema = pytest.importorskip("jsonschema")
    valid = jsonschema.Draft202012Validator(config_schema()).is_valid(yaml.safe_load(text))
    assert valid is good
    if good:
        parse_config(text)
    else:
        with pytest.raises(ConfigError):
            parse_config(text)


@pytest.mark.parametrize("kind", KINDS)
def test_templates_are_valid_by_the_schema(kind):
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(yaml.safe_load(template(kind)), config_schema())
