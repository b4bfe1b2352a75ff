"""The page of `ammonia_attack.py` from its figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from uncv.plots import COLOURS

NAMES = {
    "before": "before",
    "attack": "attacks",
    "random 0.1 Å": "random, 0.1 Å",
    "random, size of attacks": "random, as large as attacks",
    "dynamics 300 K": "dynamics, 300 K",
}
MARKERS = {
    "dynamics 300 K": "^",
    "random 0.1 Å": "v",
    "random, size of attacks": "x",
    "attack": "o",
}
PLANAR = 0.1  # Å
PAGE = """\
# Ammonia: adversarial attacks find the way to inversion

Written by `python benchmarks/ammonia_attack.py --work FOLDER --report docs/benchmarks` from runs of
the seeds {seeds}, on {cores} cores ({machine}), one thread; Python {python}, {versions}.

**Question.** The data set of Schwalbe-Koda, Tan and Gómez-Bombarelli (Nat. Commun. 12, 5104, 2021)
begins with ammonia near its equilibrium. An ensemble trained on these {frames} frames has seen no
molecule whose N is less than {lowest:.2f} Å away from the plane of its hydrogens. Do attacks find
the planar one, and what do {labels} labels teach about the barrier of inversion?

**Labels.** BP86-D3(BJ)/def2-SVP by PySCF with density fitting, for the frames of the data set too.
Against its published labels ({compared} distinct frames) the root mean square difference is
{force:.3f} eV/Å in the forces, which are {scale:.2f} eV/Å, and {energy:.1f} meV in the energies
beside a constant. That is small, but no less than the errors of a good potential; so no labels are
mixed. The barrier of this reference, along C3v structures with the distance of H from the axis
relaxed, is **{barrier:.3f} eV**.

**Methods.** {attacks} frames are made by each, and {labels} of them chosen by LCMD after duplicates
are dropped. *Attacks*: {steps} steps, {kelvin:,.0f} K, trust radius 0.5 Å. *Random*: Gaussian
displacements of 0.1 Å, or as large as those of the attacks. *Dynamics*: {attacks} walkers, 1 ps
each at 300 K on the potential, without bias. Then an ensemble of four is trained anew on all.

{table}

Means of the seeds and, in brackets, each. *Barrier* is E(planar) − E(minimum) of the potential on
the reference's path, *path* the root mean square error along it (the minimum as zero), *distorted*
the errors on the {test} distorted frames of the data set, which no training saw. *Outside* counts
the labelled frames flatter than any training frame, *lowest* is their least height.

![Energy, uncertainty and where the frames are](ammonia_attack.png)

**Temperature.** All {attacks} attacks of each seed, before anything is labelled:

{sweep}

*Planar*: N less than {planar} Å from the plane. *Crossed*: beyond it, seen from the start of the
attack. *Energy*: the predicted median above the lowest training frame. *Ended*: unphysical before
the last step. *s*: seconds for all attacks, on a machine that was busy.

{verdict}

**What this cannot show.** The descriptor is invariant under inversion, so an inverted ammonia and
its mirror image are one structure to the potential, of one energy. What the training data lack is
the region around the plane, not the other side; and the plane mirrors u, so attacks have no reason
to pass it. They also go to where ammonia is steeper than any training frame, and to longer bonds: a
part of the labels is spent there. And the reference has a small basis: its barrier is not that of
experiment.
"""


def write_page(folder: Path, found: dict[str, Any]) -> None:
    """Write page, figures as JSON, and picture."""
    about, runs = found["about"], found["runs"]
    first, residual = runs[0], runs[0]["residual"]
    text = PAGE.format(
        seeds=", ".join(str(run["seed"]) for run in runs),
        cores=about["cores"],
        machine=about["machine"],
        python=about["python"],
        versions=", ".join(f"{name} {number}" for name, number in about["versions"].items()),
        frames=first["training_frames"],
        lowest=min(first["training_heights"]),
        labels=about["labels"],
        compared=residual["frames"],
        force=residual["force_rms"],
        scale=residual["force_scale"],
        energy=1e3 * residual["energy_rms"],
        barrier=first["path"]["barrier"],
        attacks=about["attack"]["attacks"],
        steps=about["attack"]["steps"],
        kelvin=about["attack"]["temperature"],
        test=first["test_frames"],
        planar=PLANAR,
        table=_table(runs),
        sweep=_sweep(runs),
        verdict=_verdict(runs),
    )
    (folder / "ammonia_attack.md").write_text(text, encoding="utf-8")
    (folder / "ammonia_attack.json").write_text(json.dumps(_rounded(found)), encoding="utf-8")
    _draw(folder / "ammonia_attack.png", runs)


def _rounded(value: Any) -> Any:
    """Return plain values with seven digits of each number behind its point."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return round(value, 7) if isinstance(value, float) else value


def _values(runs: list[dict[str, Any]], method: str, key: str, scale: float) -> np.ndarray:
    return scale * np.array([run["methods"][method]["judged"][key] for run in runs])


def _each(values: np.ndarray, digits: int) -> str:
    return f"{values.mean():.{digits}f} ({', '.join(f'{v:.{digits}f}' for v in values)})"


def _table(runs: list[dict[str, Any]]) -> str:
    columns = (
        ("barrier error, meV", "barrier_error", 1e3, 0),
        ("path, meV", "path_rmse", 1e3, 0),
        ("distorted: energy, meV", "energy_rmse", 1e3, 0),
        ("forces, eV/Å", "force_rmse", 1.0, 2),
    )
    titles = ["frames of", *[name for name, *_ in columns], "outside", "lowest, Å"]
    rows = [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    for method, name in NAMES.items():
        cells = [_each(_values(runs, method, key, scale), d) for _, key, scale, d in columns]
        heights = [run["methods"][method].get("heights") for run in runs]
        cells += ["–", "–"] if heights[0] is None else _flat(runs, heights)
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _flat(runs: list[dict[str, Any]], heights: list[list[float]]) -> list[str]:
    known = [min(run["training_heights"]) for run in runs]
    outside = [sum(h < low for h in each) for each, low in zip(heights, known, strict=True)]
    lowest = [f"{min(each):.2f}" for each in heights]
    return [", ".join(map(str, outside)), ", ".join(lowest)]


def _sweep(runs: list[dict[str, Any]]) -> str:
    titles = (
        "K",
        "outside",
        "planar",
        "crossed",
        "energy, eV",
        "u, times",
        "distinct",
        "ended",
        "s",
    )
    rows = [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    for step in range(len(runs[0]["sweep"])):
        each = [run["sweep"][step] for run in runs]
        heights = [np.array(one["heights"]) for one in each]
        lowest = [min(run["training_heights"]) for run in runs]
        counts = (
            [int((np.abs(h) < low).sum()) for h, low in zip(heights, lowest, strict=True)],
            [int((np.abs(h) < PLANAR).sum()) for h in heights],
            [int((h < 0).sum()) for h in heights],
        )
        cells = [", ".join(map(str, count)) for count in counts]
        cells += [
            ", ".join(f"{round(np.median(one['energy']), 2) + 0.0:.2f}" for one in each),
            ", ".join(f"{one['growth']:.0f}" for one in each),
            ", ".join(str(one["distinct"]) for one in each),
            ", ".join(str(one["ended"]) for one in each),
            ", ".join(f"{one['seconds']:.1f}" for one in each),
        ]
        rows.append(f"| {each[0]['temperature']:,.0f} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _verdict(runs: list[dict[str, Any]]) -> str:
    error = {m: _values(runs, m, "barrier_error", 1e3) for m in NAMES}
    lowered = int((error["attack"] < error["before"]).sum())
    others = []
    for method, values in error.items():
        if method not in ("before", "attack"):
            wins = int((error["attack"] < values).sum())
            others.append(f"{NAMES[method]} to {values.mean():.0f} meV (attacks win {wins})")
    pools = [run["methods"]["dynamics 300 K"]["pool_heights"] for run in runs]
    return (
        f"**Result.** One round of attacks lowers the error of the barrier in {lowered} of "
        f"{len(runs)} seeds,\nin the mean from {error['before'].mean():.0f} to "
        f"{error['attack'].mean():.0f} meV. At equal labels the others lower it to:\n"
        + ";\n".join(others)
        + f".\nThe walkers came no nearer to the plane than {min(map(min, pools)):.2f} Å: "
        "what their labels say of the barrier\nis extrapolated, from frames of low energy."
    )


def _draw(path: Path, runs: list[dict[str, Any]]) -> None:
    figure = Figure(figsize=(11.5, 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    energy, uncertainty, landed = figure.subplots(1, 3)
    heights = np.array(runs[0]["path"]["height"])
    reference = np.array(runs[0]["path"]["energy"])
    energy.plot(heights, reference - reference.min(), "k-", lw=2.2, label="reference")
    for method, colour, marker in (("before", COLOURS[1], "s"), ("attack", COLOURS[0], "o")):
        for number, run in enumerate(runs):
            said = run["methods"][method]["judged"]
            name = f"{'before' if method == 'before' else 'after attacks'}" if not number else None
            style = {"color": colour, "marker": marker, "ms": 3, "lw": 1, "label": name}
            energy.plot(heights, said["energy"], **style)
            uncertainty.plot(heights, said["uncertainty"], **style)
    energy.set(ylabel="energy, eV", title="along inversion")
    uncertainty.set(ylabel="uncertainty of the energy, eV", yscale="log", title="uncertainty")
    markers = {
        "dynamics 300 K": "^",
        "random 0.1 Å": "v",
        "random, size of attacks": "x",
        "attack": "o",
    }
    for place, (method, marker) in enumerate(markers.items()):
        h = np.concatenate([run["methods"][method]["heights"] for run in runs])
        e = np.concatenate([run["methods"][method]["energies"] for run in runs])
        colour = COLOURS[0] if method == "attack" else COLOURS[place + 2]
        landed.plot(h, e, marker, ms=4, ls="none", color=colour, label=NAMES[method])
    landed.set(ylabel="energy above the lowest, eV", title="labelled frames")
    landed.set_ylim(0.0, 1.4 * landed.get_ylim()[1])  # room for the legend
    low, high = min(runs[0]["training_heights"]), max(runs[0]["training_heights"])
    for axis in (energy, uncertainty, landed):
        axis.axvspan(low, high, color="0.9", zorder=0, label="training" if axis is energy else None)
        axis.set_xlabel("height of N above the plane of H, Å")
        axis.grid(visible=True, color="#dddddd", lw=0.6)
    energy.legend(fontsize=8)
    landed.legend(fontsize=8)
    figure.savefig(path, dpi=150)
