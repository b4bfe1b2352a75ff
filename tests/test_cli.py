"""The command line: help with units, JSON on standard output, exit codes, and the tiny demo."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tiny
from typer.testing import CliRunner

import uncv
from uncv.calibration import ConformalCalibrator
from uncv.cli import app
from uncv.config import dump_config, load_config, make_config
from uncv.config.schema import config_schema
from uncv.data import Dataset
from uncv.doctor import Check, Diagnosis
from uncv.oracles import OpenMMForceField

AMBER = "amber14/protein.ff14SB.xml"
COMMANDS = (
    "demo", "learn", "train", "sample", "label", "select", "evaluate", "export", "analyze",
    "attack", "report", "plugin build", "plugin path", "doctor", "status", "export-data",
)  # fmt: skip
PRINTING = ("config schema", "config template")
"""Commands whose output is a file: JSON or YAML."""


def run(*arguments, code=0):
    """Run a command and return its result, having checked the exit code."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, f"{result.stdout}\n{result.stderr}\n{result.exception!r}"
    return result


def run_json(*arguments, code=0):
    """Run a command with --json: standard output must be one JSON object and nothing else."""
    return json.loads(run(*arguments, "--json", code=code).stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with labelled frames and a trained collective variable, made by the commands."""
    path = tmp_path_factory.mktemp("cli")
    from uncv.structures import alanine_dipeptide

    _, start = alanine_dipeptide()
    noise = 0.05 * np.random.default_rng(0).normal(size=(12, 22, 3))
    uncv.write(path / "frames.extxyz", Dataset(start.numbers[0], start.positions + noise))
    run("label", path / "frames.extxyz", "--out", path / "labelled.extxyz")
    run(
        "train", path / "labelled.extxyz", "--out", path / "cv.uncv", "--members", 2,
        "--epochs", 3, "--seed", 1,
    )  # fmt: skip
    return path


@pytest.mark.parametrize("command", [*COMMANDS, *PRINTING])
def test_every_command_explains_itself(command):
    text = run(*command.split(), "--help").stdout
    assert ("--json" in text) == (command in COMMANDS)
    assert "Usage" in text


@pytest.mark.parametrize(
    ("command", "unit"),
    [
        ("sample", "fs"),
        ("sample", "K"),
        ("label", "eV/Å"),
        ("analyze", "K"),
        ("export-data", "hartree"),
    ],
)
def test_help_names_units(command, unit):
    assert unit in run(command, "--help").stdout


def test_the_list_of_commands_is_complete():
    def named(commands):
        return [c.name or c.callback.__name__.replace("_", "-") for c in commands]

    below = [
        f"{group.name} {name}"
        for group in app.registered_groups
        for name in named(group.typer_instance.registered_commands)
    ]
    assert {*named(app.registered_commands), *below} == {*COMMANDS, *PRINTING}


def test_label_writes_what_the_oracle_says(folder, alanine):
    frames = uncv.read(folder / "frames.extxyz")
    expected = OpenMMForceField(alanine.topology, AMBER).label(frames)
    labelled = uncv.read(folder / "labelled.extxyz")
    np.testing.assert_allclose(labelled.energy, expected.energy, atol=1e-12)


def test_label_leaves_failed_frames_out_and_says_so(folder):
    arguments = ("label", folder / "frames.extxyz", "--out", folder / "some.extxyz")
    found = run_json(*arguments, "--max-force", 7.5, code=1)
    assert found["labelled"] == len(uncv.read(folder / "some.extxyz"))
    assert found["labelled"] + len(found["failed"]) == 12
    assert 0 < found["labelled"] < 12
    assert "the limit is 7.5 eV/Å" in found["failed"][0]


def test_train_gives_the_same_for_the_same_seed(folder):
    arguments = ("train", folder / "labelled.extxyz", "--members", 2, "--epochs", 3, "--seed", 1)
    found = run_json(*arguments, "--out", folder / "again.uncv")
    assert found["fingerprint"] == uncv.UncertaintyCV.load(folder / "cv.uncv").fingerprint
    assert found["kind"] == "energy"


def test_train_calibrates_on_frames_given_for_it(folder):
    calibration = folder / "labelled.extxyz"
    arguments = ("train", calibration, "--members", 2, "--epochs", 3, "--seed", 1, "--alpha", 0.2)
    run(*arguments, "--out", folder / "c.uncv", "--calibration", calibration)
    plain = uncv.UncertaintyCV.load(folder / "cv.uncv")
    expected = ConformalCalibrator(0.2).fit(plain, uncv.read(calibration))
    cv = uncv.UncertaintyCV.load(folder / "c.uncv")
    assert cv.calibrator.factor == pytest.approx(expected.factor, rel=1e-9)


def test_train_with_the_uncertainty_asked_for(folder):
    arguments = ("train", folder / "labelled.extxyz", "--members", 1, "--epochs", 2)
    kinds = {
        ("gmm", "components=1"): {"components": 1, "features": "last_layer"},
        ("gradient", "method=distance"): {"kind": "distance"},
        ("mean_variance", "reduce=rms"): {},
    }
    for (family, option), expected in kinds.items():
        out = folder / f"{family}.uncv"
        run(*arguments, "--out", out, "--uncertainty", family, "--option", option)
        settings = uncv.UncertaintyCV.load(out).uncertainty.settings()
        assert {k: settings[k] for k in expected} == expected
    assert uncv.UncertaintyCV.load(out).reduce == "rms"
    failed = run(*arguments, "--out", folder / "x.uncv", "--option", "off=forces", code=2)
    assert "unknown key 'uncertainty.off'; did you mean 'of'" in failed.stderr


def test_sample_writes_frames(folder):
    arguments = ("sample", folder / "cv.uncv", "--steps", 4, "--stride", 2, "--walkers", 2)
    found = run_json(*arguments, "--timestep", 0.1, "--out", folder / "run.npz")
    frames = uncv.read(folder / "run.npz")
    assert found["frames"] == len(frames) == 4
    assert found["walker_steps"] == 8
    assert found["reweightable"] is True
    assert found["bias"] is None


@pytest.mark.parametrize(
    ("options", "bias", "reason"),
    [
        (("udd",), "UDDBias(A=", ""),
        (("linear", "--strength", 0.5), "LinearBias(strength=0.5)", ""),
        (
            ("tanh", "--bias-option", "depth_ev=0.3", "--bias-option", "width=0.01"),
            "TanhBias(depth=0.3, width=0.01)",
            "",
        ),
        (("adaptive",), "AdaptiveBias(strength=0.25", "the adaptive bias has no potential"),
    ],
)
def test_sample_with_each_bias(folder, options, bias, reason):
    arguments = ("sample", folder / "cv.uncv", "--steps", 4, "--stride", 2, "--walkers", 2)
    out = ("--timestep", 0.1, "--out", folder / "biased.npz")
    found = run_json(*arguments, *out, "--bias", *options)
    assert found["bias"].startswith(bias)
    assert found["reason"] == reason


def test_a_wrong_option_of_a_bias_is_named(folder):
    arguments = ("sample", folder / "cv.uncv", "--out", folder / "x.npz", "--bias", "udd")
    failed = run(*arguments, "--bias-option", "widht=1", code=2)
    assert "did you mean 'width'" in failed.stderr.replace("\n", " ")


@pytest.mark.parametrize("method", ["farthest_point", "max_det", "lcmd"])
def test_select_takes_frames_far_from_the_labelled_ones(folder, method):
    frames = uncv.read(folder / "frames.extxyz")
    uncv.write(folder / "known.extxyz", frames[:6])
    options = ("--cv", folder / "cv.uncv", "--size", 3, "--train", folder / "known.extxyz")
    out = ("--out", folder / "chosen.extxyz", "--method", method)
    found = run_json("select", folder / "frames.extxyz", *options, *out)
    assert len(set(found["chosen"])) == 3
    assert min(found["chosen"]) >= 6  # the first six are known already, at distance zero
    np.testing.assert_allclose(
        uncv.read(folder / "chosen.extxyz").positions, frames.positions[found["chosen"]]
    )


def test_select_by_uncertainty(folder):
    cv = uncv.UncertaintyCV.load(folder / "cv.uncv")
    values = cv.evaluate(uncv.read(folder / "frames.extxyz")).uncertainty
    options = ("--cv", folder / "cv.uncv", "--size", 2, "--method", "top_u")
    found = run_json("select", folder / "frames.extxyz", *options, "--out", folder / "t.extxyz")
    assert found["chosen"] == np.argsort(-values)[:2].tolist()


def test_export_writes_a_file_for_other_engines(folder):
    from uncv.export import load_exported

    like = folder / "frames.extxyz"
    run("export", folder / "cv.uncv", "--like", like, "--out", folder / "cv.pt")
    _, about = load_exported(folder / "cv.pt")
    assert about["fingerprint"] == uncv.UncertaintyCV.load(folder / "cv.uncv").fingerprint


def test_analyze_measures_and_draws(folder):
    found = run_json("analyze", folder / "frames.extxyz", "--out", folder / "map.png")
    angles = uncv.analysis.dihedrals(uncv.read(folder / "frames.extxyz"))
    assert found["coverage"] == pytest.approx(uncv.analysis.coverage(angles))
    assert (folder / "map.png").read_bytes().startswith(b"\x89PNG")
    one = run_json("analyze", folder / "frames.extxyz", "--torsion", "4,6,8,14")
    assert one["coverage"] == pytest.approx(uncv.analysis.coverage(angles[:, :1]))


def write_colvar(path, angles, bias, stride=0.1):
    """Write COLVAR as PLUMED does: φ, ψ in radians and a bias in kJ/mol."""
    head = "#! FIELDS time phi psi opes.bias\n"
    head += "".join(f"#! SET {end}_{name} {'-' * (end == 'min')}pi\n" for name in ("phi", "psi")
                    for end in ("min", "max"))  # fmt: skip
    table = np.column_stack([stride * np.arange(len(angles)), angles, bias * 96.48533212331])
    path.write_text(head + "".join(" " + " ".join(f"{x:.9f}" for x in row) + "\n" for row in table))


@pytest.fixture(scope="module")
def flat_run(tmp_path_factory):
    """Two COLVAR files of a flat run over two basins that differ by 8 kJ/mol, and their folder."""
    path, rng = tmp_path_factory.mktemp("colvar"), np.random.default_rng(5)
    for walker in (0, 1):
        side = np.where(rng.random(3000) < 0.5, 1.0, -1.0)
        phi, psi = side + 0.2 * rng.normal(size=3000), rng.vonmises(0.0, 1.0, 3000)
        bias = np.where(side > 0, -8.0 / 96.48533212331, 0.0) + 3.0 * walker
        write_colvar(path / f"COLVAR.{walker}", np.stack([phi, psi], axis=1), bias)
    return path


def test_analyze_reweights_colvar_files(flat_run):
    files = flat_run / "COLVAR.0", flat_run / "COLVAR.1"
    options = ("--bias", "opes.bias", "--discard", 0.1, "--bins", 24)
    out = ("--out", flat_run / "map.png", "--save", flat_run / "surface.npz")
    found = run_json("analyze", *files, *options, *out)
    assert (found["frames"], found["walkers"], found["notes"]) == (5400, 2, [])
    difference = found["difference"]
    assert difference["regions"] == ["C7ax", "C7eq"]
    assert difference["value_kj_per_mol"] == pytest.approx(8.0, abs=4 * 0.07)
    # ln p₁/p₂ of independent frames: half of them in each basin, an error of 2 kT/√F
    assert difference["error_kj_per_mol"] == pytest.approx(2 * 2.494 / 5400**0.5, rel=0.2)
    assert found["effective_frames"] < 5400
    assert (flat_run / "map.png").read_bytes().startswith(b"\x89PNG")
    text = run("analyze", *files, *options).stdout
    value, error = difference["value_kj_per_mol"], difference["error_kj_per_mol"]
    assert f"F(C7ax − C7eq): {value:.2f} ± {error:.2f} kJ/mol\n" in text
    shared = run_json("analyze", *files, *options, "--shared-bias")
    assert shared["effective_frames"] < 0.6 * found["effective_frames"]  # 3 eV apart: one is left


def test_analyze_compares_with_a_reference(flat_run):
    one, two, saved = flat_run / "COLVAR.0", flat_run / "COLVAR.1", flat_run / "saved.npz"
    options = ("--bias", "opes.bias", "--bins", 18)
    run("analyze", two, *options, "--save", saved)
    by_file = run_json("analyze", one, *options, "--reference", saved)["reference"]
    picture = ("--out", flat_run / "both.png")
    by_colvar = run_json("analyze", one, *options, "--reference", two, *picture)["reference"]
    assert by_file == pytest.approx(by_colvar)
    assert by_file["cutoff_kj_per_mol"] == pytest.approx(20.0)
    assert 0.1 < by_file["rmsd_kj_per_mol"] < 2.5
    assert abs(by_file["change_kj_per_mol"]) < 4 * by_file["change_error_kj_per_mol"]
    assert (flat_run / "both.png").stat().st_size > (flat_run / "saved.npz").stat().st_size
    itself = run_json("analyze", two, *options, "--reference", saved)["reference"]
    assert (itself["rmsd_kj_per_mol"], itself["change_kj_per_mol"]) == pytest.approx((0, 0))
    other = run_json("analyze", two, *options, "--reference", saved, "--region", "a=0,90",
                     "--region", "b=90,0")  # fmt: skip
    assert "difference_kj_per_mol" not in other["reference"]
    assert "saved with other regions" in other["notes"][0]
    text = run("analyze", one, *options, "--reference", saved).stdout
    assert "RMS difference to the reference: " in text
    assert "\nchange: " in text


@pytest.mark.parametrize(("unit", "factor"), [("kcal/mol", 4.184), ("ev", 96.48533212331)])
def test_analyze_reads_a_bias_in_other_units_and_columns_by_name(flat_run, unit, factor):
    text = (flat_run / "COLVAR.0").read_text().splitlines()
    rows = np.loadtxt(flat_run / "COLVAR.0")
    rows[:, 3] /= factor
    named = "\n".join(text[:5]).replace("phi", "first").replace("psi", "second")
    lines = [" ".join(f"{x:.12f}" for x in row) for row in rows]
    (flat_run / "other").write_text("\n".join([named, *lines]) + "\n")
    expected = run_json("analyze", flat_run / "COLVAR.0", "--bias", "opes.bias")["difference"]
    columns = ("--column", "first", "--column", "second")
    sides = ("--region", "C7ax=0,180", "--region", "C7eq=-180,0")
    options = (*columns, *sides, "--bias", "opes.bias", "--bias-unit", unit)
    found = run_json("analyze", flat_run / "other", *options)["difference"]
    assert found["value_kj_per_mol"] == pytest.approx(expected["value_kj_per_mol"], abs=1e-6)


def test_analyze_says_what_was_not_undone_and_what_cannot_be_told(flat_run):
    found = run_json("analyze", flat_run / "COLVAR.0")
    assert found["notes"] == ["the columns opes.bias were not undone; name them to reweight"]
    assert found["difference"]["value_kj_per_mol"] == pytest.approx(0.0, abs=0.5)
    regions = ("--region", "up=170,175", "--region", "down=-180,0")
    never = run_json("analyze", flat_run / "COLVAR.0", *regions)["difference"]
    assert never["value_kj_per_mol"] is None
    assert never["reason"] == "up was not visited"
    text = run("analyze", flat_run / "COLVAR.0", *regions).stdout
    assert "F(up − down): inf ± inf kJ/mol" in text
    assert "limit: up was not visited" in text


def test_analyze_reweights_what_sample_and_plumed_wrote(folder):
    """Frames carry the bias in eV and COLVAR in kJ/mol: both give the same weights."""
    (folder / "plumed.dat").write_text(
        f"phi: TORSION ATOMS=5,7,9,15\npsi: TORSION ATOMS=7,9,15,17\n"
        f"r: RESTRAINT ARG=phi,psi AT=0,0 KAPPA=3,2\n"
        f"PRINT ARG=phi,psi,r.bias STRIDE=2 FILE={folder}/COLVAR FMT=%.9f\n"
    )
    arguments = ("sample", folder / "cv.uncv", "--steps", 21, "--stride", 2, "--walkers", 2)
    options = ("--timestep", 0.1, "--plumed", folder / "plumed.dat", "--out", folder / "biased.npz")
    run(*arguments, *options)
    bias = uncv.read(folder / "biased.npz").info["bias"]
    assert np.std(bias) > 0
    by_frames = run_json("analyze", folder / "biased.npz", "--reweight")
    files = (folder / "COLVAR.0", folder / "COLVAR.1")
    by_colvar = run_json("analyze", *files, "--bias", "r.bias", "--shared-bias")
    assert by_frames["frames"] == 20
    assert by_colvar["frames"] == 22  # the first step too
    angles = np.concatenate([np.loadtxt(f)[1:, 1:4] for f in files])
    weights = np.exp(angles[:, 2] / 2.4943387)
    expected = weights.sum() ** 2 / (weights**2).sum()
    assert by_frames["effective_frames"] == pytest.approx(expected, rel=1e-4)


def test_learn_runs_a_configuration_and_continues_its_directory(tmp_path):
    config = make_config(
        {
            "potential": {"members": 2, "hidden": (8,), "epochs": 2, "epochs_warm": 1},
            "sampling": {"steps_per_round": 4, "stride": 2, "walkers": 2, "timestep_fs": 0.1},
            "selection": {"batch_size": 2},
            "budget": {"labels": 8, "initial_labels": 6},
            "bias": {"kind": "none"},
            "stop": {"max_force_ev_per_angstrom": None},
        }
    )
    (tmp_path / "small.yaml").write_text(dump_config(config))
    found = run_json("learn", tmp_path / "small.yaml")
    assert (found["finished"], found["labels"]) == (True, 8)
    assert found["directory"] == str(tmp_path / "small_run")
    again = run("learn", tmp_path / "small_run")
    assert "labels: 8" in again.stdout
    assert "continued with 8 labels" in again.stderr
    states = run_json("status", tmp_path / "small_run")
    assert (states["state"], states["labels"], len(states["rounds"])) == ("finished", 8, 3)
    out = tmp_path / "frames"
    written = run_json("export-data", tmp_path / "small_run", "--format", "npz", "--out", out)
    assert sum(written["frames"].values()) == 8
    assert written["files"] == [str(out / f"{name}.npz") for name in written["frames"]]
    keys = ("--energy-key", "dft_energy", "--forces-key", "dft_forces")
    run("export-data", tmp_path / "small_run", "--out", tmp_path / "one.extxyz", *keys)
    text = (tmp_path / "one.extxyz").read_text()
    assert text.count("dft_energy=") == text.count("dft_forces:R:3") == 8


def test_config_prints_templates_and_the_schema(tmp_path):
    assert "quick: " in run("config", "template").stdout
    (tmp_path / "c.yaml").write_text(run("config", "template", "quick").stdout)
    assert load_config(tmp_path / "c.yaml").budget.labels == 40
    assert "no template 'cube'" in run("config", "template", "cube", code=2).stderr
    assert json.loads(run("config", "schema").stdout) == config_schema()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("evaluate", "nowhere.uncv", "nowhere.extxyz"), 2, "nowhere.uncv"),
        (("learn", "nowhere.yaml"), 2, "cannot be read"),
        (("status", "nowhere"), 1, "is no run directory"),
        (("export-data", "nowhere.xyz", "--out", "x"), 2, "there is no file nowhere.xyz"),
        (("export-data", "FRAMES", "--out", "x.npz", "--format", "npz"), 1, "has no energy"),
        (("select", "a.extxyz"), 2, "Missing option"),
        (("sample", "a.uncv", "--out", "b.npz", "--bias", "quadratic"), 2, "quadratic"),
        (("analyze", "FRAMES", "--torsion", "4,6,8"), 1, "expected"),
        (("analyze", "FRAMES", "--torsion", "a,b,c,d"), 2, "four numbers"),
        (("analyze", "FRAMES", "--reweight"), 1, "no column 'bias'"),
        (("analyze", "FRAMES", "--bias", "opes.bias"), 1, "reweighted by --reweight"),
        (("analyze", "FRAMES", "--region", "a=0,90"), 2, "expected --region twice"),
        (("analyze", "FRAMES", "none.extxyz"), 2, "there is no file none.extxyz"),
        (("analyze", "FRAMES", "COLVAR"), 1, "one by one"),
        (("analyze", "COLVAR", "--reweight"), 1, "which columns of COLVAR hold"),
        (("analyze", "COLVAR", "--bias", "metad.rbias"), 1, "no column 'metad.rbias'"),
        (("analyze", "COLVAR", "--reference", "none.npz"), 2, "there is no file none.npz"),
        (("label", "FRAMES", "--out", "x.extxyz", "--structure", "none.pdb"), 2, "neither a file"),
        (("export", "FRAMES", "--like", "FRAMES", "--out", "x.pt"), 1, "frames.extxyz"),
    ],
)
def test_mistakes_end_with_a_code_and_one_line(folder, arguments, code, message):
    write_colvar(folder / "COLVAR", np.zeros((3, 2)), np.zeros(3))
    files = {"FRAMES": "frames.extxyz", "COLVAR": "COLVAR"}
    named = [str(folder / files[a]) if a in files else a for a in arguments]
    result = run(*named, code=code)
    assert result.stdout == ""
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unknown_key_is_answered_with_the_nearest(tmp_path):
    (tmp_path / "c.yaml").write_text("sampling: {walker: 3}")
    result = run("learn", tmp_path / "c.yaml", code=2)
    assert "did you mean 'walkers'" in result.stderr.replace("\n", " ")


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("missing", 1)])
def test_doctor_tells_remedies_and_ends_with_a_code(monkeypatch, status, code):
    checks = (
        Check("engine", status, "8.5.2", "pip install engine"),
        Check("extra", "missing", "not installed", "pip install extra", required=False),
    )
    monkeypatch.setattr("uncv.doctor.diagnose", lambda: Diagnosis(checks))
    found = run_json("doctor", code=code)
    assert found["healthy"] is (code == 0)
    assert [check["name"] for check in found["checks"]] == ["engine", "extra"]
    text = run("doctor", code=code).stdout
    assert ("remedy: pip install engine" in text) is (code == 1)
    assert "extra: missing (optional), not installed; remedy: pip install extra" in text


@pytest.mark.slow
def test_the_demo_writes_everything_it_promises(tmp_path, monkeypatch):
    monkeypatch.setenv("UNCV_QUICK", "1")
    found = run_json("demo", "--out", tmp_path, "--seed", 3)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert found == summary
    runs = summary["unbiased"], summary["biased"]
    for one in runs:
        assert one["labels"] == 14
        assert one["energy_rmse_mev_per_atom"] > 0
        assert 0 <= one["conformal_coverage_exchangeable"]["share"] <= 1
        assert len(one["curve"]["labels"]) == len(one["curve"]["coverage"])
    assert runs[0]["md_steps"] == runs[1]["md_steps"]
    assert runs[0]["frames"] == runs[1]["frames"]
    names = ["ramachandran", "coverage", "learning_curve", "parity", "uncertainty", "colvar"]
    for name in names:
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "</svg>" in (tmp_path / f"{name}.svg").read_text()
    page = (tmp_path / "report.html").read_text()
    assert page.count("<figure") == page.count("</figure>") == len(names)
    assert page.count("<section") == page.count("</section>") == len(names) + 1
    labelled = uncv.read(tmp_path / "labelled.extxyz")
    columns = {"run", "round", "walker", "step", "uncertainty", "stop_reason", "fingerprint"}
    assert columns <= set(labelled.info)
    assert len(labelled) == 28
    first = [
        labelled[np.flatnonzero(labelled.info["run"] == r)][:8] for r in ("unbiased", "biased")
    ]
    np.testing.assert_array_equal(first[0].energy, first[1].energy)
    assert len(uncv.read(tmp_path / "candidates.extxyz")) > 0
    assert "EXTRACV NAME=uncertainty" in (tmp_path / "plumed.dat").read_text()
    colvar = np.loadtxt(tmp_path / "COLVAR")
    assert colvar.shape[1] == 4
    assert (tmp_path / "alanine_dipeptide.pt").stat().st_size > 0
    uncv.UncertaintyCV.load(tmp_path / "alanine_dipeptide.uncv")


def test_labels_of_any_oracle_kept_for_the_next_time(tmp_path):
    frames, kept = tmp_path / "frames.extxyz", tmp_path / "kept.jsonl"
    uncv.write(frames, tiny.frames("H2O", 2))
    options = ("--oracle", "xtb", "--option", "method=GFN1-xTB", "--reuse", kept)
    said = run_json("label", frames, "--out", tmp_path / "out.extxyz", *options)
    assert said["labelled"] == 2
    labelled = uncv.read(tmp_path / "out.extxyz")
    direct = uncv.oracles.XTBOracle("GFN1-xTB").label(tiny.frames("H2O", 2))
    np.testing.assert_allclose(labelled.energy, direct.energy, atol=1e-6)
    assert len(kept.read_text().splitlines()) == 2
