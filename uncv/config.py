"""The configuration of a campaign: one YAML file, checked before anything runs."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from uncv.config_bias import BiasConfig
from uncv.config_section import Positive, PositiveInt, Section, Share
from uncv.config_uncertainty import (
    UNCERTAINTY_SECTIONS,
    EnsembleConfig,
    UncertaintyConfig,
    check_members,
)
from uncv.errors import ConfigError

Torsion = tuple[int, int, int, int]


class SystemConfig(Section):
    """What moves."""

    structure: str = Field(
        default="alanine_dipeptide",
        description="path of a PDB file, or the name of a structure that uncv ships",
    )
    periodic: bool = Field(
        default=False, description="keep the box of the PDB file; without, vacuum"
    )
    torsions: tuple[Torsion, ...] = Field(
        default=(),
        description="0-based atoms of the torsions whose coverage is followed; with the shipped "
        "alanine dipeptide φ and ψ by default",
    )


class OracleConfig(Section):
    """Where labels come from."""

    kind: Literal["openmm_forcefield"] = "openmm_forcefield"
    force_field: tuple[str, ...] = ("amber14/protein.ff14SB.xml",)
    max_force_ev_per_angstrom: Positive | None = 30.0


class PotentialConfig(Section):
    """The ensemble and how it is trained."""

    start: Literal["scratch", "ani1x"] = "scratch"
    members: PositiveInt = 4
    hidden: tuple[PositiveInt, ...] | None = Field(
        default=None, description="sizes of the hidden layers; by default those of the trainer"
    )
    epochs: PositiveInt = Field(default=200, description="epochs of the first round, at most")
    epochs_warm: PositiveInt = Field(default=60, description="epochs of later, warm-started rounds")
    batch_size: PositiveInt = 8
    learning_rate: Positive | None = Field(
        default=None, description="largest; by default what suits new or continued networks"
    )
    energy_weight: Positive | None = Field(default=None, description="in the loss, per (eV/atom)²")
    force_weight: Positive | None = Field(default=None, description="in the loss, per (eV/Å)²")
    subset_share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="share of the training frames that each member sees"
    )
    validation_share: Share = 0.1


class CalibrationConfig(Section):
    """How the uncertainty is brought to the scale of the error."""

    method: Literal[
        "auto", "conformal", "element", "cross", "gaussian", "log_linear", "monotone", "none"
    ] = Field(
        default="auto",
        description="auto is conformal, or the Gaussian scale while the held-out frames are too "
        "few for it; cross is conformal too, but trains the folds of all frames while they are too "
        "few; the others are an error where the frames do not suffice; the journal says what was "
        "done",
    )
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.1
    held_out_share: Share = Field(default=0.1, description="share of labelled frames kept for it")
    folds: Annotated[int, Field(ge=2)] = Field(
        default=5, description="of cross, each as long a training as that of the first round"
    )


class SamplingConfig(Section):
    """The dynamics of each round."""

    temperature_k: Positive = 300.0
    timestep_fs: Positive = 1.0
    friction_per_ps: Positive = 2.0
    hydrogen_mass_amu: Positive | None = 4.0
    walkers: PositiveInt = 8
    steps_per_round: PositiveInt = Field(
        default=1000,
        description="steps of each walker; restarts of stopped walkers come out of them",
    )
    stride: PositiveInt = Field(default=25, description="steps between stored frames")


class StopConfig(Section):
    """Limits past which a walker is stopped and restarted."""

    max_uncertainty: Positive | None = Field(
        default=None, description="in eV for an energy uncertainty, eV/Å for forces"
    )
    max_atomic_uncertainty: Positive | None = None
    min_distance_factor: Positive | None = Field(
        default=0.65, description="of the sum of covalent radii"
    )
    min_contact_factor: Positive | None = Field(
        default=1.3, description="the same, of atoms that are not bonded at the start"
    )
    max_bond_factor: Positive | None = Field(default=1.5, description="of the length at the start")
    max_force_ev_per_angstrom: Positive | None = 30.0


class SelectionConfig(Section):
    """Which frames of a round are labelled."""

    method: Literal["top_u", "farthest_point", "random"] = "farthest_point"
    batch_size: PositiveInt = 16


class BudgetConfig(Section):
    """When the campaign ends."""

    labels: PositiveInt = Field(
        default=160, description="labelled frames in the end, the first included"
    )
    initial_labels: PositiveInt = 16
    initial_displacements_angstrom: Annotated[tuple[Positive, ...], Field(min_length=1)] = Field(
        default=(0.02, 0.08),
        description="standard deviations of the Gaussian displacements of the start structure, "
        "taken in turn: half of the first frames lie near it, half further away",
    )

    @model_validator(mode="after")
    def _enough(self) -> BudgetConfig:
        if self.labels < self.initial_labels:
            raise ValueError(
                f"labels is {self.labels}, less than initial_labels ({self.initial_labels}); "
                "give a larger budget"
            )
        return self


class CampaignConfig(Section):
    """Everything that determines a campaign; each section has working defaults.

    Examples
    --------
    >>> CampaignConfig.model_validate({"budget": {"labels": 64}}).budget.labels
    64
    """

    system: SystemConfig = SystemConfig()
    oracle: OracleConfig = OracleConfig()
    potential: PotentialConfig = PotentialConfig()
    uncertainty: UncertaintyConfig = EnsembleConfig()
    calibration: CalibrationConfig = CalibrationConfig()
    bias: BiasConfig = BiasConfig()
    sampling: SamplingConfig = SamplingConfig()
    stop: StopConfig = StopConfig()
    selection: SelectionConfig = SelectionConfig()
    budget: BudgetConfig = BudgetConfig()
    seed: int = 0
    threads: PositiveInt = Field(
        default=1,
        description="of torch; one is quickest for small molecules, and keeps results the same "
        "on machines with other numbers of cores",
    )

    @model_validator(mode="after")
    def _members(self) -> CampaignConfig:
        check_members(self.uncertainty, self.potential.members)
        return self


def load_config(path: str | Path) -> CampaignConfig:
    """Read a configuration from a YAML file; a structure is looked for beside that file first.

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
    config = parse_config(text, source=str(path))
    beside = Path(path).parent / config.system.structure
    if not beside.is_file():
        return config
    system = config.system.model_copy(update={"structure": str(beside.resolve())})
    return config.model_copy(update={"system": system})


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


def _problem(error: dict[str, Any]) -> str:
    location = [str(part) for part in error["loc"]]
    kind = location.pop(1) if len(location) > 1 and location[0] == "uncertainty" else ""
    path = ".".join(location) or "top level"
    if error["type"] == "union_tag_invalid":
        kinds = ", ".join(UNCERTAINTY_SECTIONS)
        return f"{path}.kind: expected one of {kinds} (found {error['input']!r})"
    if error["type"] == "value_error":  # ours: it says what was found
        says = error["msg"].removeprefix("Value error, ")
        return f"{path}: {says}" if location else says
    if error["type"] != "extra_forbidden":
        return f"{path}: {error['msg']} (found {error['input']!r})"
    section = UNCERTAINTY_SECTIONS[kind] if kind else _section_at(location[:-1])
    valid = list(section.model_fields)
    near = difflib.get_close_matches(location[-1], valid, n=1, cutoff=0.0)[0]
    return f"unknown key {path!r}; did you mean {near!r}? Valid here: {', '.join(valid)}"


def _section_at(location: list[str]) -> type[BaseModel]:
    section: type[BaseModel] = CampaignConfig
    for name in location:
        inner = section.model_fields[name].annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            section = inner
    return section
