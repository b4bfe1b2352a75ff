"""The page of `mil53al.py` from its figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

PHASES = (813.8, 1507.0)
"""Volumes of the reference's two phases in Å^3."""
NAMES = {"unbiased": "unbiased", "metadynamics": "metadynamics", "stress": "bias stress"}
COLUMNS = (
    "",
    "MPa",
    "seed",
    "labels",
    "MD steps",
    "range, Å^3",
    "share",
    "coverage",
    "stops",
    "energy, meV/atom",
    "forces, eV/Å",
    "stress, GPa",
)
PAGE = """\
# MIL-53(Al): from the closed pore to the large one

Written by `python benchmarks/mil53al.py --report docs/benchmarks` on 2 cores at 2.5 GHz, no GPU;
one thread.

Active-learning campaigns of the 76-atom cell at 300 K, from the closed pore ({closed:.0f} Å^3; the
large one has {large:.0f}), labelled by the QuickFF force field. The first 24 labels are strained
and displaced closed pores; two walkers share the MD steps. The three kinds differ in what drives
them: nothing; metadynamics on the volume, anew in each round; the adaptive bias stress of strength
1 on the uncertainty (posterior of gradient features), without a bias force. A walker stops where
the calibrated uncertainty passes 1.5 eV/Å, or the volume leaves 560 to 1650 Å^3. At one pressure
all kinds have, seed by seed, the same number of labels; the steps, equal but for a round, are in
the table. At ±250 MPa, and with metadynamics, there is one seed.

*Range* is that of the volumes at the stride over all rounds, *share* its part between the phases
of the reference, of the distance between them; *coverage* is that of volumes from 780 to 1550
Å^3. Errors are those of the final potential on 60 frames of DFT dynamics of both phases, labelled
by QuickFF: closed / large pore.

{header}
{rows}

![volumes and energies](mil53al.png)

The lower panel is the reference's own energy against the volume, atoms and shape of the cell
relaxed at each, from both phases; the lower of the two branches counts. The large pore lies
{apart:.2f} eV above the closed one, and the barrier between them is {barrier:.2f} eV high.
{dft}
Metadynamics:

```
{script}```
"""


def write_page(folder: Path, found: dict[str, Any], script: str) -> None:
    """Write page, figures as JSON, and picture."""
    volumes, energies = lower_branch(found["curve"])
    runs = found["runs"]
    middle = (volumes > PHASES[0]) & (volumes < PHASES[1])
    text = PAGE.format(
        closed=PHASES[0],
        large=PHASES[1],
        header=f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}",
        rows="\n".join(_row(run) for run in runs),
        apart=float(np.interp(PHASES[1], volumes, energies)),
        barrier=float(energies[middle].max()),
        dft=_dft(found.get("dft")),
        script=script,
    )
    (folder / "mil53al.md").write_text(text, encoding="utf-8")
    (folder / "mil53al.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    _draw(folder / "mil53al.png", runs, volumes, energies)


def lower_branch(rows: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Return volumes and the lower energy at each, from zero at the lowest."""
    volumes = sorted({round(row["volume"]) for row in rows})
    energies = [min(r["energy"] for r in rows if round(r["volume"]) == v) for v in volumes]
    return np.array(volumes, dtype=float), np.array(energies) - min(energies)


def share(run: dict[str, Any]) -> float:
    """Return how much of the way between the phases lies inside the volumes of a run."""
    low, high = (float(np.clip(v, *PHASES)) for v in run["volumes"])
    return (high - low) / (PHASES[1] - PHASES[0])


def _row(run: dict[str, Any]) -> str:
    low, high = run["volumes"]
    pairs = []
    for key, digits in (
        ("energy_rmse_mev_per_atom", 1),
        ("force_rmse_ev_per_angstrom", 2),
        ("stress_rmse_gpa", 2),
    ):
        both = (run["errors"][phase][key] for phase in ("closed", "large"))
        pairs.append(" / ".join(f"{value:.{digits}f}" for value in both))
    return (
        f"| {NAMES[run['method']]} | {run['pressure_mpa']} | {run['seed']} "
        f"| {run['labels']} | {run['walker_steps']:,} "
        f"| {low:.0f} to {high:.0f} | {share(run):.2f} | {run['coverage']:.2f} "
        f"| {run['stops']} | {' | '.join(pairs)} |"
    )


def _dft(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    errors = found["errors"]
    ranges = [f"{name} {low:.0f} to {high:.0f}" for name, (low, high) in found["volumes"].items()]
    return (
        "\nA potential trained on 50 frames of 304 atoms labelled by DFT (PBE-D3) has on 10 others "
        f"errors of {errors['energy_rmse_mev_per_atom']:.1f} meV/atom, "
        f"{errors['force_rmse_ev_per_angstrom']:.3f} eV/Å and {errors['stress_rmse_gpa']:.2f} GPa. "
        f"3 ps from the closed pore at 0 MPa reach, in Å^3: {'; '.join(ranges)}. Nothing is "
        "learned on the way there, and no limit holds the volume.\n"
    )


def _draw(path: Path, runs: list[dict[str, Any]], volumes: Any, energies: Any) -> None:
    figure = Figure(figsize=(7, 6.4), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    colours = {"unbiased": "0.45", "metadynamics": "tab:orange", "stress": "tab:blue"}
    order = sorted(
        runs, key=lambda r: (list(NAMES).index(r["method"]), r["pressure_mpa"], r["seed"])
    )
    for place, run in enumerate(order):
        low, high = run["volumes"]
        upper.plot(
            [low, high], [place, place], lw=5, solid_capstyle="butt", c=colours[run["method"]]
        )
    labels = [f"{NAMES[r['method']]}, {r['pressure_mpa']} MPa, seed {r['seed']}" for r in order]
    upper.set_yticks(range(len(order)), labels, fontsize=8)
    upper.invert_yaxis()
    upper.set_title("volumes visited")
    lower.plot(volumes, energies, "k.-")
    for axis in (upper, lower):
        for volume in PHASES:
            axis.axvline(volume, ls=":", c="0.6")
    lower.set_xlabel("volume of 76 atoms, Å³")
    lower.set_ylabel("energy, eV")
    figure.savefig(path, dpi=150)
