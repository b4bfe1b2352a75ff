"""Targets of the step, and what was found, with as many threads as were tried."""

from __future__ import annotations

from typing import Any, NamedTuple

OF_FIGURES = (
    ("a biased step / an unbiased one", "<=", 1.2, "biased / unbiased"),
    ("TorchANI's ensemble / our step with u and its bias", ">=", 6.0, "TorchANI / biased"),
    ("walker-steps a second of 8 walkers / of one", ">=", 3.0, "8 x one walker / 8 walkers"),
    ("walker-steps a second of 64 walkers / of one", ">=", 4.0, "64 x one walker / 64 walkers"),
)
NETWORKS = ("64 walkers: the networks' rate / that of a large matrix product", ">=", 0.5)
SIZES = ("200 to 2,000 atoms: largest time per atom / smallest", "<=", 1.2)


class Target(NamedTuple):
    """A target: its name, what was found, the goal in words, and whether it is met."""

    name: str
    value: float
    goal: str
    met: bool


def targets(found: dict[str, Any]) -> list[Target]:
    """Return the targets that these results can tell of, with the most threads that were tried."""
    ratios: dict[str, float] = found.get("figures", {})
    given = [(*words, ratios.get(name)) for *words, name in OF_FIGURES]
    given.append((*NETWORKS, _networks(found)))
    given.append((*SIZES, _spread(found)))
    return [_target(*one) for one in given if one[-1] is not None]


def _spread(found: dict[str, Any]) -> float | None:
    blocks = found.get("scaling", [])
    return blocks[-1]["spread"] if blocks and len(blocks[-1]["rows"]) > 1 else None


def _networks(found: dict[str, Any]) -> float | None:
    cases = found["limit"][-1]["cases"] if found.get("limit") else []
    values = [case["networks_of_matrix_rate"] for case in cases if case["walkers"] == 64]
    return values[0] if values else None


def _target(name: str, sign: str, goal: float, value: float) -> Target:
    met = value <= goal if sign == "<=" else value >= goal
    return Target(name, value, f"{'at most' if sign == '<=' else 'at least'} {goal:g}", met)
