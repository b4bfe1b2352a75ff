"""Evaluation of a collective variable on labelled frames, and the command that shows it."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
import pytest
import tiny
import torch
from scipy import stats
from typer.testing import CliRunner

import uncv
from uncv import metrics
from uncv.calibration import ConformalCalibrator, GaussianCalibrator, coverage, scores
from uncv.cli import app
from uncv.data import Dataset, concatenate
from uncv.errors import DataError, ElementError
from uncv.evaluation import errors, evaluate, exchangeable_coverage, judge, summarise
from uncv.evaluation_figures import draw
from uncv.uncertainty import EnsembleUncertainty
from uncv.uncertainty.base import UncertaintyBase

FIGURES = ("error_against_uncertainty", "calibration_curve", "sparsification", "roc")


def labelled(count=12, name="CH3OH", seed=0) -> Dataset:
    """Frames labelled by another random potential."""
    data = tiny.frames(name, count, 0.1, seed)
    truth = tiny.potential(members=2, seed=77).evaluate(data)
    return Dataset(
        data.numbers, data.positions, energy=truth.energies.mean(axis=0), forces=truth.forces
    )


class Distance(UncertaintyBase):
    """A number without a unit for each atom."""

    needs_fit = False

    def forward(self, output, groups):
        return (0.1 + (output.features.double() ** 2).sum(dim=2)) * groups.mask


def shifted(data: Dataset, *constants: float) -> Dataset:
    """The same labels with another reference energy for each element of ``data.elements``."""
    counts = np.stack([(data.numbers == z).sum(axis=1) for z in data.elements], axis=1)
    return Dataset(
        data.numbers, data.positions, energy=data.energy + counts @ constants, forces=data.forces
    )


def test_energies_against_frames():
    cv, data = tiny.cv("energy"), labelled()
    said, found = cv.evaluate(data), evaluate(cv, data, alpha=0.25, seed=3)
    error = said.energy - data.energy
    assert found[:4] == (12, 12, "energy", "eV")
    assert found.errors.energy_rmse_mev_per_atom == pytest.approx(
        1000 * np.sqrt(np.mean((error / 6) ** 2))
    )
    force = np.sqrt(np.mean((said.forces - data.forces) ** 2))
    assert found.errors.force_rmse_ev_per_angstrom == pytest.approx(force)
    expected = metrics.measure(
        said.uncertainty, error, np.arange(12), bootstrap=metrics.Bootstrap(seed=3)
    )
    np.testing.assert_allclose(found.metrics, expected, rtol=1e-9)
    assert found.coverage.share == np.mean(abs(error) <= said.uncertainty)
    assert found.promised == pytest.approx(stats.norm.cdf(1) - stats.norm.cdf(-1))
    assert found.ause_of_random_order == metrics.ause_of_random_order(error)


def test_forces_against_atoms():
    cv, data = tiny.cv("forces"), concatenate([labelled(5), labelled(4, "H2O")])
    said, found = cv.evaluate(data), evaluate(cv, data)
    mask = data.mask
    assert found[:4] == (9, 5 * 6 + 4 * 3, "force", "eV/Å")
    difference = (said.forces - data.forces)[mask]
    assert found.errors.force_rmse_ev_per_angstrom == pytest.approx(np.sqrt(np.mean(difference**2)))
    residual = np.sqrt(np.mean(difference**2, axis=1))
    expected = metrics.measure(
        said.atomic_uncertainty[mask], residual, np.nonzero(mask)[0], components=3
    )
    np.testing.assert_allclose(found.metrics, expected, rtol=1e-9)
    assert found.promised == pytest.approx(stats.chi(3).cdf(np.sqrt(3)))


def test_half_of_the_frames_calibrate_the_other():
    cv, data = tiny.cv("energy"), labelled(30)
    found = evaluate(cv, data, alpha=0.2)
    half = np.random.default_rng(0).permutation(30)[:15]
    rest = np.setdiff1d(np.arange(30), half)
    calibrator = ConformalCalibrator(0.2).fit(cv, data[np.sort(half)])
    assert found.conformal_factor == pytest.approx(calibrator.factor, rel=1e-9)
    assert found.exchangeable == coverage(cv.calibrated(calibrator), data[rest])
    assert found.exchangeable == exchangeable_coverage(cv, data, alpha=0.2)


def test_too_few_frames_for_a_calibration_give_none():
    cv, data = tiny.cv("energy"), labelled()
    found = evaluate(cv, data, alpha=0.05)
    assert found.exchangeable is None
    assert found.conformal_factor is None
    assert exchangeable_coverage(cv, data, alpha=0.05) is None


def test_errors_are_zero_against_the_potential_itself():
    cv, data = tiny.cv("energy"), tiny.frames("H2O", 3)
    said = cv.potential.evaluate(data)
    own = Dataset(
        data.numbers, data.positions, energy=said.energies.mean(axis=0), forces=said.forces
    )
    assert errors(cv.potential, own) == pytest.approx((0.0, 0.0), abs=1e-12)
    with pytest.raises(DataError, match="no energy"):
        errors(cv.potential, data)


@pytest.mark.parametrize(("of", "components"), [("energy", 1), ("forces", 3)])
def test_a_conformal_bound_is_no_standard_deviation(of, components):
    cv, data = tiny.cv(of), labelled(20)
    bound = cv.calibrated(ConformalCalibrator(0.1).fit(cv, data))
    found = judge(bound, data)
    width = stats.chi(components).ppf(0.9) / np.sqrt(components)
    np.testing.assert_allclose(found.standard_deviation, found.scores.uncertainty / width)
    assert found.promised == pytest.approx(0.9)
    assert f"divided by {width:.3g}" in found.notes[-1]
    scaled = judge(cv.calibrated(GaussianCalibrator().fit(cv, data)), data)
    np.testing.assert_array_equal(scaled.standard_deviation, scaled.scores.uncertainty)
    assert scaled.notes == ()


def test_an_uncertainty_without_a_unit_gets_the_scale_of_the_errors():
    cv, data = uncv.UncertaintyCV(tiny.potential(), Distance()), labelled()
    judged = judge(cv, data)
    found = scores(cv, data)
    factor = np.sqrt(np.mean((found.residual / found.uncertainty) ** 2))
    np.testing.assert_allclose(judged.standard_deviation, factor * found.uncertainty)
    assert (judged.kind, judged.uncertainty_kind) == ("force", "dimensionless")
    assert f"multiplied by {factor:.3g} eV/Å" in judged.notes[-1]
    summary = summarise(judged)
    assert summary.promised is None
    assert summary.metrics.nll.value == pytest.approx(summary.metrics.calibrated_nll.value)


def test_another_reference_level_is_noted_and_can_be_subtracted():
    cv = tiny.cv("energy")
    data = concatenate([labelled(10), labelled(10, "H2O"), labelled(10, "CH4", seed=2)])
    plain = judge(cv, data, align=True)
    moved = shifted(data, -13.6, -1030.0, -2040.0)
    noted = judge(cv, moved)
    assert "energy errors are mostly a constant" in noted.notes[0]
    assert "--align" in noted.notes[0]
    assert noted.errors.energy_rmse_mev_per_atom > 1e5
    aligned = judge(cv, moved, align=True)
    np.testing.assert_allclose(aligned.scores.residual, plain.scores.residual, atol=1e-9)
    np.testing.assert_allclose(aligned.errors, plain.errors)
    assert "energies are aligned" in aligned.notes[0]
    assert judge(cv, moved[:6]).notes == ()  # six frames could be fitted by three constants
    assert judge(tiny.cv("forces"), moved).notes == noted.notes  # said beside force errors too


def test_labels_that_the_uncertainty_does_not_need_may_lack():
    data = labelled()
    no_forces = Dataset(data.numbers, data.positions, energy=data.energy)
    assert np.isnan(evaluate(tiny.cv("energy"), no_forces).errors.force_rmse_ev_per_angstrom)
    no_energy = Dataset(data.numbers, data.positions, forces=data.forces)
    assert np.isnan(evaluate(tiny.cv("forces"), no_energy).errors.energy_rmse_mev_per_atom)
    with pytest.raises(DataError, match="has no energy"):
        evaluate(tiny.cv("energy"), no_energy)
    with pytest.raises(DataError, match="has no forces"):
        evaluate(tiny.cv("forces"), no_forces)


def test_one_frame_is_too_few():
    with pytest.raises(ValueError, match="at least 2 points, found 1"):
        evaluate(tiny.cv("energy"), labelled(1))
    with pytest.raises(DataError, match="there are no frames to evaluate"):
        evaluate(tiny.cv("energy"), labelled(2)[:0])


def test_labels_of_the_potential_itself_leave_nothing_to_rank():
    cv, data = tiny.cv("energy"), tiny.frames("H2O", 40)
    own = Dataset(data.numbers, data.positions, energy=cv.evaluate(data).energy)
    found = evaluate(cv, own)
    assert np.isnan([found.metrics.spearman.value, found.metrics.ause.value]).all()
    assert found.exchangeable is None
    assert found.coverage.share == 1.0


def test_progress_counts_frames(monkeypatch):
    monkeypatch.setattr("uncv.models.derivatives.CHUNK_ATOMS", 25)  # four frames of six atoms
    told = []
    whole = judge(tiny.cv("energy"), labelled(10), progress=lambda *at: told.append(at))
    assert told == [(4, 10), (8, 10), (10, 10)]
    monkeypatch.undo()
    again = judge(tiny.cv("energy"), labelled(10))
    np.testing.assert_allclose(whole.scores.residual, again.scores.residual, rtol=1e-9)


# The command.


class Files(NamedTuple):
    cv: str
    data: str


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Files:
    folder = tmp_path_factory.mktemp("evaluate")
    tiny.cv("forces").save(folder / "cv.uncv")
    uncv.write(folder / "data.extxyz", shifted(labelled(20), 0.0, 1.0, 5.0))
    return Files(str(folder / "cv.uncv"), str(folder / "data.extxyz"))


def run(*arguments, code=0):
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    assert result.exit_code == code, f"{result.stdout}\n{result.stderr}\n{result.exception!r}"
    return result


def test_the_table_shows_each_metric(files):
    shown = run(*files, "--alpha", 0.2)
    found = evaluate(uncv.UncertaintyCV.load(files.cv), uncv.read(files.data), alpha=0.2)
    lines = {line.split("  ")[0]: line for line in shown.stdout.splitlines()}
    assert "20 frames, 120 atoms; energy RMSE" in shown.stdout
    assert lines["metric"].split() == ["metric", "value", "95", "%", "interval", "unit", "meaning"]
    rho = found.metrics.spearman
    assert f"{rho.value:#.3g}" in lines["Spearman"]
    assert f"{rho.low:#.3g} to {rho.high:#.3g}" in lines["Spearman"]
    assert "1 best, 0 none" in lines["Spearman"]
    assert f"0 best, {found.ause_of_random_order:#.3g} random" in lines["AUSE"]
    assert " eV/Å " in lines["CRPS"]
    assert " nat " in lines["NLL"]
    assert "0.608 expected" in lines["coverage"]
    assert f"below {found.conformal_factor:#.3g} u" in lines["conformal coverage"]
    assert "0.8 promised" in lines["conformal coverage"]
    assert "note: energy errors are mostly a constant" in shown.stdout
    assert "evaluating" in shown.stderr
    assert "evaluating" not in shown.stdout


def test_the_table_says_what_is_missing(files, tmp_path):
    data = uncv.read(files.data)
    uncv.write(
        tmp_path / "few.extxyz", Dataset(data.numbers, data.positions, forces=data.forces)[:3]
    )
    shown = run(files.cv, tmp_path / "few.extxyz").stdout
    assert "energy RMSE" not in shown
    assert "too few frames for α = 0.05: give more or a larger --alpha" in shown


def test_json_is_the_same(files):
    found = json.loads(run(*files, "--alpha", 0.2, "--seed", 4, "--json").stdout)
    cv, data = uncv.UncertaintyCV.load(files.cv), uncv.read(files.data)
    expected = evaluate(cv, data, alpha=0.2, seed=4)
    for name, estimate in expected.metrics._asdict().items():
        assert found["metrics"][name] == pytest.approx(estimate._asdict(), rel=1e-9)
    assert found["coverage"] == pytest.approx(expected.coverage._asdict())
    assert found["exchangeable"] == pytest.approx(expected.exchangeable._asdict())
    assert found["errors"] == pytest.approx(expected.errors._asdict())
    assert (found["kind"], found["unit"], found["frames"]) == ("force", "eV/Å", 20)
    assert found["notes"] == list(expected.notes)
    assert found["figures"] == []
    aligned = json.loads(run(*files, "--align", "--json").stdout)
    energy = "energy_rmse_mev_per_atom"
    assert aligned["errors"][energy] < 0.5 * found["errors"][energy]


def test_json_has_null_for_what_is_undefined(files, tmp_path):
    uncv.write(tmp_path / "same.extxyz", labelled(3)[[0, 0]])
    tiny.cv("energy").save(tmp_path / "energy.uncv")
    found = json.loads(run(tmp_path / "energy.uncv", tmp_path / "same.extxyz", "--json").stdout)
    assert found["metrics"]["spearman"] == {"value": None, "low": None, "high": None}
    assert found["exchangeable"] is None


def test_figures_are_written_and_named(files, tmp_path):
    folder = tmp_path / "made" / "figures"
    found = json.loads(run(*files, "--plots", folder, "--json").stdout)
    expected = [folder / f"{name}.{suffix}" for name in FIGURES for suffix in ("png", "svg")]
    assert found["figures"] == [str(file) for file in expected]
    assert all(f.read_bytes().startswith(b"\x89PNG") for f in expected[::2])
    assert all("<svg" in f.read_text() for f in expected[1::2])


def test_figures_without_a_meaning_are_left_out(tmp_path):
    cv, data = tiny.cv("energy"), tiny.frames("H2O", 3)
    own = Dataset(data.numbers, data.positions, energy=cv.evaluate(data).energy)
    judged = judge(cv, own)
    drawn = {file.stem for file in draw(judged, summarise(judged), tmp_path)}
    assert drawn == set(FIGURES[:2])


def test_mistakes_end_with_a_code_and_one_line(files, tmp_path):
    sulfur = Dataset([16, 1, 1], np.eye(3)[None], forces=np.zeros((1, 3, 3)))
    one_atom = Dataset([1], np.zeros((1, 1, 3)), forces=np.zeros((1, 1, 3)))
    cases = {
        "missing.extxyz": (2, "there is no file", None),
        "unlabelled.extxyz": (1, "has no forces", labelled(2).without_labels()),
        "sulfur.extxyz": (1, "contains S", sulfur),
        "one.npz": (1, "at least 2 points", one_atom),
    }
    for name, (code, message, data) in cases.items():
        if data is not None:
            uncv.write(tmp_path / name, data)
        failed = run(files.cv, tmp_path / name, code=code)
        assert failed.stdout == ""
        assert message in failed.stderr
        assert "Traceback" not in failed.stderr
    (tmp_path / "damaged.extxyz").write_text("nonsense\n")
    assert "damaged.extxyz" in run(files.cv, tmp_path / "damaged.extxyz", code=1).stderr
    assert "not between 0 and 1" in run(*files, "--alpha", 1, code=2).stderr
    assert "is a file" in run(*files, "--plots", files.data, code=2).stderr


def test_an_unknown_element_is_named():
    data = Dataset([16, 1, 1], np.eye(3)[None].repeat(2, 0), forces=np.zeros((2, 3, 3)))
    with pytest.raises(ElementError, match="contains S"):
        evaluate(tiny.cv("forces"), data)


def test_evaluating_leaves_no_gradients_behind():
    cv = tiny.cv("forces")
    evaluate(cv, labelled(3))
    assert torch.is_grad_enabled()
    assert all(p.grad is None for p in cv.potential.parameters())


def test_an_uncertainty_that_is_constant_ranks_nothing():
    """Members that agree: no order of the errors follows, and no number is made up."""
    cv = uncv.UncertaintyCV(tiny.same_members(), EnsembleUncertainty("energy"))
    found = evaluate(cv, labelled(3)).metrics
    assert np.isnan(found.spearman.value)
    assert found.auroc.value == 0.5
