"""Options of the command line that choose a bias."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class BiasKind(StrEnum):
    """Biases of dynamics."""

    none = "none"
    linear = "linear"
    udd = "udd"
    tanh = "tanh"
    adaptive = "adaptive"


ChosenBias = Annotated[
    BiasKind, typer.Option("--bias", help="Bias on the uncertainty; udd and tanh saturate.")
]
Strength = Annotated[
    float | None,
    typer.Option(
        help="Of the bias: eV per unit of u (linear, 0.25); or the size of its force relative to "
        "the physical one: mean of a warm-up (udd and tanh, 0.36), or kept up (adaptive, 0.25)."
    ),
]
BiasOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--bias-option",
        help="KEY=VALUE of the bias, as in a configuration: depth_ev, width, ceiling, window, "
        "schedule=ramp; may be repeated.",
    ),
]
