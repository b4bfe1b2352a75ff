"""The sections of a configuration that say how potentials are trained and calibrated."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from uncv.config.section import Positive, PositiveInt, Section, Share

CLOSEST = 0.9
"""Where the first Gaussian of a descriptor is, Å."""
_LENGTH = ("epochs", "patience")
"""Keys that say how long new networks are trained."""


class DescriptorConfig(Section):
    """What new networks see of the surroundings of an atom: Gaussians, as in ANI-1x by default."""

    radial_cutoff_angstrom: Positive = Field(default=5.2, description="of pairs")
    angular_cutoff_angstrom: Positive = Field(default=3.5, description="of the pairs of angles")
    radial_functions: PositiveInt = Field(default=16, description="in the distance of a pair")
    angular_functions: PositiveInt = Field(
        default=4, description="in the mean distance of an angle's pairs"
    )
    angles: PositiveInt = Field(default=8, description="in the angle")
    radial_eta: Positive = Field(default=16.0, description="1/Å²; smaller is wider")
    angular_eta: Positive = Field(default=8.0, description="1/Å²; smaller is wider")
    zeta: Positive = Field(default=32.0, description="sharpness in the angle")

    @model_validator(mode="after")
    def _cutoffs(self) -> DescriptorConfig:
        if not CLOSEST < self.angular_cutoff_angstrom <= self.radial_cutoff_angstrom:
            raise ValueError(
                f"cutoffs are {self.angular_cutoff_angstrom} (angular) and "
                f"{self.radial_cutoff_angstrom} (radial) Å; expected {CLOSEST} < angular <= "
                "radial"
            )
        return self


class PotentialConfig(Section):
    """The ensemble and how it is trained."""

    start: Literal["scratch", "ani1x"] = Field(
        default="scratch", description="new networks, or those of ANI-1x (H, C, N, O)"
    )
    members: PositiveInt = Field(default=4, description="of the ensemble")
    hidden: tuple[PositiveInt, ...] | None = Field(
        default=None, description="sizes of the hidden layers; by default those of the trainer"
    )
    descriptor: DescriptorConfig = Field(
        default=DescriptorConfig(), description="of new networks; ani1x has its own"
    )
    epochs: PositiveInt = Field(default=200, description="epochs of the first round, at most")
    epochs_warm: PositiveInt = Field(default=60, description="epochs of later, warm-started rounds")
    steps_warm: PositiveInt | None = Field(
        default=None,
        description="steps of the optimiser in each of these, in place of epochs_warm: then they "
        "take as long with many labels as with few",
    )
    epochs_final: PositiveInt | None = Field(
        default=None,
        description="epochs of the last training, of new networks on all labels, without early "
        "stopping; by default those of the last round go on",
    )
    patience: PositiveInt | None = Field(
        default=None,
        description="epochs without a lower validation loss after which a training ends; by "
        "default those of the trainer",
    )
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
    weight_decay: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="of the optimiser; more of it generalises better from few frames"
    )
    subset_share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="share of the training frames that each member sees"
    )
    validation_share: Share = Field(
        default=0.1, description="share of labelled frames that choose the best epoch"
    )

    @model_validator(mode="after")
    def _new_networks(self) -> PotentialConfig:
        if self.start == "ani1x" and self.descriptor != DescriptorConfig():
            raise ValueError("descriptor is for new networks; leave it out, or give start: scratch")
        return self

    @property
    def of_last(self) -> PotentialConfig:
        """The section as the last training of a campaign takes it."""
        epochs = self.epochs_final
        return self if epochs is None else self.model_copy(update=dict.fromkeys(_LENGTH, epochs))

    def epochs_of(self, frames: int, *, warm: bool) -> int:
        """Return the epochs of a training on so many frames, from scratch or warm-started."""
        if not warm:
            return self.epochs
        if self.steps_warm is None:
            return self.epochs_warm
        return max(1, round(self.steps_warm / -(-frames // self.batch_size)))


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
