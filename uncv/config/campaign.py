"""The configuration of a campaign: one YAML file, checked before anything runs."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from uncv.config.bias import BiasConfig
from uncv.config.dynamics import SamplingConfig, StopConfig
from uncv.config.execution import ExecutionConfig
from uncv.config.oracle import (
    ORACLE_SECTIONS,
    ForceFieldOracleConfig,
    OracleConfig,
    oracle_beside,
)
from uncv.config.section import PositiveInt, Section
from uncv.config.selection import ConvergenceConfig, SelectionConfig
from uncv.config.system import BudgetConfig, SystemConfig
from uncv.config.training import CalibrationConfig, PotentialConfig
from uncv.config.uncertainty import (
    UNCERTAINTY_SECTIONS,
    EnsembleConfig,
    UncertaintyConfig,
    check_members,
)
from uncv.errors import ConfigError


class CampaignConfig(Section):
    """Everything that determines a campaign; each section has working defaults.

    Examples
    --------
    >>> CampaignConfig.model_validate({"budget": {"labels": 64}}).budget.labels
    64
    """

    system: SystemConfig = SystemConfig()
    oracle: OracleConfig = ForceFieldOracleConfig()
    potential: PotentialConfig = PotentialConfig()
    uncertainty: UncertaintyConfig = EnsembleConfig()
    calibration: CalibrationConfig = CalibrationConfig()
    bias: BiasConfig = BiasConfig()
    sampling: SamplingConfig = SamplingConfig()
    stop: StopConfig = StopConfig()
    selection: SelectionConfig = SelectionConfig()
    budget: BudgetConfig = BudgetConfig()
    convergence: ConvergenceConfig = ConvergenceConfig()
    execution: ExecutionConfig = ExecutionConfig()
    seed: int = Field(default=0, description="of everything that is drawn")
    threads: PositiveInt = Field(
        default=1,
        description="of torch; one is quickest for small molecules, and keeps results the same "
        "on machines with other numbers of cores",
    )

    @model_validator(mode="after")
    def _members(self) -> CampaignConfig:
        check_members(self.uncertainty, self.potential.members)
        return self


_FILES = (
    ("system", "structure"),
    ("system", "labelled_data"),
    ("system", "test_data"),
    ("sampling", "plumed"),
    ("execution", "parsl_config"),
)
"""Keys that may name a file, looked for beside the configuration first."""


def load_config(path: str | Path) -> CampaignConfig:
    """Read a configuration from a YAML file; files it names are looked for beside it first.

    Raises
    ------
    ConfigError
        If the file cannot be read, is not YAML, or has an unknown key or a value that is not
        valid; an unknown key is answered with the nearest valid name.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the configuration {path} cannot be read: {error}") from error
    return _beside(parse_config(text, source=str(path)), Path(path).parent)


def _beside(config: CampaignConfig, folder: Path) -> CampaignConfig:
    """Return the configuration with the files that lie in a folder named in full.

    A reference to a function, FILE.py:NAME, names its file in full too.
    """
    changed: dict[str, Any] = {"oracle": oracle_beside(config.oracle, folder)}
    for section, key in _FILES:
        given = changed.get(section, getattr(config, section))
        changed[section] = _with_full_name(given, key, folder)
    rules, choice = config.convergence, config.selection
    observables = tuple(_with_full_name(r, "function", folder) for r in rules.observables)
    changed["convergence"] = rules.model_copy(update={"observables": observables})
    acceptance = _with_full_name(choice.acceptance, "force_constants", folder)
    changed["selection"] = choice.model_copy(update={"acceptance": acceptance})
    return config.model_copy(update=changed)


def _with_full_name(given: Section, key: str, folder: Path) -> Section:
    """Return a section whose key names a file of the folder in full, if it names one."""
    file, colon, name = (getattr(given, key) or "").partition(":")
    if not (folder / file).is_file():
        return given
    return given.model_copy(update={key: f"{(folder / file).resolve()}{colon}{name}"})


def parse_config(text: str, source: str = "the configuration") -> CampaignConfig:
    """Return the configuration written in YAML text.

    Raises
    ------
    ConfigError
        As `load_config`; ``source`` names the text in the message.
    """
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} is not valid YAML: {error}") from error
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f"{source} holds {type(values).__name__}, expected sections with keys")
    return make_config(values, source)


def make_config(values: dict[str, Any], source: str = "the configuration") -> CampaignConfig:
    """Return the configuration of a nested dictionary.

    Raises
    ------
    ConfigError
        As `load_config`.
    """
    try:
        return CampaignConfig.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(_problem(dict(item)) for item in error.errors())
        raise ConfigError(f"{source}: {problems}") from error


def make_uncertainty_section(
    kind: str, options: Sequence[str], members: int = 4
) -> UncertaintyConfig:
    """Return the section that chooses an uncertainty from its kind and options as KEY=VALUE.

    Raises
    ------
    ConfigError
        If an option is not KEY=VALUE, if a potential of so many members cannot have this
        uncertainty, or as `load_config`.

    Examples
    --------
    >>> make_uncertainty_section("gmm", ["components=[1, 4]", "reduce=softmax"]).components
    (1, 4)
    """
    values = {"kind": kind, **_values_of(options)}
    potential = {"members": members}
    return make_config({"uncertainty": values, "potential": potential}, "the options").uncertainty


def make_oracle_section(kind: str, options: Sequence[str]) -> OracleConfig:
    """Return the section that chooses an oracle from its kind and options as KEY=VALUE.

    Raises
    ------
    ConfigError
        If an option is not KEY=VALUE, or as `load_config`.

    Examples
    --------
    >>> make_oracle_section("xtb", ["method=GFN1-xTB", "charge=1"]).charge
    1
    """
    values = {"kind": kind, **_values_of(options)}
    return make_config({"oracle": values}, "the options").oracle


def make_bias_section(kind: str, options: Sequence[str], strength: float | None) -> BiasConfig:
    """Return the section that chooses a bias from its kind, strength and options as KEY=VALUE.

    Raises
    ------
    ConfigError
        If an option is not KEY=VALUE, or as `load_config`.

    Examples
    --------
    >>> make_bias_section("tanh", ["depth_ev=0.4", "width=0.02"], None).depth_ev
    0.4
    """
    values = {"kind": kind, **_values_of(options)}
    if strength is not None:
        values["strength"] = strength
    return make_config({"bias": values}, "the options").bias


def _values_of(options: Sequence[str]) -> dict[str, Any]:
    values = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            raise ConfigError(f"option {option!r} is not KEY=VALUE; write for instance reduce=rms")
        values[key] = yaml.safe_load(value)
    return values


def dump_config(config: CampaignConfig) -> str:
    """Return a configuration as YAML, every key written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


_UNIONS: dict[str, Mapping[str, type[BaseModel]]] = {
    "uncertainty": UNCERTAINTY_SECTIONS,
    "oracle": ORACLE_SECTIONS,
}
"""Sections whose keys depend on their kind."""


def _problem(error: dict[str, Any]) -> str:
    location = [str(part) for part in error["loc"]]
    union = _UNIONS.get(location[0]) if location else None
    kind = location.pop(1) if union and len(location) > 1 else ""
    path = ".".join(location) or "top level"
    if error["type"] == "union_tag_invalid":
        kinds = ", ".join(_UNIONS[location[0]])
        return f"{path}.kind: expected one of {kinds} (found {error['input']!r})"
    if error["type"] == "value_error":  # ours: it says what was found
        says = error["msg"].removeprefix("Value error, ")
        return f"{path}: {says}" if location else says
    if error["type"] != "extra_forbidden":
        return f"{path}: {error['msg']} (found {error['input']!r})"
    section = union[kind] if union and kind else _section_at(location[:-1])
    valid = list(section.model_fields)
    near = difflib.get_close_matches(location[-1], valid, n=1, cutoff=0.0)[0]
    return f"unknown key {path!r}; did you mean {near!r}? Valid here: {', '.join(valid)}"


def _section_at(location: list[str]) -> type[BaseModel]:
    """Return the section that a place in the configuration belongs to."""
    section: type[BaseModel] = CampaignConfig
    for name in location:
        if name in section.model_fields:  # not the number of an item in a list
            section = _section_in(section.model_fields[name].annotation) or section
    return section


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """Return the section in an annotation such as ``Section | None`` or a tuple of sections."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_section_in, get_args(annotation))), None)
