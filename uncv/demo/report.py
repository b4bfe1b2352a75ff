"""Figures and report of the demonstration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uncv import plots
from uncv.analysis import coverage, ramachandran
from uncv.calibration import scores
from uncv.cv import UncertaintyCV
from uncv.data import Dataset
from uncv.demo.measures import RunSummary
from uncv.report import Section, Table, write_report
from uncv.units import unit_name


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
    """Write ``report.html`` and its figures as PNG."""
    sections = [
        _summary(material),
        _maps(material),
        _coverage(material),
        _errors(material),
        _parity(material),
        _uncertainty(material),
        _metadynamics(material),
    ]
    names = ("", "ramachandran", "coverage", "learning_curve", "parity", "uncertainty", "colvar")
    for name, section in zip(names, sections, strict=True):
        if section.figure is not None:
            (folder / f"{name}.png").write_bytes(plots.png(section.figure))
    title = "Alanine dipeptide learnt with and without a bias on the uncertainty"
    write_report(folder / "report.html", title, sections)


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
    return Section("In short", text, table=Table(header, rows))


def _maps(material: Material) -> Section:
    panels = []
    for name, angles in material.angles.items():
        found = ramachandran(angles, material.temperatures[name])
        share = coverage(angles)
        panels.append(plots.RamachandranPanel(name, found.edges, found.free_energy, share))
    text = (
        "Where the stored frames lie, as −k_BT ln of their share. Only the reference is an "
        "equilibrium ensemble, at its own temperature."
    )
    return Section("Ramachandran maps", text, plots.ramachandran_maps(panels))


def _coverage(material: Material) -> Section:
    curves = {name: (run.curve.labels, run.curve.coverage) for name, run in material.runs.items()}
    return Section("Coverage against labels", figure=plots.coverage_curve(curves))


def _errors(material: Material) -> Section:
    curves = {
        name: plots.LearningCurve(
            run.curve.labels,
            run.curve.energy_rmse_mev_per_atom,
            run.curve.force_rmse_ev_per_angstrom,
        )
        for name, run in material.runs.items()
    }
    text = "Errors of the potential of each round on frames of the 1200 K test set."
    return Section("Learning curve", text, plots.learning_curve(curves))


def _parity(material: Material) -> Section:
    test, said = material.test, material.cv.potential.evaluate(material.test)
    energies, forces = test.require("energy", "forces").energy, test.forces
    if energies is None or forces is None:
        return Section("Parity")
    panels = [
        plots.ParityPanel("energy", "eV", energies, said.energies.mean(axis=0)),
        plots.ParityPanel("force", "eV/Å", forces.ravel(), said.forces.ravel()),
    ]
    text = "The final potential of the biased campaign on the test set."
    return Section("Parity", text, plots.parity(panels))


def _uncertainty(material: Material) -> Section:
    found = scores(material.cv, material.test)
    figure = plots.uncertainty_against_error(
        found.uncertainty, found.residual, kind=material.cv.kind
    )
    text = "Uncertainty of the biased campaign, by its own calibration, on the 1200 K test set."
    return Section("Uncertainty against error", text, figure)


def _metadynamics(material: Material) -> Section:
    time, value, bias, wall = material.colvar.T
    series = plots.Colvar(time, value, bias + wall)
    unit = unit_name(material.cv.kind, openmm=True)
    text = (
        "Well-tempered metadynamics by PLUMED with the uncertainty as its variable, which PLUMED "
        "asks for as EXTRACV; a wall keeps it below the 99 % quantile of what the campaign met."
    )
    return Section("Metadynamics on the uncertainty", text, plots.colvar_series(series, unit=unit))
