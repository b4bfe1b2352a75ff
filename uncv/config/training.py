"""The sections of a configuration that say how potentials are trained and calibrated."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from uncv.config.section import Positive, PositiveInt, Section, Share


class PotentialConfig(Section):
    """The ensemble and how it is trained."""

    start: Literal["scratch", "ani1x"] = Field(
        default="scratch", description="new networks, or those of ANI-1x (H, C, N, O)"
    )
    members: PositiveInt = Field(default=4, description="of the ensemble")
    hidden: tuple[PositiveInt, ...] | None = Field(
        default=None, description="sizes of the hidden layers; by default those of the trainer"
    )
    epochs: PositiveInt = Field(default=200, description="epochs of the first round, at most")
    epochs_warm: PositiveInt = Field(default=60, description="epochs of later, warm-started rounds")
    batch_size: PositiveInt = Field(default=8, description="frames a step")
    learning_rate: Positive | None = Field(
        default=None, description="largest; by default what suits new or continued networks"
    )
    energy_weight: Positive | None = Field(default=None, description="in the loss, per (eV/atom)²")
    force_weight: Positive | None = Field(default=None, description="in the loss, per (eV/Å)²")
    stress_weight: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="in the loss, per (eV/Å³)²; by default 0, or 1000 at constant pressure",
    )
    subset_share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="share of the training frames that each member sees"
    )
    validation_share: Share = Field(
        default=0.1, description="share of labelled frames that choose the best epoch"
    )


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
    alpha: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.1, description="share of errors outside a conformal bound"
    )
    held_out_share: Share = Field(default=0.1, description="share of labelled frames kept for it")
    folds: Annotated[int, Field(ge=2)] = Field(
        default=5, description="of cross, each as long a training as that of the first round"
    )
