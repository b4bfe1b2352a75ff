"""The report of real campaigns: its numbers are those of the files, whatever is missing."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import reported
import yaml
from ase.geometry import get_dihedrals
from typer.testing import CliRunner

import uncv
from uncv.cli import app
from uncv.errors import CampaignError, ConfigError
from uncv.journal import Journal, run_lock
from uncv.report import ReportSettings, report_campaign
from uncv.report.judged import judge_models, pooled
from uncv.report.run import read_run
from uncv.report.summary import _rounds, cards, facts_section, lead

SECTIONS = (
    "What was run", "Warnings", "Labels and evaluations", "Errors", "Coverage",
    "Where the walkers went", "Uncertainty and walkers", "Calibration", "Labelled frames",
    "Labels that failed", "Time", "Journal",
)  # fmt: skip


class Written:
    """The report of a run: its page, its result and its tables."""

    def __init__(
        self, run: Path, folder: Path, frames: int = 300, images: Path | None = None
    ) -> None:
        settings = ReportSettings(images, folder / "data", frames)
        self.run = run
        self.result = report_campaign(run, folder / "page.html", settings)
        self.page = (folder / "page.html").read_text(encoding="utf-8")
        self.data = folder / "data"
        self.about = json.loads((self.data / "report.json").read_text(encoding="utf-8"))

    def table(self, name: str) -> list[dict[str, str]]:
        with open(self.data / f"{name}.csv", encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def column(self, name: str, key: str) -> list[float]:
        return [float(row[key]) for row in self.table(name)]

    def missing(self) -> list[str]:
        return re.findall(r'<p class="missing">(.*?)</p>', self.page)


@pytest.fixture(scope="module")
def ten(tmp_path_factory) -> Written:
    folder = tmp_path_factory.mktemp("ten")
    return Written(reported.ten_rounds(), folder, images=folder / "images")


@pytest.fixture(scope="module")
def copper(tmp_path_factory) -> Written:
    return Written(reported.crystal(), tmp_path_factory.mktemp("copper"))


def test_the_result_says_what_the_run_came_to(ten):
    found = ten.result
    assert (found.state, found.labels, found.rounds, found.judged_by) == (
        "finished", 38, 10, "test set")  # fmt: skip
    assert ten.about["labels"] == 38
    assert [row["number"] for row in ten.about["rounds"]] == list(range(12))
    assert "the budget of 38 labels is spent" in ten.page
    assert any("rounds 1 to 10 cannot be reweighted" in w for w in found.warnings)
    assert any("the adaptive bias has no potential" in w for w in found.warnings)
    assert len(found.images) == 2 * ten.page.count("<figure")
    assert all(file.stat().st_size > 0 for file in found.images + found.data)


def test_every_section_is_there_and_says_something(ten, copper):
    for written in (ten, copper):
        titles = re.findall(r"<h2>(.*?)</h2>", written.page)
        assert tuple(titles) == SECTIONS
        parts = re.findall(r"<section.*?</section>", written.page, flags=re.DOTALL)
        assert all(re.search(r"<figure|<table|<ul|class=\"missing\"", part) for part in parts)


def test_what_was_run(ten):
    for words in ("alanine_dipeptide (molecule in vacuum, 22 atoms)", "OpenMM protein.ff14SB.xml",
                  "2 members", "ensemble", "gaussian", "AdaptiveBias(strength=0.5",
                  "3 walkers of 16 steps a round, 0.25 fs, 300.0 K", "openmm 8."):  # fmt: skip
        assert words in ten.page, words


def test_labels_and_steps(ten):
    assert ten.column("labels", "labels so far")[-1] == 38
    assert ten.column("labels", "labels of the round") == [8.0] + [3.0] * 10 + [0.0]
    assert ten.column("labels", "steps") == [0.0] + [48.0] * 10 + [0.0]


def test_errors_on_the_test_set_are_those_of_the_models(ten):
    rows = [r for r in ten.table("errors") if r["set"] == "test set"]
    assert [int(r["round"]) for r in rows] == list(range(1, 12))
    data = uncv.read(reported.test_frames())
    for row in (rows[0], rows[-1]):
        cv = uncv.UncertaintyCV.load(ten.run / f"model_round_{int(row['round']):02d}.uncv")
        said = cv.potential.evaluate(data)
        energy = 1000.0 * reported.rmse(said.energies.mean(axis=0), data.energy) / 22
        force = reported.rmse(said.forces, data.forces)
        assert float(row["energy RMSE (meV/atom)"]) == pytest.approx(energy, rel=1e-9)
        assert float(row["force RMSE (eV/Å)"]) == pytest.approx(force, rel=1e-9)
        assert float(row["energy low"]) < energy < float(row["energy high"])
        assert row["stress RMSE (GPa)"] == ""
    told = [r["test"]["force_rmse_ev_per_angstrom"] for r in ten.about["rounds"][1:]]
    found = [float(r["force RMSE (eV/Å)"]) for r in rows]
    np.testing.assert_allclose(found, told, rtol=1e-6)


def test_new_labels_are_judged_before_the_training_on_them(ten):
    row = next(r for r in ten.table("errors") if (r["set"], r["round"]) == ("new labels", "4"))
    assert int(row["labels"]) == 8 + 3 * 3
    data = reported.labels_of(ten.run)
    own = data[np.flatnonzero(data.info["round"] == 4)]
    said = uncv.UncertaintyCV.load(ten.run / "model_round_04.uncv").potential.evaluate(own)
    expected = reported.rmse(said.forces, own.forces)
    assert float(row["force RMSE (eV/Å)"]) == pytest.approx(expected, rel=1e-9)


def test_coverage_is_counted_in_cells(ten):
    parts = [uncv.read(ten.run / f"frames_round_{n:02d}.npz") for n in range(1, 11)]
    x = np.concatenate([p.positions[p.info["stop_reason"] == ""] for p in parts])
    angles = [[get_dihedrals(np.array([f[b] - f[a]]), np.array([f[c] - f[b]]),
                             np.array([f[d] - f[c]]))[0] for f in x]
              for a, b, c, d in ((4, 6, 8, 14), (6, 8, 14, 16))]  # fmt: skip
    wrapped = (np.array(angles).T + 180.0) % 360.0  # the IUPAC angle from −180°
    shares = [len({tuple(c) for c in np.floor(wrapped / 360.0 * 2**h).astype(int)}) / 4**h
              for h in range(1, 6)]  # fmt: skip
    row = ten.table("coverage")[-1]
    assert int(row["frames"]) == len(x)
    assert float(row["coverage"]) == pytest.approx(np.mean(shares), abs=1e-12)
    uniform = np.mean([1 - (1 - 4.0**-h) ** len(x) for h in range(1, 6)])
    assert float(row["of uniform points"]) == pytest.approx(uniform, abs=1e-12)
    assert ten.result.coverage == pytest.approx(np.mean(shares), abs=1e-12)


def test_uncertainty_and_stops_of_each_round(ten):
    frames = uncv.read(ten.run / "frames_round_03.npz")
    row = ten.table("uncertainty")[2]
    u = frames.info["uncertainty"]
    assert int(row["frames"]) == len(frames)
    assert float(row["median"]) == pytest.approx(np.median(u))
    assert float(row["largest"]) == pytest.approx(u.max())
    stopped = int((frames.info["stop_reason"] != "").sum())
    assert int(row["stops"]) == stopped > 0
    assert row["by rule"] == f"{stopped} stretched bond"
    rows = [r for r in ten.table("walkers") if r["round"] == "3"]
    assert sum(int(r["stops"]) for r in rows) == stopped
    assert all(("were bonded" in r["reasons"]) == (r["stops"] != "0") for r in rows)


def test_the_map_counts_frames_and_marks_those_chosen(ten):
    row = ten.table("map")[-1]
    assert float(row["frames so far"]) == float(ten.table("coverage")[-1]["frames"])
    assert 0 < int(row["cells of 36 × 36 visited"]) <= int(row["frames so far"])
    assert [int(r["chosen"]) for r in ten.table("map")] == [3] * 10


def test_points_of_all_rounds_make_the_calibration_figures(ten):
    run = read_run(ten.run)
    verdicts = judge_models(run, 300)
    judged = pooled(verdicts.new)
    assert judged is not None
    data = reported.labels_of(ten.run)
    chosen = data[np.flatnonzero(data.info["round"] > 0)]
    # u of a stored frame was written when it was sampled, by the model of its round.
    np.testing.assert_allclose(judged.scores.uncertainty, chosen.info["uncertainty"], rtol=1e-6)
    assert len(set(judged.scores.frame.tolist())) == len(chosen) == 30
    inside = float(np.mean(judged.scores.residual <= judged.scores.uncertainty))
    rows = [r for r in ten.table("inside") if r["set"] == "new labels"]
    assert np.mean([float(r["share inside u"]) for r in rows]) == pytest.approx(inside)
    found = {r["metric"]: float(r["value"]) for r in ten.table("metrics_new")}
    from scipy.stats import spearmanr

    expected = spearmanr(judged.scores.uncertainty, judged.scores.residual).statistic
    assert found["spearman"] == pytest.approx(expected, abs=1e-9)
    assert judge_models(run, 0).new == []


def test_fewer_test_frames_are_spread_over_the_file(ten):
    said = judge_models(read_run(ten.run), 5)
    assert [v.frames for v in said.test] == [5] * 11
    assert said.test_said.startswith("5 frames of 24, evenly spaced, of ")


def test_labelled_frames_say_where_they_come_from(ten):
    rows = ten.table("frames")
    assert len(rows) == 38
    assert (rows[0]["walker"], rows[0]["round"]) == ("", "0")
    data = reported.labels_of(ten.run)
    assert [int(r["step"]) for r in rows[8:]] == data.info["step"][8:].tolist()
    largest = np.linalg.norm(data.forces, axis=-1).max(axis=1)
    np.testing.assert_allclose([float(r["largest force (eV/Å)"]) for r in rows], largest)


def test_time_of_the_stages_is_that_of_the_journal(ten):
    events = Journal(ten.run / "journal.jsonl").events()
    for stage, name in (("train (s)", "trained"), ("sample (s)", "sampled")):
        told = sum(e["seconds"] for e in events if e["event"] == name)
        assert sum(ten.column("time", stage)) == pytest.approx(told)
    assert len(ten.table("journal")) == len(events)


def test_a_crystal_has_stress_and_volumes(copper):
    row = next(r for r in copper.table("errors") if r["set"] == "new labels")
    data = reported.labels_of(copper.run)
    own = data[np.flatnonzero(data.info["round"] == 1)]
    said = uncv.UncertaintyCV.load(copper.run / "model_round_01.uncv").potential.evaluate(own)
    expected = 160.2176634 * reported.rmse(said.stress, own.stress)
    assert float(row["stress RMSE (GPa)"]) == pytest.approx(expected, rel=1e-9)
    volumes = np.concatenate([
        np.abs(np.linalg.det(p.cell))[p.info["stop_reason"] == ""]
        for p in (uncv.read(copper.run / f"frames_round_0{n}.npz") for n in (1, 2))
    ])  # fmt: skip
    rows = copper.table("histogram")
    assert sum(int(r["frames"]) for r in rows) == len(volumes)
    assert max(float(r["largest"]) for r in rows) == pytest.approx(volumes.max())
    found = {r["round"]: float(r["coverage"]) for r in copper.table("coverage")}
    inside = (volumes - 40.0) / 16.0
    shares = [len(set(np.floor(inside * 2**h).astype(int).tolist())) / 2**h for h in range(1, 6)]
    assert found["2"] == pytest.approx(np.mean(shares))
    assert "crystal" in copper.page
    assert "No label has failed." in copper.missing()
    assert any("name labelled frames as system.test_data" in said for said in copper.missing())


def run_without(tmp_path: Path, name: str, *, events: int, removed: tuple[str, ...]) -> Path:
    """A run directory as it was after so many events."""
    run = tmp_path / name
    shutil.copytree(reported.ten_rounds(), run, ignore=lambda _, names: set(names) & set(removed))
    lines = (run / "journal.jsonl").read_text().splitlines(keepends=True)
    (run / "journal.jsonl").write_text("".join(lines[:events]))
    for file in run.glob("*_round_*"):
        file.unlink()
    return run


def test_a_run_that_was_killed_at_once(tmp_path):
    gone = ("labelled.extxyz", "final.uncv", "candidates.extxyz")
    run = run_without(tmp_path, "begun", events=1, removed=gone)
    written = Written(run, tmp_path)
    assert (written.result.state, written.result.labels) == ("stopped", 0)
    said = written.missing()
    for words in ("No frame has been labelled yet; the first labels come with round 0.",
                  "No model has been trained yet; errors come with the first one.",
                  "No walker has stored a frame yet.",
                  "No stage is complete yet; times come with the first one."):  # fmt: skip
        assert words in said
    assert "<figure" not in written.page
    assert "uncv learn" in written.page
    assert "these numbers will change" in " ".join(written.result.warnings)


def test_a_run_that_was_killed_in_the_first_training(tmp_path):
    run = run_without(tmp_path, "labelled", events=2, removed=("final.uncv",))
    written = Written(run, tmp_path)
    assert written.result.state == "stopped"
    assert "figure-labels" in written.page
    assert "figure-errors" not in written.page


def test_one_round_has_no_slider(tmp_path):
    run = tmp_path / "one"
    shutil.copytree(reported.ten_rounds(), run)
    for file in run.glob("frames_round_*"):
        if file.name != "frames_round_01.npz":
            file.unlink()
    written = Written(run, tmp_path, frames=0)
    assert 'type="range"' not in written.page
    assert "figure-map" in written.page
    assert "models were not evaluated (--frames 0)" in written.page


def test_labels_that_failed_are_shown_with_their_reasons(tmp_path):
    run = tmp_path / "failed"
    shutil.copytree(reported.crystal(), run)
    lines = (run / "journal.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    first = next(e for e in events if e["event"] == "labelled" and e["round"] == 1)
    first["errors"] = ["SCF <did> not converge", "SCF <did> not converge"]
    (run / "journal.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    uncv.write(run / "quarantine.extxyz", reported.labels_of(run)[-2:].without_labels())
    written = Written(run, tmp_path)
    (row,) = written.table("failed")
    assert list(row.values()) == ["1", "2", "SCF <did> not converge"]
    assert "SCF &lt;did&gt; not converge" in written.page
    assert len(written.table("quarantine")) == 2
    assert "2 of 14 labels failed" in " ".join(written.result.warnings)


def test_files_that_cannot_be_read_are_named_and_left_out(tmp_path):
    run = tmp_path / "torn"
    shutil.copytree(reported.crystal(), run)
    (run / "frames_round_02.npz").write_bytes(b"torn")
    (run / "model_round_02.uncv").write_bytes(b"torn")
    with open(run / "journal.jsonl", "a") as file:
        file.write('{"event": "fini')
    (run / "config.yaml").write_text("system: [")
    written = Written(run, tmp_path)
    said = " ".join(written.result.warnings)
    assert "frames_round_02.npz cannot be read" in said
    assert "config.yaml cannot be read" in said
    assert "the model of round 2 cannot be judged" in written.page
    assert "figure-walkers" in written.page
    assert "so there is no coverage: name torsions (system.torsions)" in " ".join(written.missing())


def test_a_cell_that_does_not_change_says_so(tmp_path):
    run = tmp_path / "fixed"
    shutil.copytree(reported.crystal(), run)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["system"]["volume_range_angstrom3"] = None
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    cell = 3.7 * np.eye(3)
    for file in run.glob("frames_round_*.npz"):
        old = uncv.read(file)
        uncv.write(
            file, uncv.Dataset(old.numbers, old.positions, cell=cell, pbc=old.pbc, info=old.info)
        )
    said = Written(run, tmp_path, frames=0).missing()
    assert any(f"The cell does not change (volume {3.7**3:.1f} Å³)" in words for words in said)
    assert any("No variable is followed, so there is no coverage" in words for words in said)


def test_the_campaign_is_not_disturbed(tmp_path):
    """While another process holds the lock the report is written, and nothing else changes."""
    run = tmp_path / "held"
    shutil.copytree(reported.crystal(), run)
    with run_lock(run):
        before = {f.name: f.stat().st_mtime_ns for f in run.iterdir()}
        found = report_campaign(run, tmp_path / "new" / "page.html", ReportSettings(frames=0))
        assert found.state == "running" or not Path("/proc/locks").exists()
        assert {f.name: f.stat().st_mtime_ns for f in run.iterdir()} == before
    assert found.report.exists()
    assert report_campaign(run, settings=ReportSettings(frames=0)).report == run / "report.html"


def test_the_command(tmp_path):
    run, page = reported.crystal(), tmp_path / "page.html"
    common = ["report", str(run), "--out", str(page), "--frames", "0"]
    folders = ["--images", str(tmp_path / "i"), "--data", str(tmp_path / "d")]
    found = CliRunner().invoke(app, [*common, "--json", *folders])
    assert found.exit_code == 0, found.output
    values = json.loads(found.stdout)
    assert (values["report"], values["labels"], values["rounds"]) == (str(page), 12, 2)
    assert len(values["images"]) == len(list((tmp_path / "i").iterdir())) > 0
    assert len(values["data"]) == len(list((tmp_path / "d").iterdir())) > 0
    plain = CliRunner().invoke(app, common)
    assert f"report: {page}" in plain.stdout
    assert "note: " in plain.stderr
    assert CliRunner().invoke(app, ["report", str(tmp_path)]).exit_code == 1
    assert CliRunner().invoke(app, ["report", str(run), "--frames", "-1"]).exit_code == 2


def test_what_cannot_be_reported(tmp_path):
    with pytest.raises(CampaignError, match="is no run directory"):
        report_campaign(tmp_path)
    with pytest.raises(ValueError, match="frames is -1; expected 0 or more"):
        ReportSettings(frames=-1)
    run = tmp_path / "torsion"
    shutil.copytree(reported.crystal(), run)
    (run / "config.yaml").write_text("system: {torsions: [[0, 1, 2]]}")
    with pytest.raises(ConfigError, match=r"a torsion of config\.yaml has not four atoms"):
        report_campaign(run, tmp_path / "page.html")


def test_words(ten):
    assert _rounds([3, 1, 2, 7, 9, 10]) == "rounds 1 to 3, 7, 9, 10"
    assert _rounds([4]) == "round 4"
    run = read_run(ten.run)
    assert lead(run).startswith("Finished: the budget of 38 labels is spent. Report of ")
    verdicts = judge_models(run, 0)
    assert [c.value for c in cards(run, verdicts)][:3] == ["finished", "38", "480"]
    assert facts_section(run).title == "What was run"
