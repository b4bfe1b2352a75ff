"""The section of a configuration that chooses an uncertainty: the keys depend on its kind."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from uncv.config.section import Positive, PositiveInt, Section

Reduction = Literal["mean", "sum", "rms", "softmax"]


class EnsembleConfig(Section):
    """The spread of the members."""

    kind: Literal["ensemble"] = "ensemble"
    of: Literal["energy", "atomic_energy", "forces"] = "energy"
    reduce: Reduction = "mean"


class GradientConfig(Section):
    """Gradient features of the networks: posterior variance, or distance to the training atoms."""

    kind: Literal["gradient"] = "gradient"
    method: Literal["posterior", "distance"] = "posterior"
    features: Literal["last_layer", "sketched"] = "last_layer"
    projection_dim: PositiveInt = Field(default=512, description="width of the sketch")
    sigma: Positive = Field(default=0.01, description="noise, for features of mean square 1")
    member: Annotated[int, Field(ge=0)] | Literal["all"] = Field(
        default=0, description="whose features; 'all' averages the kernels of the members"
    )
    per_atom: bool = Field(default=True, description="values of atoms, or of whole frames")
    seed: int = Field(default=0, description="of the sketch")
    reduce: Reduction = "mean"


class MixtureConfig(Section):
    """The negative log-likelihood of a Gaussian mixture of the training atoms' features."""

    kind: Literal["gmm"] = "gmm"
    features: Literal["descriptor", "last_layer"] = "last_layer"
    components: PositiveInt | tuple[PositiveInt, ...] = Field(
        default=(1, 2, 4, 8), description="of each mixture; of several, BIC chooses"
    )
    covariance: Literal["full", "tied", "diag"] = "full"
    pca: PositiveInt | Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=16, description="principal axes kept: their number, or their share of the variance"
    )
    per_element: bool = Field(default=True, description="one mixture for each element")
    member: Annotated[int, Field(ge=0)] = Field(default=0, description="whose last layer")
    reduce: Reduction = "mean"


class MeanVarianceConfig(Section):
    """The variance that a second head of the networks predicts."""

    kind: Literal["mean_variance"] = "mean_variance"
    reduce: Reduction = "mean"


class EvidentialConfig(Section):
    """The evidence that a second head of the networks predicts."""

    kind: Literal["evidential"] = "evidential"
    of: Literal["epistemic", "aleatoric"] = "epistemic"
    reduce: Reduction = "mean"


def _uncertainty_kind(value: Any) -> str:
    return value.get("kind", "ensemble") if isinstance(value, dict) else getattr(value, "kind", "")


UncertaintyConfig = Annotated[
    Annotated[EnsembleConfig, Tag("ensemble")]
    | Annotated[GradientConfig, Tag("gradient")]
    | Annotated[MixtureConfig, Tag("gmm")]
    | Annotated[MeanVarianceConfig, Tag("mean_variance")]
    | Annotated[EvidentialConfig, Tag("evidential")],
    Discriminator(_uncertainty_kind),
]
"""Which uncertainty is the collective variable: the keys that ``kind`` allows."""

UNCERTAINTY_SECTIONS: dict[str, type[Section]] = {
    "ensemble": EnsembleConfig,
    "gradient": GradientConfig,
    "gmm": MixtureConfig,
    "mean_variance": MeanVarianceConfig,
    "evidential": EvidentialConfig,
}


def check_members(given: UncertaintyConfig, members: int) -> None:
    """Refuse an uncertainty that a potential of so many members cannot have.

    Raises
    ------
    ValueError
    """
    if given.kind == "ensemble" and members < 2:
        raise ValueError(
            f"an ensemble uncertainty needs at least 2 members, found {members}; train more, or "
            "choose gradient, gmm, mean_variance or evidential"
        )
    member = getattr(given, "member", 0)
    if isinstance(member, int) and member >= members:
        raise ValueError(f"member {member} was asked for, but there are {members}, from 0")
