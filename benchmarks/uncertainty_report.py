"""Table and figure of what `uncertainty.py` measured."""

from __future__ import annotations

import json
import platform
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from uncertainty_sets import SETS

COLUMNS = {
    "spearman": ("Spearman ρ", "higher is better"),
    "auroc": ("AUROC", "higher is better; 0.5 is chance"),
    "miscalibration_area": ("miscalibration area", "lower is better; 0 to 0.5"),
    "calibrated_nll": ("calibrated NLL", "lower is better; of forces in eV/Å"),
    "coverage": ("conformal coverage", "0.90 was promised in domain"),
}
IN_DOMAIN = ("in domain", "300 K")
BROKEN = {"acetylacetone": "acetyl-\nacetone", "malonaldehyde": "malon-\naldehyde"}
COLOURS = ("#1b6ca8", "#b5542b", "#e0a33c", "#2f7d4f", "#7bb661", "#8d6bb1", "#c2478d", "#6d6d6d")
MARKERS = "oDdsP^vX"

Key = tuple[str, str, str]
Values = dict[Key, dict[str, list[float]]]


def write_report(results: Path, folder: Path) -> None:
    """Write uncertainty.md, uncertainty.json and uncertainty.png into a folder."""
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    rows.sort(key=lambda row: (list(SETS).index(row["set"]), row["seed"]))
    values: Values = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for name in (*COLUMNS, "force_rmse", "energy_rmse", "coverage_one_atom"):
            if row.get(name) is not None and np.isfinite(row[name]):
                values[row["set"], row["test"], row["estimator"]][name].append(row[name])
    folder.mkdir(parents=True, exist_ok=True)
    text = table(rows, values) + "\n".join(costs(folder)) + "\n"
    (folder / "uncertainty.md").write_text(text)
    rounded = [{k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in row.items()}
               for row in rows]  # fmt: skip
    lines = ",\n".join(json.dumps(row) for row in rounded)
    (folder / "uncertainty.json").write_text(f"[\n{lines}\n]\n")
    draw(values).savefig(folder / "uncertainty.png", dpi=140, bbox_inches="tight")


def table(rows: list[dict], values: Values) -> str:
    """Return the tables as Markdown."""
    seeds = sorted({row["seed"] for row in rows})
    text = [
        "# Uncertainties compared",
        "",
        f"Written by `benchmarks/uncertainty.py`; seeds {', '.join(map(str, seeds))}, mean and "
        f"spread (± standard deviation) over them. {platform.machine()}, torch {version('torch')}.",
        "",
        "Each line is an uncertainty on a test set; force errors are of the model it belongs to",
        "(the ensemble's mean, or a single model). "
        + "; ".join(f"{n}: {w}" for n, w in COLUMNS.values())
        + ".",
        "",
        *ranks(values),
        "",
        *exchangeable(rows),
    ]
    for name, test in dict.fromkeys((key[0], key[1]) for key in values):
        text += ["", f"## {name}, {test}", "", *_lines_of(name, test, values)]
    return "\n".join(text) + "\n"


def costs(folder: Path) -> list[str]:
    """Return what `uncertainty_cost.py` measured, where it was written beside this, as a table."""
    lines = [
        "",
        "## Cost of a biased step",
        "",
        "Over an unbiased step of the same single model, networks of the size of ANI-1x",
        "(`benchmarks/uncertainty_cost.py`); in brackets, how many times faster than the biased",
        "step of an ensemble of eight.",
    ]
    found = [
        json.loads(path.read_text()) for path in sorted(folder.glob("uncertainty_cost_*.json"))
    ]
    columns = [(run, name) for run in found for name in run["systems"]]
    if not columns:
        return []
    heads = [f"{name}, {_threads(run['threads'])}" for run, name in columns]
    lines += ["", f"| uncertainty | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for label in columns[0][0]["systems"]["22 atoms"]["over_plain"]:
        cells = []
        for run, name in columns:
            system = run["systems"][name]
            faster = system["ensemble_over"].get(label)
            beside = f" ({faster:.2f})" if faster else ""
            cells.append(f"{system['over_plain'][label]:.2f}{beside}")
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return lines


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def exchangeable(rows: list[dict]) -> list[str]:
    """Return the conformal coverage of exchangeable frames, over random splits, as a table."""
    lines = [
        "## Conformal coverage of exchangeable frames",
        "",
        "Frames of one distribution, parted 200 times at random into calibration and test; one",
        "atom of each frame counts. The mean is to be 0.90, and 99 % of the splits are to lie in",
        "the interval that the two samples allow (beta-binomial).",
        "",
        "| set | uncertainty | mean coverage | 99 % interval of a split | splits inside |",
        "|---|---|---|---|---|",
    ]
    found = defaultdict(list)
    for row in rows:
        if "resplit_mean" in row:
            found[row["set"], row["estimator"]].append(row)
    for (name, estimator), same in found.items():
        mean, low, high, inside = (
            np.mean([row[f"resplit_{key}"] for row in same])
            for key in ("mean", "low", "high", "inside")
        )
        cells = f"{mean:.3f} | {low:.3f} to {high:.3f} | {inside:.3f}"
        lines.append(f"| {name} | {estimator} | {cells} |")
    return lines


def _lines_of(name: str, test: str, values: Values) -> list[str]:
    heads = [head for head, _ in COLUMNS.values()]
    lines = [f"| uncertainty | error | {' | '.join(heads)} |", "|---" * (len(heads) + 2) + "|"]
    for key in [k for k in values if k[:2] == (name, test)]:
        found = values[key]
        cells = [_cell(found.get(column, [])) for column in COLUMNS]
        error = _cell(found.get("force_rmse", []), " eV/Å") if "force_rmse" in found else _cell(
            found.get("energy_rmse", []), " eV"
        )  # fmt: skip
        lines.append(f"| {key[2]} | {error} | {' | '.join(cells)} |")
    return lines


def _cell(found: list[float], unit: str = "") -> str:
    if not found:
        return "–"
    return f"{np.mean(found):.3f} ± {np.std(found):.3f}{unit}"


def ranks(values: Values) -> list[str]:
    """Return the mean rank of each uncertainty, in domain and out of it, as a table."""
    tests = list(dict.fromkeys(key[:2] for key in values))
    names = list(dict.fromkeys(key[2] for key in values))
    groups = {
        "in domain": [t for t in tests if t[1] in IN_DOMAIN],
        "out of domain": [t for t in tests if t[1] not in IN_DOMAIN],
    }
    lines = ["## Mean rank among the uncertainties (1 is best)", ""]
    columns = [(group, metric) for metric in ("spearman", "auroc", "miscalibration_area",
               "calibrated_nll") for group in groups]  # fmt: skip
    lines.append(
        "| uncertainty | " + " | ".join(f"{COLUMNS[m][0]}, {g}" for g, m in columns) + " |"
    )
    lines.append("|---" * (len(columns) + 1) + "|")
    found = {c: _mean_ranks(values, groups[c[0]], names, c[1]) for c in columns}
    for index, name in enumerate(names):
        cells = [f"{found[c][index]:.1f}" for c in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _mean_ranks(values: Values, tests: list, names: list[str], metric: str) -> np.ndarray:
    rising = metric in ("spearman", "auroc")
    per_test = []
    for test in tests:
        means = [np.mean(values[(*test, n)].get(metric, [np.nan])) for n in names]
        if np.isfinite(means).all():
            order = np.argsort(np.argsort(-np.array(means) if rising else means))
            per_test.append(order + 1)
    return np.mean(per_test, axis=0) if per_test else np.full(len(names), np.nan)


def draw(values: Values) -> Figure:
    """Return the figure: a panel for each metric, a column for each test set."""
    tests = list(dict.fromkeys(key[:2] for key in values))
    names = list(dict.fromkeys(key[2] for key in values))
    shown = {k: v for k, v in COLUMNS.items() if k != "calibrated_nll"}
    figure, axes = plt.subplots(len(shown), 1, figsize=(12, 3.0 * len(shown)), sharex=True)
    for axis, (metric, (label, note)) in zip(axes, shown.items(), strict=True):
        for number, name in enumerate(names):
            _series(axis, values, tests, name, metric, number, len(names))
        axis.set_ylabel(f"{label}\n({note})", fontsize=9)
        axis.grid(axis="y", alpha=0.3)
        for edge in range(1, len(tests)):
            axis.axvline(edge - 0.5, color="0.85", lw=0.8)
    axes[-1].axhline(0.9, color="0.3", lw=1, ls="--")
    axes[1].set_ylim(0.0, 1.04)
    axes[-1].set_xticks(
        range(len(tests)), [f"{BROKEN.get(a, a)}\n{b}" for a, b in tests], fontsize=8
    )
    axes[0].legend(
        ncols=4, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.02), frameon=False
    )
    figure.align_ylabels()
    return figure


def _series(
    axis: Axes, values: Values, tests: list, name: str, metric: str, number: int, of: int
) -> None:
    x, y, spread = [], [], []
    for place, test in enumerate(tests):
        found = values[(*test, name)].get(metric, []) if (*test, name) in values else []
        if found:
            x.append(place + 0.75 * ((number + 0.5) / of - 0.5))
            y.append(np.mean(found))
            spread.append(np.std(found))
    axis.errorbar(
        x, y, spread, fmt=MARKERS[number % 8], color=COLOURS[number % 8], ms=5, lw=1, label=name
    )
