"""A step beside the least time in which this machine could do its arithmetic.

Networks: the longer of their operations at the rate of a large matrix product and the reading of
their weights. Descriptor: its operations at that same rate. Machine and step take turns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from step_cost_machine import AsNetworks, Large, copying, reading
from step_cost_stepper import Stepper
from step_cost_systems import ani1x, structure
from step_cost_turns import Contender, FloatArray, Times, repeated, take_turns
from step_cost_work import Work, pair_operations, triple_operations, work

CASES = ((22, 1), (22, 64), (1000, 1))
"""Atoms and walkers."""


class Rates(NamedTuple):
    """What the machine achieved in each turn (T,): operations a second, and bytes read."""

    large: FloatArray
    shapes: FloatArray
    reading: FloatArray


def limit(threads: int, turns: int, cases: tuple[tuple[int, int], ...] = CASES) -> dict[str, Any]:
    """Return rates of the machine and, for each case, time, limit and their ratio."""
    torch.set_num_threads(threads)
    return {
        "threads": threads,
        "pair_operations": pair_operations(ani1x().settings),
        "triple_operations": triple_operations(ani1x().settings),
        "copy_gb_per_s": copy_rate(turns),
        "cases": [one_case(atoms, walkers, turns) for atoms, walkers in cases],
    }


def copy_rate(turns: int) -> float:
    """Return GB/s of copying more than any cache holds."""
    copy, size = copying()
    took = take_turns({"copy": Contender(copy)}, min(turns, 5), warm=1)["copy"]
    return size / float(np.median(took.clock)) / 1e9


def one_case(atoms: int, walkers: int, turns: int) -> dict[str, Any]:
    """Return what a step of one system takes, needs, and could take."""
    potential, numbers = ani1x(), structure(atoms).numbers[0]
    needs = work(potential, structure(atoms), walkers)
    counts = {z: walkers * int((numbers == z).sum()) for z in potential.elements}
    large, shapes, stepper = Large(), AsNetworks(potential, counts), Stepper(atoms, walkers)
    read, size = reading(needs.weights)
    runs: dict[str, Callable[[], Any]] = {
        "large": large, "shapes": shapes, "read": read, "step": stepper, "parts": stepper.watched,
    }  # fmt: skip
    steps = 1 if atoms * walkers > 500 else 5
    times = take_turns({name: repeated(run, steps) for name, run in runs.items()}, turns)
    rates = Rates(
        large.operations / times["large"].clock,
        shapes.operations / times["shapes"].clock,
        size / times["read"].clock,
    )
    about = {"atoms": atoms, "walkers": walkers, **needs._asdict()}
    parts = [
        seconds_of(stepper, parts, turns, steps)
        for parts in (("networks", "networks, backward"), ("descriptor", "descriptor, backward"))
    ]
    return about | compared(needs, rates, times["step"], *parts)


def seconds_of(stepper: Stepper, parts: tuple[str, ...], turns: int, steps: int) -> FloatArray:
    """Return seconds of parts of a step, means of each turn that counted (T,)."""
    kept = [sum(seconds[part] for part in parts) for seconds in stepper.seconds[-turns * steps :]]
    return np.array(kept).reshape(turns, steps).mean(axis=1)


def compared(
    needs: Work, rates: Rates, step: Times, networks: FloatArray, descriptor: FloatArray
) -> dict[str, Any]:
    """Return medians over turns of rates, times, limits and ratios."""
    arithmetic, reads = needs.network_operations / rates.large, needs.weights / rates.reading
    least_networks = np.maximum(arithmetic, reads)
    least = least_networks + needs.descriptor_operations / rates.large
    achieved = needs.network_operations / networks
    found = {
        "matrix_gflop_per_s": rates.large / 1e9,
        "shapes_gflop_per_s": rates.shapes / 1e9,
        "reading_gb_per_s": rates.reading / 1e9,
        "step_ms": step.clock * 1e3,
        "step_processor_ms": step.processor * 1e3,
        "networks_ms": networks * 1e3,
        "descriptor_ms": descriptor * 1e3,
        "limit_ms": least * 1e3,
        "limit_networks_ms": least_networks * 1e3,
        "limit_descriptor_ms": (least - least_networks) * 1e3,
        "over_limit": step.clock / least,
        "networks_gflop_per_s": achieved / 1e9,
        "networks_of_matrix_rate": achieved / rates.large,
        "networks_of_shapes_rate": achieved / rates.shapes,
    }
    bound = "reading" if np.median(reads - arithmetic) > 0 else "arithmetic"
    return {name: float(np.median(values)) for name, values in found.items()} | {"bound_by": bound}
