"""The sections of a configuration that say which frames are labelled, and when that is enough."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from uncv.config.section import Positive, PositiveInt, Section

SCORED = ("top_u", "threshold")
Tolerance = Annotated[float, Field(gt=0)]


class AcceptanceConfig(Section):
    """Which stored frames are candidates at all: by chance, from uncertainty and energy."""

    kind: Literal["none", "almomd", "boltzmann"] = Field(
        default="none",
        description="almomd: the product of P_U, which rises with the uncertainty, and P_E, which "
        "falls with the energy, both as they are spread on the held-out frames; boltzmann: P_U and "
        "exp(−(E − E0)/k_BT), E0 the mean energy of these frames",
    )
    quantity: Literal["uncertainty", "energy", "mean_force", "max_force", "anharmonicity"] = Field(
        default="uncertainty",
        description="what is uncertain: the campaign's own uncertainty, or the members' standard "
        "deviation of the energy, of the forces (mean or largest of the atoms), or of the "
        "anharmonicity σ^A",
    )
    s: float = Field(
        default=2.0, description="P_U is ½ so many standard deviations above the mean uncertainty"
    )
    g: Positive = Field(default=1.0, description="width of the rise of P_U, relative to the usual")
    temperature_k: Positive | None = Field(
        default=None, description="of boltzmann; by default that of the dynamics"
    )
    force_constants: str | None = Field(
        default=None,
        description="path of phonopy's file for anharmonicity; by default, finite displacements of "
        "each round's potential around the start structure",
    )

    @model_validator(mode="after")
    def _used(self) -> AcceptanceConfig:
        if self.temperature_k is not None and self.kind != "boltzmann":
            raise ValueError(f"temperature_k is for kind boltzmann; found kind {self.kind}")
        if self.force_constants is not None and self.quantity != "anharmonicity":
            raise ValueError(
                f"force_constants are for the quantity anharmonicity; found {self.quantity}"
            )
        return self


class SelectionConfig(Section):
    """Which frames of a round are labelled."""

    method: Literal["random", "top_u", "threshold", "farthest_point", "max_det", "lcmd"] = Field(
        default="farthest_point",
        description="top_u: the most uncertain; threshold: far from each other, of those inside "
        "the window; farthest_point, max_det, lcmd: unlike each other and what is labelled",
    )
    batch_size: PositiveInt = Field(default=16, description="labels of a round")
    min_uncertainty: float | None = Field(
        default=None, description="lower end of the window of threshold, in the unit of u"
    )
    max_uncertainty: float | None = Field(default=None, description="its upper end")
    features: Literal["mean", "last_layer", "sketched"] = Field(
        default="mean",
        description="of a frame, all means over its atoms: the potential's descriptor, or the "
        "gradient by the weights of the last layer, or by all weights in random projections",
    )
    member: Annotated[int, Field(ge=0)] | Literal["all"] = Field(
        default="all", description="whose gradient; 'all' averages the kernels of the members"
    )
    projection_dim: PositiveInt = Field(default=512, description="width of sketched features")
    acceptance: AcceptanceConfig = AcceptanceConfig()

    @property
    def window(self) -> tuple[float, float] | None:
        """Lowest and highest uncertainty of `threshold`, None for the other methods."""
        if self.method != "threshold":
            return None
        low, high = self.min_uncertainty, self.max_uncertainty
        return (
            float("-inf") if low is None else low,
            float("inf") if high is None else high,
        )

    @model_validator(mode="after")
    def _window(self) -> SelectionConfig:
        low, high = self.min_uncertainty, self.max_uncertainty
        given = low is not None or high is not None
        if given != (self.method == "threshold"):
            raise ValueError(
                f"method is {self.method}, min_uncertainty {low} and max_uncertainty {high}; give "
                "at least one of them for threshold, and only then"
            )
        if low is not None and high is not None and low > high:
            raise ValueError(
                f"min_uncertainty is {low}, above max_uncertainty ({high}); exchange them"
            )
        return self


class SeriesRule(Section):
    """A value that no longer changes."""

    tolerance: Tolerance = Field(description="largest less smallest value over the rounds")
    rounds: Annotated[int, Field(ge=2)] = Field(default=3, description="that are compared")


class CoverageRule(SeriesRule):
    """The coverage of the torsions no longer rises."""

    tolerance: Tolerance = Field(default=0.01, description="largest less smallest, of 0 to 1")


class TorsionRule(Section):
    """The distribution of the torsions stays the same."""

    tolerance: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.15,
        description="largest Jensen-Shannon distance, base 2, of the histogram of a torsion in the "
        "last rounds from that in those before",
    )
    rounds: PositiveInt = Field(default=2, description="in each of the two windows")
    bins: Annotated[int, Field(ge=2)] = Field(default=24, description="of a histogram")


class ObservableRule(SeriesRule):
    """A function of the user's of a round's frames no longer changes."""

    function: str = Field(
        description="module:function or file.py:function, called with a Dataset of all frames of a "
        "round; returns one number"
    )


class UncertaintyRule(Section):
    """The calibrated uncertainty of what is sampled is low enough."""

    target: Positive = Field(description="in the unit of the calibrated uncertainty")
    of: Literal["mean", "max"] = "mean"
    rounds: PositiveInt = Field(default=1, description="in a row")


class ConvergenceConfig(Section):
    """When a campaign ends before its label budget is spent: when any of these rules says so."""

    min_rounds: Annotated[int, Field(ge=0)] = Field(
        default=0, description="rounds before any of these rules is asked"
    )
    rounds_without_candidate: PositiveInt | None = Field(
        default=10,
        description="rounds in a row in which no frame was worth a label; null for never",
    )
    steps_without_candidate: PositiveInt | None = Field(
        default=None, description="steps of all walkers together since the last such frame"
    )
    coverage: CoverageRule | None = None
    torsions: TorsionRule | None = None
    observables: tuple[ObservableRule, ...] = ()
    uncertainty: UncertaintyRule | None = None

    @field_validator("observables")
    @classmethod
    def _once(cls, rules: tuple[ObservableRule, ...]) -> tuple[ObservableRule, ...]:
        names = [rule.function for rule in rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{twice[0]} is named twice; give each function once")
        return rules
