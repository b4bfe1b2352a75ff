"""The page of `alanine_dipeptide.py` from the figures of all its campaigns."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from alanine_dipeptide_figure import draw
from alanine_dipeptide_figures import coverage_by_labels
from alanine_dipeptide_methods import DEVIATIONS, METHODS

import uncv
from uncv.analysis import dihedrals
from uncv.journal import Journal

Row = dict[str, Any]
PUBLISHED = {
    96: ((0.52, 0.46), (25.0, 22.0), (0.24, 0.24)),
    160: ((0.56, 0.82), (25.0, 23.0), (0.19, 0.18)),
    256: ((0.56, 0.89), (23.0, 18.0), (0.17, 0.16)),
    340: ((0.56, 0.90), (34.0, 2.0), (0.17, 0.09)),
    512: ((0.57, 0.94), (24.0, 1.5), (0.12, 0.068)),
}
"""Unbiased and biased at 300 K: coverage, meV/atom, eV/Å; read off a plot, 336 labels for 340."""
TARGETS = {
    160: {"coverage": 0.80},
    340: {"coverage": 0.90, "energy_rmse_mev_per_atom": 2.0, "force_rmse_ev_per_angstrom": 0.09},
    512: {"coverage": 0.94, "energy_rmse_mev_per_atom": 1.5, "force_rmse_ev_per_angstrom": 0.068},
}
NAMES = {
    "coverage": ("coverage", "{:.2f}"),
    "energy_rmse_mev_per_atom": ("energy, meV/atom", "{:.1f}"),
    "force_rmse_ev_per_angstrom": ("forces, eV/Å", "{:.3f}"),
}
PEPTIDE = ((1, 4, 6, 8), (8, 14, 16, 18))
"""Torsions ω of the two peptide bonds: 180° in all start structures and nearly all test frames."""
PAGE = """\
# Alanine dipeptide: what finds most, and what it teaches

Written by `python benchmarks/alanine_dipeptide.py --out FOLDER --report docs/benchmarks` from the
campaigns in the folder ({cores} cores, {machine}, one thread a campaign, times by the clock on
cores shared with other programs; Python {python}, {versions}).

**Question.** Active learning of alanine dipeptide in vacuum, labelled by AMBER (ff14SB), from eight
displaced start structures, eight labels a round: how much of (φ, ψ) does each way to drive the
dynamics find, and how good is the potential that its labels train? The protocol is that of Zaverkin
et al., npj Comput. Mater. 10, 83 (2024). It differs in this:

{deviations}

**By number of labels.** Coverage is that of the frames stored every 25 steps, over five levels of
cells. Errors are those of the campaign's potential at that point, on {test} frames of AMBER
dynamics at 1200 K. Published figures are read off a plot, of one seed, at
336 labels where 340 stands here; their frames lie further apart and their rounds are longer, so
that coverages are compared at equal labels and not at equal frames. Descriptor, weight decay and
epochs were chosen on other frames of AMBER at 1200 K (and two weight decays, once, on a part of the
test set): the test is not quite blind to that choice.{notes}

{labels_tables}

![Coverage by frames, coverage and errors by labels](alanine_dipeptide.png)

**By number of frames**, and what the runs were worth:

{frames_table}

τ is the longest integrated autocorrelation time of cos and sin of φ and ψ, with its standard error;
the frames of all rounds are one series of each walker. It is no time of one potential: model and
bias change from round to round. *Stops*: walkers that broke a rule and began again. *Cis labels*
have a peptide bond turned by more than 90°; the test set has one such frame in a thousand, so that
these labels teach what it does not ask. *Last training* is that of the new networks: epochs at
most, and the share of the labels that chose the best of these and ended it. Times are by the clock,
beside other programs and with their pauses, if any; *all* is from the first line of the journal to
the last, without the time between an end and a new start. A campaign has new networks only where
it has errors at that number of labels; its coverage is known at all.

**Against the targets**, of the best method at 300 K with a bias:

{verdict}

**Methods.**

{methods}
"""


def write_page(folder: Path, out: Path) -> None:
    """Write page, figure and JSON about all campaigns in a folder."""
    files = sorted(out.glob("*_seed_*_labels_*.json"))
    order = list(METHODS)
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    rows.sort(key=lambda r: (order.index(r["method"]), r["seed"], r["labels"]))
    names = ("torch", "openmm", "numpy")
    about = {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": ", ".join(f"{name} {version(name)}" for name in names),
        "test": 2000,
    }
    _read_runs(rows, out)
    draw(folder / "alanine_dipeptide.png", rows, PUBLISHED)
    notes = out / "notes.md"  # what the campaigns themselves do not know of how they were run
    text = PAGE.format(
        **about,
        notes="\n" + notes.read_text(encoding="utf-8") if notes.exists() else "",
        deviations="\n".join(f"- {line}" for line in DEVIATIONS),
        labels_tables="\n\n".join(_by_labels(rows, name) for name in NAMES),
        frames_table=_by_frames(_last(rows)),
        verdict=_verdict(rows),
        methods=_methods(rows),
    )
    (folder / "alanine_dipeptide.md").write_text(text, encoding="utf-8")
    found = {"about": about, "rows": rows}
    (folder / "alanine_dipeptide.json").write_text(json.dumps(found, indent=1), encoding="utf-8")


def _read_runs(rows: list[Row], out: Path) -> None:
    """Add what the run directories know to the rows."""
    counts = sorted({row["labels"] for row in rows})
    for row in rows:
        directory = out / f"{row['method']}_seed_{row['seed']}"
        labelled = uncv.read(directory / "labelled.extxyz")
        turned = np.abs(dihedrals(labelled[np.arange(row["labels"])], PEPTIDE)) < np.pi / 2
        row["cis_labels"] = float(turned.any(axis=1).mean())
    for row in _last(rows):
        directory = out / f"{row['method']}_seed_{row['seed']}"
        known = [n for n in counts if n <= row["labels"]]
        row["coverage_by_labels"] = coverage_by_labels(directory, known)
        config = directory / "config.yaml"
        given = yaml.safe_load(config.read_text())["potential"] if config.exists() else {}
        events = Journal(directory / "journal.jsonl").events()
        went_on = [(a, b) for a, b in pairwise(events) if b["event"] != "continued"]
        row["minutes"] = sum(b["time"] - a["time"] for a, b in went_on) / 60
        row["last_settings"] = [given.get("epochs_final"), given.get("validation_share")]


def _values(rows: list[Row], name: str) -> dict[tuple[str, int, int], float]:
    """Return a figure by method, seed and number of labels."""
    known = {(row["method"], row["seed"], row["labels"]): row[name] for row in rows}
    if name == "coverage":
        for row in _last(rows):
            of = row["method"], row["seed"]
            known |= {(*of, n): value for n, value in row["coverage_by_labels"].items()}
    return known


def _of(row: Row) -> str:
    return f"{row['method']}" + (f" (seed {row['seed']})" if row["seed"] else "")


def _last(rows: list[Row]) -> list[Row]:
    """Return the row of each campaign with the most labels."""
    return list({(row["method"], row["seed"]): row for row in rows}.values())


def _by_labels(rows: list[Row], name: str) -> str:
    title, form = NAMES[name]
    labels = sorted({row["labels"] for row in rows})
    at = _values(rows, name)
    lines = [
        f"| {title}, at labels | " + " | ".join(map(str, labels)) + " |",
        "|---|" + "---|" * len(labels),
    ]
    for row in _last(rows):
        found = [at.get((row["method"], row["seed"], n)) for n in labels]
        lines.append(_line(_of(row), [form.format(v) if v is not None else "" for v in found]))
    place = list(NAMES).index(name)
    for which, says in enumerate(("published, unbiased 300 K", "published, adaptive, posterior")):
        known = [PUBLISHED[n][place][which] if n in PUBLISHED else None for n in labels]
        lines.append(_line(says, [form.format(v) if v is not None else "" for v in known]))
    return "\n".join(lines)


def _by_frames(rows: list[Row]) -> str:
    counts = sorted({int(n) for row in rows for n in row["coverage_at"]})
    head = ["coverage, at frames", *(f"{n:,}" for n in counts)]
    head += ["τ, ps", "stops", "cis labels"]
    head += ["last training", "training, min", "longest of a round, s", "sampling, min"]
    head += ["all, min"]
    lines = [_line(head[0], head[1:]), "|---|" + "---|" * (len(head) - 1)]
    for row in rows:
        cells = [
            f"{row['coverage_at'][str(n)]:.2f}" if str(n) in row["coverage_at"] else ""
            for n in counts
        ]
        seconds = row["seconds"]
        cells += [_tau(row), str(row["stops"]), f"{row['cis_labels']:.0%}"]
        epochs, share = row["last_settings"]
        cells += [f"{epochs}, {share:.0%}" if epochs else "–"]
        cells += [f"{seconds['training'] / 60:.0f}", f"{row['longest_training']:.0f}"]
        cells += [f"{seconds['sampling'] / 60:.0f}", f"{row['minutes']:.0f}"]
        lines.append(_line(_of(row), cells))
    return "\n".join(lines)


def _tau(row: Row) -> str:
    if not row["autocorrelation"]:
        return "–"
    time, error = max(row["autocorrelation"].values())
    between = row["frame_ps"]
    return f"{time * between:.1f} ± {error * between:.1f}"


def _line(name: str, cells: list[str]) -> str:
    return f"| {name} | " + " | ".join(cells) + " |"


def _verdict(rows: list[Row]) -> str:
    campaigns = {(r["method"], r["seed"]): r for r in rows if METHODS[r["method"]].biased}
    lines = ["| at | figure | target | found | by |", "|---|---|---|---|---|"]
    for labels, wanted in TARGETS.items():
        for name, target in wanted.items():
            found = {
                (method, seed): value
                for (method, seed, count), value in _values(rows, name).items()
                if count == labels and (method, seed) in campaigns
            }
            if not found:
                continue
            rising = name == "coverage"
            best = (max if rising else min)(found, key=found.__getitem__)
            title, form = NAMES[name]
            sign = "≥" if rising else "≤"
            lines.append(
                f"| {labels} labels | {title} | {sign} {form.format(target)} | {found[best]:.3g} "
                f"| {_of(campaigns[best])} |"
            )
    return "\n".join(lines + _at_equal_frames(_last(rows)))


def _at_equal_frames(rows: list[Row]) -> list[str]:
    """Return lines of the best biased method beside unbiased dynamics at 1200 K."""
    none: dict[str, float] = {}
    hot = next((r["coverage_at"] for r in rows if r["method"] == "unbiased-1200"), none)
    lines = []
    for count, target in hot.items():
        of = [r for r in rows if METHODS[r["method"]].biased and count in r["coverage_at"]]
        if of:
            best = max(of, key=lambda r: r["coverage_at"][count])
            lines.append(
                f"| {int(count):,} frames | coverage | ≥ {target:.3f} (unbiased-1200) | "
                f"{best['coverage_at'][count]:.3f} | {_of(best)} |"
            )
    return lines


def _methods(rows: list[Row]) -> str:
    used = dict.fromkeys(row["method"] for row in rows)
    return "\n".join(f"- *{name}*: {METHODS[name].says}." for name in used)
