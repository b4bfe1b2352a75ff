"""Figures and report of the demonstration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncv.analysis import coverage, ramachandran
from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.demo.measures import RunSummary
from uncv.evaluation import judge
from uncv.metrics import calibration_curve
from uncv.plots_chart import Axis, Chart, Heat, Line, Panel, thinned
from uncv.plots_still import save_chart
from uncv.report import Card, Page, Section, Table, write_report
from uncv.report.figures import angle_panel, error_panel, parity_panel, reliability_panel
from uncv.units import EV_IN_KJ_PER_MOL, unit_name

_HIGHEST = 40.0  # kJ/mol, end of the colour scale of maps
_SERIES = 2000  # points of a series


class Material(NamedTuple):
    """What the report is made of.

    Attributes
    ----------
    runs : dict of str to RunSummary
        Numbers of the campaigns.
    angles : dict of str to numpy.ndarray
        φ and ψ (F, 2) of the campaigns and of the hot reference.
    cv : UncertaintyCV
        The final one of the biased campaign.
    test : Dataset
        The labelled test set.
    colvar : numpy.ndarray
        Of the metadynamics: time, u, bias, wall.
    temperatures : dict of str to float
        In K, of each entry of ``angles``.
    """

    runs: dict[str, RunSummary]
    angles: dict[str, NDArray[np.float64]]
    cv: UncertaintyCV
    test: Dataset
    colvar: NDArray[np.float64]
    temperatures: dict[str, float]


def write_demo_report(folder: Path, material: Material) -> None:
    """Write ``report.html``, and its figures as PNG and SVG."""
    sections = [
        _summary(material),
        _maps(material),
        _coverage(material),
        _errors(material),
        _parity(material),
        _uncertainty(material),
        _metadynamics(material),
    ]
    for section in sections:
        for chart in section.charts:
            save_chart(chart, folder)
    title = "Alanine dipeptide learnt with and without a bias on the uncertainty"
    lead = "Two campaigns of active learning that differ in the bias alone."
    write_report(folder / "report.html", Page(title, lead, _cards(material), sections))


def _cards(material: Material) -> list[Card]:
    return [
        Card(f"coverage, {name}", f"{run.coverage:.3f}", f"by {run.frames} frames")
        for name, run in material.runs.items()
    ] + [
        Card(
            f"force RMSE, {name}", f"{run.force_rmse_ev_per_angstrom:.3g}", "eV/Å, 1200 K test set"
        )
        for name, run in material.runs.items()
    ]


def _summary(material: Material) -> Section:
    header = ["", *material.runs]
    lines: Sequence[tuple[str, str]] = (
        ("labels", "labels"),
        ("labels that failed", "failed_labels"),
        ("MD steps of all walkers", "md_steps"),
        ("stored frames", "frames"),
        ("coverage of φ, ψ", "coverage"),
        ("energy RMSE (meV/atom)", "energy_rmse_mev_per_atom"),
        ("force RMSE (eV/Å)", "force_rmse_ev_per_angstrom"),
        ("seconds", "seconds"),
    )
    rows = [[text, *(getattr(run, name) for run in material.runs.values())] for text, name in lines]
    for text, name in (
        ("errors inside u, own calibration", "conformal_coverage_out_of_distribution"),
        ("errors inside u, calibrated on half of the test set", "conformal_coverage_exchangeable"),
    ):
        shares = [getattr(run, name) for run in material.runs.values()]
        rows.append([text, *(f"{s.share:.3f} ({s.low:.3f} to {s.high:.3f})" for s in shares)])
    text = (
        "Two campaigns of active learning begin with the same labelled frames and spend the same "
        "number of labels and of MD steps at 300 K. One runs plain dynamics, the other adds a bias "
        "force towards high uncertainty. Coverage counts every stored frame of a campaign, broken "
        "ones included; errors are on frames of force-field dynamics at 1200 K, which neither has "
        "seen.\n\nThe calibration of a campaign promises nothing on that hot set: it is another "
        "distribution. A calibration on a random half of the set does hold on the other half."
    )
    return Section("In short", text, [Table(header, rows, "summary")])


def _maps(material: Material) -> Section:
    panels, rows = [], []
    for name, angles in material.angles.items():
        found = ramachandran(angles, material.temperatures[name])
        energy = found.free_energy * EV_IN_KJ_PER_MOL
        edges, share = np.degrees(found.edges), coverage(angles)
        shown = np.where(np.isfinite(energy), energy, np.nan)
        heat = Heat("free energy (kJ/mol)", edges, edges, shown, _HIGHEST)
        panels.append(angle_panel(heat, title=f"{name}, coverage {share:.2f}"))
        rows.append([name, len(angles), float(share), int(np.isfinite(energy).sum())])
    text = (
        "Where the stored frames lie, as −k_BT ln of their share. Only the reference is an "
        "equilibrium ensemble, at its own temperature."
    )
    cells = len(found.edges) - 1
    table = Table(
        ["run", "frames", "coverage", f"cells of {cells} × {cells} visited"], rows, "maps"
    )
    caption = "Free energy over φ and ψ of each run; cells that were never visited are empty."
    return Section(
        "Ramachandran maps", text, [Chart("ramachandran", "Maps", caption, panels, table)]
    )


def _coverage(material: Material) -> Section:
    lines = [
        Line(name, run.curve.labels, run.curve.coverage, colour=colour)
        for colour, (name, run) in enumerate(material.runs.items())
    ]
    panel = Panel(
        Axis("labelled frames", whole=True), Axis("coverage of φ, ψ", limits=(0.0, 1.0)), lines
    )
    caption = "Coverage by the stored frames so far, when each model was trained."
    chart = Chart("coverage", "Coverage", caption, [panel], _curve_table(material, "coverage"))
    return Section("Coverage against labels", parts=[chart])


def _errors(material: Material) -> Section:
    names = (
        ("energy_rmse_mev_per_atom", "energy RMSE (meV/atom)"),
        ("force_rmse_ev_per_angstrom", "force RMSE (eV/Å)"),
    )
    runs = list(enumerate(material.runs.items()))
    panels = [
        Panel(
            Axis("labelled frames", whole=True),
            Axis(label, log=True),
            [Line(name, run.curve.labels, getattr(run.curve, key), colour=c)
             for c, (name, run) in runs],
        )
        for key, label in names
    ]  # fmt: skip
    text = "Errors of the potential of each round on frames of the 1200 K test set."
    table = _curve_table(material, "learning_curve")
    chart = Chart("learning_curve", "Errors against labels", text, panels, table)
    return Section("Learning curve", text, [chart])


def _curve_table(material: Material, name: str) -> Table:
    header = ["run", "labels", "coverage", "energy RMSE (meV/atom)", "force RMSE (eV/Å)"]
    rows = [[run, *row] for run, found in material.runs.items()
            for row in zip(*found.curve, strict=True)]  # fmt: skip
    return Table(header, rows, name)


def _parity(material: Material) -> Section:
    test = material.test
    said, known = material.cv.potential.evaluate(test), test.require("energy", "forces")
    energies = np.stack([np.asarray(known.energy), said.energies.mean(axis=0)], axis=1)
    forces = np.stack([np.asarray(known.forces).ravel(), said.forces.ravel()], axis=1)
    panels = [parity_panel("energy", "eV", energies), parity_panel("force", "eV/Å", forces, 1)]
    text = "The final potential of the biased campaign on the test set."
    return Section("Parity", text, [Chart("parity", "Predicted and true", text, panels)])


def _uncertainty(material: Material) -> Section:
    judged = judge(material.cv, material.test)
    curve = calibration_curve(
        judged.standard_deviation, judged.scores.residual, components=judged.components
    )
    panels = [error_panel(judged), reliability_panel(curve)]
    text = "Uncertainty of the biased campaign, by its own calibration, on the 1200 K test set."
    chart = Chart("uncertainty", "Errors and their uncertainties", text, panels)
    return Section("Uncertainty against error", text, [chart])


def _metadynamics(material: Material) -> Section:
    time, value, bias, wall = material.colvar[thinned(len(material.colvar), _SERIES)].T
    unit = unit_name(material.cv.kind, openmm=True)
    x = Axis("time (ps)")
    panels = [
        Panel(x, Axis(f"uncertainty ({unit})" if unit else "uncertainty"),
              [Line("uncertainty", time, value, markers=False)]),
        Panel(x, Axis("bias (kJ/mol)"),
              [Line("bias and wall", time, bias + wall, colour=1, markers=False)]),
    ]  # fmt: skip
    text = (
        "Well-tempered metadynamics by PLUMED with the uncertainty as its variable, which PLUMED "
        "asks for as EXTRACV; a wall keeps it below the 99 % quantile of what the campaign met."
    )
    caption = "The uncertainty and the bias on it along the run, as PLUMED wrote them."
    chart = Chart("colvar", "Uncertainty and bias against time", caption, panels)
    return Section("Metadynamics on the uncertainty", text, [chart])
