"""The section of a configuration that chooses what drives the walkers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from uncv.config.section import Positive, PositiveInt, Section

SATURATING = ("udd", "tanh")
DRIVES = ("linear", *SATURATING)
"""Kinds that are an energy of u."""


class BiasConfig(Section):
    """What drives the walkers.

    By default a bias that saturates: it cannot be followed down for ever, as a linear one can, and
    its run has an ensemble. Its depth and width are chosen in each round by a warm-up, so a new
    calibration of u does not change them unseen.
    """

    kind: Literal["none", "linear", "udd", "tanh", "adaptive"] = Field(
        default="udd", description="udd and tanh saturate; adaptive has no potential"
    )
    strength: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="linear: energy per uncertainty (0.25); otherwise the size of the bias force "
        "relative to the physical one, for udd and tanh its mean in the warm-up (0.36), for "
        "adaptive that of both norms (0.25; 0 for a bias stress alone)",
    )
    depth_ev: Positive | None = Field(
        default=None, description="A of udd and depth of tanh; instead of a strength"
    )
    width: Positive | None = Field(
        default=None,
        description="B of udd and width of tanh; by default from the spread of u in the warm-up",
    )
    ceiling: Positive | None = Field(
        default=None,
        description="uncertainty above which a wall pushes back (linear, udd, tanh)",
    )
    cap_ev_per_angstrom: Positive | None = Field(
        default=None,
        description="longest bias force on an atom; a force cut by it has no potential (linear, "
        "udd, tanh)",
    )
    stress_strength: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="size of the bias stress relative to the physical one; by default the "
        "strength (adaptive, with a pressure)",
    )
    hydrogen: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="factor of the bias force on hydrogen (adaptive)"
    )
    elements: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default={}, description="factors of the bias force on other elements, by symbol (adaptive)"
    )
    window: PositiveInt = Field(default=100, description="steps of the running average (adaptive)")
    warm_up_steps: PositiveInt = Field(
        default=100,
        description="steps without a bias, out of those of the round and at most a fifth of them, "
        "from which depth and width are chosen (udd, tanh)",
    )
    schedule: Literal["constant", "ramp", "saw_tooth"] = Field(
        default="constant",
        description="of the bias's strength in each round, from 0 to 1 times the above",
    )
    schedule_steps: PositiveInt | None = Field(
        default=None, description="length of the ramp or of a tooth"
    )

    @model_validator(mode="after")
    def _consistent(self) -> BiasConfig:
        for name in ("depth_ev", "width"):
            if getattr(self, name) is not None and self.kind not in SATURATING:
                raise ValueError(f"{name} is for the kinds udd and tanh; found kind {self.kind}")
        if self.depth_ev is not None and self.strength is not None:
            raise ValueError("give either depth_ev or strength, which chooses the depth")
        if self.ceiling is not None and self.kind not in DRIVES:
            raise ValueError(f"a ceiling needs one of {', '.join(DRIVES)}; found kind {self.kind}")
        if self.cap_ev_per_angstrom is not None and self.kind not in DRIVES:
            raise ValueError(f"a cap needs one of {', '.join(DRIVES)}; found kind {self.kind}")
        if self.strength == 0 and self.kind != "adaptive":
            raise ValueError("strength is 0: give kind none for no bias")
        if self.stress_strength is not None and self.kind != "adaptive":
            raise ValueError(f"stress_strength is for the kind adaptive; found kind {self.kind}")
        if (self.schedule == "constant") != (self.schedule_steps is None):
            raise ValueError(
                f"schedule is {self.schedule} and schedule_steps {self.schedule_steps}; give steps "
                "for a ramp or saw_tooth, and only then"
            )
        return self
