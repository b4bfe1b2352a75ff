"""Asking modules about a small structure before they are used: shapes, invariance, gradients."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from uncv.errors import GradientError
from uncv.scripting import plain_execution

MOST_ELEMENTS = 8
"""Of the elements, so many at most are in the structure that the modules are asked about."""
TOLERANCE = 1e-3
"""Largest part by which an invariant may change when the structure is turned."""


class Answer(NamedTuple):
    """What is known of modules from asking them.

    Attributes
    ----------
    members : int
        Number of members M.
    last_layer : bool
        Whether they give the input of their last layer.
    digest : str
        A hash of what they answered, four digits of it.
    """

    members: int
    last_layer: bool
    digest: str


class _Said(NamedTuple):
    energies: Tensor  # (M, N)
    features: Tensor  # (N, D)
    last: Tensor | None  # (M, N, H)


@torch.enable_grad()
def probe(
    modules: Sequence[nn.Module], elements: Sequence[int], cutoff: float, dtype: torch.dtype
) -> Answer:
    """Ask modules about a cluster and a lone atom.

    Raises
    ------
    TypeError
        If a module does not return two or three tensors.
    ValueError
        If a shape is wrong, a value not finite, or a value changes when the structure is turned.
    GradientError
        If energies do not depend on the vectors.
    """
    species, frame, positions = _structure(len(elements), cutoff)
    turn = torch.linalg.qr(torch.tensor([[1.0, 2.0, 0.5], [0.3, -1.0, 2.0], [2.0, 0.1, 1.0]]))[0]
    straight = [_ask(m, species, frame, positions, cutoff, dtype) for m in modules]
    turned = [
        _ask(m, species, frame, positions @ turn.to(torch.float64), cutoff, dtype) for m in modules
    ]
    for said, again in zip(straight, turned, strict=True):
        _check_invariant(said, again)
        if (said.last is None) != (straight[0].last is None):
            raise ValueError(
                "some of the modules return two tensors and some three; expected all the same"
            )
        for name in ("features", "last"):
            mine, first = getattr(said, name), getattr(straight[0], name)
            if mine is not None and mine.shape[-1] != first.shape[-1]:
                raise ValueError(
                    f"the modules disagree in the width of their {name}: {mine.shape[-1]} and "
                    f"{first.shape[-1]}; expected members of one shape"
                )
    members = sum(len(said.energies) for said in straight)
    return Answer(members, straight[0].last is not None, _digest(straight))


def _structure(elements: int, cutoff: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return species, frames and positions of a helix of atoms and of one atom alone."""
    count = min(elements, MOST_ELEMENTS) + 2
    k = torch.arange(count, dtype=torch.float64)
    helix = torch.stack([torch.cos(2.0 * k), torch.sin(2.0 * k), 0.9 * k], dim=1)
    positions = torch.cat([0.3 * cutoff * helix, torch.zeros(1, 3, dtype=torch.float64)])
    species = torch.arange(count + 1) % min(elements, MOST_ELEMENTS)
    frame = torch.tensor([0] * count + [1])
    return species, frame, positions


def _ask(
    module: nn.Module,
    species: Tensor,
    frame: Tensor,
    positions: Tensor,
    cutoff: float,
    dtype: torch.dtype,
) -> _Said:
    distance = torch.cdist(positions, positions)
    same_frame = frame.unsqueeze(0) == frame.unsqueeze(1)
    near = (distance < cutoff) & (distance > 0) & same_frame
    centre, other = near.nonzero().unbind(dim=1)
    vectors = (positions[other] - positions[centre]).to(dtype).requires_grad_()
    with plain_execution():
        said = _named(module(species, frame, centre, other, vectors), len(species))
    for name, value in zip(_Said._fields, said, strict=True):
        if value is not None and not bool(torch.isfinite(value).all()):
            raise ValueError(
                f"the module's {name} are not finite for atoms {0.57 * cutoff:.2f} Å apart and a "
                "lone one; expected finite numbers"
            )
    for member in range(len(said.energies)):
        _check_connected(said.energies[member], vectors, member)
    return said


def _named(answer: object, atoms: int) -> _Said:
    """Check types and shapes of what a module returned."""
    if (
        not isinstance(answer, tuple)
        or len(answer) not in (2, 3)
        or not all(isinstance(value, Tensor) for value in answer)
    ):
        raise TypeError(
            f"the module returned {type(answer).__name__}; expected a tuple of tensors: "
            "(atomic_energies, features) or (atomic_energies, features, last_layer)"
        )
    energies, features = answer[0], answer[1]
    _check_shape("atomic_energies", energies, (None, atoms), "(M, N)")
    _check_shape("features", features, (atoms, None), "(N, D)")
    if len(answer) == 2:
        return _Said(energies, features, None)
    last = answer[2]
    _check_shape("last_layer", last, (len(energies), atoms, None), "(M, N, H)")
    return _Said(energies, features, last)


def _check_shape(name: str, value: Tensor, wanted: tuple[int | None, ...], words: str) -> None:
    right = value.dim() == len(wanted) and all(
        found == size if size is not None else found > 0
        for found, size in zip(value.shape, wanted, strict=True)
    )
    if not right or not value.is_floating_point():
        sizes = ", ".join("any" if size is None else str(size) for size in wanted)
        raise ValueError(
            f"the module's {name} are {tuple(value.shape)} of {value.dtype}; expected {words} = "
            f"({sizes}) floating-point numbers"
        )


def _check_connected(energies: Tensor, vectors: Tensor, member: int) -> None:
    gradient = None
    if energies.requires_grad:
        (gradient,) = torch.autograd.grad(
            energies.sum(), vectors, retain_graph=True, allow_unused=True
        )
    if gradient is None or not bool(gradient.any()):
        raise GradientError(
            f"the energies of member {member} of the module do not depend on the pair vectors, so "
            "no force follows from them; compute them from vectors, without detach() or no_grad()"
        )
    if not bool(torch.isfinite(gradient).all()):
        raise GradientError(
            f"the gradient of member {member} of the module is not finite; expected finite forces"
        )


def _check_invariant(said: _Said, turned: _Said) -> None:
    for name, value, again in zip(_Said._fields, said, turned, strict=True):
        if value is None or again is None:
            continue
        change = float((value - again).detach().abs().max())
        size = float(value.detach().abs().max())
        if change > TOLERANCE * size:
            raise ValueError(
                f"the module's {name} change by {change:.2g} (of {size:.2g}) when the structure is "
                "turned; return rotation invariant parts alone (l = 0)"
            )


def _digest(said: Sequence[_Said]) -> str:
    sizes = [
        float(value.detach().to(torch.float64).square().mean().sqrt())
        for one in said
        for value in (*one.energies, one.features)
    ]
    text = " ".join(np.format_float_scientific(size, 3) for size in sizes)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
