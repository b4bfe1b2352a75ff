"""Features of whole frames, the mean of those of their atoms: what frames are told apart by."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uncv.data import Dataset
from uncv.errors import DataError
from uncv.features import Part, stream
from uncv.gradient.features import ALL, GradientFeatures, LastLayerFeatures, SketchedFeatures
from uncv.protocols import Potential

FloatArray = NDArray[np.float64]
FrameFeatures = Literal["mean", "last_layer", "sketched"]
_EXTRA = {"mean": "", "last_layer": "last_layer", "sketched": "layers"}


def frame_features(
    potential: Potential,
    frames: Dataset,
    features: FrameFeatures = "last_layer",
    *,
    member: int | Literal["all"] = "all",
    projection_dim: int = 512,
    seed: int = 0,
) -> FloatArray:
    """Return features of frames (F, D): φ = (1/N) Σ_i φ_i over the N atoms of each.

    Parameters
    ----------
    potential : Potential
        What gives the features.
    frames : Dataset
        Any number from 1 on, of any size.
    features : str
        - 'last_layer': gradient of an atom's energy by the weights and the bias of the last layer,
          the elements side by side.
        - 'sketched': by all weights, in random projections.
        - 'mean': the potential's invariant features, whatever it has learnt.
    member : int or 'all'
        Of the gradients: of one member, or such that the kernel is the mean of all members'.
    projection_dim : int
        D of 'sketched'.
    seed : int
        Of the projections. Features are to be compared only with those of the same potential, seed
        and settings.

    Raises
    ------
    DataError
        If there are no frames, or features are NaN or infinite.
    ElementError
        If the potential does not know an element.
    ValueError
        If the features are unknown, or the potential does not give them or has no such member.

    Notes
    -----
    The mean dilutes one strange atom by 1/N. Source of the gradients: Zaverkin et al., npj Comput.
    Mater. 10, 83 (2024); their scale is of no matter to a selection, which scales them itself.
    """
    _check(potential, features, member)
    if len(frames) == 0:
        raise DataError("there are no frames to take features of; give at least one")
    which = ALL if member == "all" else member
    made: GradientFeatures | None = None
    if features == "last_layer":
        made = LastLayerFeatures(which, per_atom=False)
    elif features == "sketched":
        made = SketchedFeatures(which, projection_dim, seed, per_atom=False)
    rows: list[FloatArray] = []
    for part in stream(potential, frames, extra=_EXTRA[features]):
        if made is not None and not rows:
            made.prepare(part.output, part.groups, potential.last_bias)
        found = _mean(part) if made is None else made(part.output, part.groups)
        rows.append(_finite(found, part))
    return np.concatenate(rows)


def _mean(part: Part) -> Tensor:
    """Return the mean over its atoms of the invariant features of each frame (F, D)."""
    mask = part.groups.mask.unsqueeze(2)
    features = part.output.features.to(torch.float64)
    return (features * mask).sum(dim=1) / mask.sum(dim=1)


def _finite(found: Tensor, part: Part) -> FloatArray:
    if not bool(torch.isfinite(found).all()):
        raise DataError(
            f"features among frames {part.frames[0]} to {part.frames[-1]} are NaN or infinite; "
            "look for atoms on top of each other, or for broken weights of the potential"
        )
    return found.to(torch.float64).numpy()


def _check(potential: Potential, features: str, member: int | str) -> None:
    if features not in get_args(FrameFeatures):
        raise ValueError(
            f"features={features!r} is unknown; expected one of {get_args(FrameFeatures)}"
        )
    extra = _EXTRA[features]
    if extra and extra not in potential.extras:
        raise ValueError(
            f"features={features!r} needs {extra} of the potential, but this "
            f"{type(potential).__name__} gives {', '.join(potential.extras) or 'none'}; choose "
            "features='mean'"
        )
    if isinstance(member, str) and member != "all":
        raise ValueError(f"member={member!r} is unknown; expected a number or 'all'")
    if isinstance(member, int) and not 0 <= member < potential.members:
        raise ValueError(
            f"member {member} was asked for, but the potential has {potential.members}, from 0"
        )
