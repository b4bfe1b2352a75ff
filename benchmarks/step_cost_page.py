"""The page of `step_cost.py` from its figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from step_cost_figure import CALLS, draw, label

INTRODUCTION = """\
Written by `python benchmarks/step_cost.py --report docs/benchmarks` ({date}, {minutes:.0f} min)
on {machine} ({vectors}), {cores} cores, load {load:.1f} before the first turn. {versions}. A step
is energy, u, and forces of E + V(u). Contenders take turns in one process (apax in its own), ratios
are medians of those of neighbouring turns.
"""
WALKERS = """\
What walkers share is the reading of the weights and the calls of Python: the less of both a step of
one walker has, the less many walkers can gain over one. The second table says how far each is from
the limit of the machine.
"""
BOUND = """\
At that limit a step of 64 walkers would take {limit:.1f} ms, 64 of the one walker's {one:.2f} ms
are {alone:.1f}: the ratio could be {ratio:.1f} at most.
"""
PROFILE = """\
One thing is varied at a time from the base: alanine dipeptide (22 atoms), one walker, the eight
members of ANI-1x, a linear bias on the spread of their energies, the Python backend, one thread.
Times are those of a step of OpenMM (Langevin, 0.5 fs, Reference platform), shares are parts of
them. *Descriptor* and *networks* are the compiled kernels or their plain forms; the networks' give
each member's gradient with its energy. *Backward* is what else derivatives take, *lists* the
making of neighbour lists when atoms have moved, *engine* the integrator and what OpenMM does to
call Python. A TorchForce runs the exported file out of sight, so model and engine are one there.
76 atoms are the cell of MIL-53(Al), 200 and 1,000 a liquid of methanol and ammonia.
Members other than eight, that cell, and the uncertainties of one model have drawn weights of
ANI-1x's sizes; the cost does not depend on the values.
"""
LIMIT = """\
How long the arithmetic of a step takes if all of it ran at the rate of a large matrix product
(1024³, torch, single precision), which this machine was asked for in the same turns. Networks: each
weight is multiplied and added once up and once down for each atom and member, and must be read once
(as fast as a sum over as many bytes is, from whatever cache holds them). Descriptor: {pair}
operations for each pair within 5.2 Å, {triple} for each pair of neighbours within 3.5 Å,
derivatives included. *At these shapes* is torch's own rate for the very products of the networks.
Copying more than any cache holds runs at {copy}.
"""
SCALING = """\
Periodic boxes of the same liquid, eight members of ANI-1x, biased; OpenMM, 300 K. The time includes
the neighbour lists, which are made again when an atom has moved by 0.3 Å. Without them the largest
time per atom is {without} times the smallest.
"""
PEERS = """\
Alanine dipeptide, eight members, one walker, as users of each program run it: ASE's VelocityVerlet,
OpenMM's Langevin integrator on the Reference platform, or the program's own engine; TorchANI's
weights never require a gradient. TorchANI and uncv run the same ANI-1x, in single precision:
cutoffs of 5.2 Å (pairs) and 3.5 Å (triples), a descriptor of 384 numbers, and 74,000 to 94,000
weights a member and element. {apax}
"""


def write_page(found: dict[str, Any], folder: Path) -> None:
    """Write step_cost.md, step_cost.json and, of a profile, step_cost.png."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "step_cost.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "step_cost.md").write_text(page(found))
    if "profile" in found:
        draw(found["profile"], folder / "step_cost.png")


def page(found: dict[str, Any]) -> str:
    """Return the page as Markdown."""
    about = found["about"]
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    said = {**about, "versions": versions}
    parts = ["# What a step costs: parts, limit, peers", _wrapped(INTRODUCTION.format(**said))]
    parts.append(_table(("target", "found", "goal", ""), _targets(found)))
    parts.append(_wrapped(WALKERS + _bound(found) + _again(about.get("again", []))))
    for name, write in (
        ("profile", _profile), ("limit", _limit), ("scaling", _scaling), ("peers", _peers),
    ):  # fmt: skip
        if name in found:
            parts += write(found)
    return "\n\n".join(parts) + "\n"


def _bound(found: dict[str, Any]) -> str:
    """Return how many times the walker-steps of one 64 walkers could reach on this machine."""
    one = found.get("figures", {}).get("biased ms")
    cases = found["limit"][-1]["cases"] if found.get("limit") else []
    limits = [case["limit_ms"] for case in cases if case["walkers"] == 64]
    if one is None or not limits:
        return ""
    alone = 64 * one
    return BOUND.format(limit=limits[0], one=one, alone=alone, ratio=alone / limits[0])


def _again(parts: Sequence[str]) -> str:
    """Return which parts were measured in a later run of their own."""
    if not parts:
        return ""
    given = " ".join(parts)
    return f"What `--parts {given}` gives was measured once more, after the others."


def _targets(found: dict[str, Any]) -> list[Sequence[str]]:
    return [
        (t["name"], f"{t['value']:.2f}", t["goal"], "met" if t["met"] else "**not met**")
        for t in found["targets"]
    ]


def _profile(found: dict[str, Any]) -> list[str]:
    header = ("case", "threads", "ms", "processor, ms", *CALLS)
    rows = []
    for row in found["profile"]:
        shares = [sum(row["shares"][p] for p in parts) for parts in CALLS.values()]
        times = (str(row["threads"]), f"{row['ms']:.2f}", f"{row['processor_ms']:.2f}")
        rows.append((label(row), *times, *(f"{share:.0%}" if share else "" for share in shares)))
    gpu = found["cuda"]
    after = f"GPU: {gpu['skipped']}." if "skipped" in gpu else _gpu(gpu)
    return [
        "## Where the time goes", _wrapped(PROFILE), "![parts of a step](step_cost.png)",
        _table(header, rows), after,
    ]  # fmt: skip


def _gpu(gpu: dict[str, Any]) -> str:
    times = ", ".join(f"{case}: {ms:.2f} ms" for case, ms in gpu["ms"].items())
    return f"{gpu['device']}, the collective variable in plain torch without an engine: {times}."


def _limit(found: dict[str, Any]) -> list[str]:
    header = (
        "atoms × walkers", "threads", "pairs, triples", "MFLOP networks, descriptor", "weights, MB",
        "GFLOP/s large, at these shapes", "reading, GB/s", "limit, ms (bound by)", "step, ms",
        "step / limit", "networks, ms (GFLOP/s)", "of large, of these shapes", "descriptor, ms",
    )  # fmt: skip
    rows = []
    for block in found["limit"]:
        for c in block["cases"]:
            mflop = (c["network_operations"] / 1e6, c["descriptor_operations"] / 1e6)
            networks, shapes = c["networks_of_matrix_rate"], c["networks_of_shapes_rate"]
            rows.append((
                f"{c['atoms']:,} × {c['walkers']}", str(block["threads"]),
                f"{c['pairs']:,}, {c['triples']:,}", f"{mflop[0]:,.0f}, {mflop[1]:,.1f}",
                f"{c['weights'] / 1e6:.1f}",
                f"{c['matrix_gflop_per_s']:.0f}, {c['shapes_gflop_per_s']:.0f}",
                f"{c['reading_gb_per_s']:.1f}", f"{c['limit_ms']:.2f} ({c['bound_by']})",
                f"{c['step_ms']:.2f}", f"**{c['over_limit']:.2f}**",
                f"{c['networks_ms']:.2f} ({c['networks_gflop_per_s']:.0f})",
                f"{networks:.0%}, {shapes:.0%}", f"{c['descriptor_ms']:.2f}",
            ))  # fmt: skip
    copies = "; ".join(
        f"{b['copy_gb_per_s']:.1f} GB/s ({_threads(b['threads'])})" for b in found["limit"]
    )
    of = found["limit"][0]
    text = LIMIT.format(pair=of["pair_operations"], triple=of["triple_operations"], copy=copies)
    return ["## The limit", _wrapped(text), _table(header, rows)]


def _scaling(found: dict[str, Any]) -> list[str]:
    rows = [
        (f"{r['atoms']:,}", str(b["threads"]), f"{r['step_ms']:.1f}", f"{r['us_per_atom']:.1f}",
         f"{r['processor_us_per_atom']:.1f}", f"{r['neighbours_share']:.0%}")
        for b in found["scaling"] for r in b["rows"]
    ]  # fmt: skip
    header = ("atoms", "threads", "step, ms", "µs per atom", "processor, µs per atom", "lists")
    without = " and ".join(
        f"{b['spread_without_lists']:.2f} ({_threads(b['threads'])})" for b in found["scaling"]
    )
    return ["## Size", _wrapped(SCALING.format(without=without)), _table(header, rows)]


def _peers(found: dict[str, Any]) -> list[str]:
    rows = [
        (r["name"], r["gives"], str(b["threads"]), f"{r['ms']:.2f}", f"{r['over_ours']:.2f}",
         f"{r['processor_ms']:.2f}", f"{r['over_ours_processor']:.2f}")
        for b in found["peers"] for r in b["rows"]
    ]  # fmt: skip
    header = ("program", "gives", "threads", "ms", "× uncv in OpenMM", "processor, ms", "× uncv")
    return ["## Peers", _wrapped(PEERS.format(apax=_apax(found["apax"]))), _table(header, rows)]


def _apax(apax: dict[str, Any]) -> str:
    if "skipped" in apax:
        return f"Without apax: {apax['skipped']}."
    layers = " and ".join(str(width) for width in apax["layers"])
    return (
        f"apax {apax['apax']} (JAX {apax['jax']}) runs a full ensemble of its default model with "
        f"drawn weights, on which its cost does not depend: Gaussian moments within "
        f"{apax['cutoff']:g} Å, a descriptor of {apax['descriptor']} numbers, layers of {layers}, "
        f"{apax['network_weights']:,} weights a member, shared by the elements. What XLA compiles "
        "is compiled before the first turn; with one thread it may use one core alone."
    )


def _threads(number: int) -> str:
    return "one thread" if number == 1 else f"{number} threads"


def _wrapped(text: str) -> str:
    return fill(" ".join(text.split()), 100, break_long_words=False, break_on_hyphens=False)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
