"""`uncv analyze`: what it reads, shows and writes, beside what the library says."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace

import mdtraj
import numpy as np
import pytest
import tiny
from typer.testing import CliRunner

import uncv
from uncv.analysis import (
    accessible_coverage,
    coverage,
    dihedrals,
    equal_frames,
    integrated_autocorrelation_time,
    phi_psi,
    samples_of_frames,
)
from uncv.cli import app
from uncv.config import CampaignConfig, dump_config
from uncv.data import Dataset
from uncv.units import ANGSTROM_IN_NM


def run(*arguments, code=0):
    result = CliRunner().invoke(app, ["analyze", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def run_json(*arguments):
    return json.loads(run(*arguments, "--json").stdout)


@pytest.fixture(scope="module")
def molecule():
    from uncv.structures import alanine_dipeptide

    return alanine_dipeptide()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, molecule):
    """Four walkers of 50 frames near the start as .npz, .dcd and .xtc, and a topology."""
    path = tmp_path_factory.mktemp("analyze")
    topology, start = molecule
    rng = np.random.default_rng(6)
    walk = np.cumsum(0.03 * rng.normal(size=(4, 50, 22, 3)), axis=1).reshape(-1, 22, 3)
    info = {
        "walker": np.repeat(np.arange(4), 50), "step": np.tile(np.arange(1, 51) * 20, 4),
        "uncertainty": rng.random(200),
    }  # fmt: skip
    frames = Dataset(start.numbers[0], start.positions + walk, info=info)
    uncv.write(path / "run.npz", frames)
    uncv.write(path / "half.npz", frames[np.flatnonzero(info["walker"] < 2)])
    trajectory = mdtraj.Trajectory(
        (frames.positions * ANGSTROM_IN_NM).astype(np.float32),
        mdtraj.Topology.from_openmm(topology),
        time=0.5 * np.arange(200),
    )
    trajectory[0].save_pdb(str(path / "top.pdb"))
    for suffix in ("dcd", "xtc", "pdb"):
        trajectory.save(str(path / f"run.{suffix}"))
    return path


@pytest.fixture(scope="module")
def angles(folder):
    return dihedrals(uncv.read(folder / "run.npz"))


def test_frames_in_numbers(folder, angles):
    found = run_json(folder / "run.npz", "--timestep", 0.5)
    assert (found["frames"], found["walkers"], found["variables"]) == (200, 4, ["φ", "ψ"])
    assert found["coverage"] == pytest.approx(coverage(angles))
    low, high = found["coverage_interval"]
    assert low <= found["coverage"] <= high
    assert found["coverage_of_uniform_points"] == pytest.approx(
        float(uncv.analysis.expected_coverage(200, 2))
    )
    assert found["accessible_coverage"] is None
    memory, walker = found["memory"], np.repeat(np.arange(4), 50)
    times = {name: memory["times"][name]["frames"] for name in memory["times"]}
    for name, column in (("φ", 0), ("ψ", 1)):
        for wave, function in (("cos", np.cos), ("sin", np.sin)):
            own = integrated_autocorrelation_time(function(angles[:, column]), walker)
            assert times[f"{wave} {name}"] == pytest.approx(own.time)
    longest = max(times.values())
    assert times[memory["slowest"]] == longest
    assert memory["times"][memory["slowest"]]["ps"] == pytest.approx(longest * 20 * 0.5 * 1e-3)
    assert memory["independent_frames"] == pytest.approx(200 / longest)
    assert memory["per_evaluation"] == pytest.approx(1 / (20 * longest))
    assert memory["per_ns"] == pytest.approx(1e6 / (20 * 0.5 * longest))
    assert sum(basin["frames"] for basin in found["basins"]) <= 200
    assert found["transitions"]["total"] == np.sum(found["transitions"]["counts"])


def test_trajectories_with_a_topology_say_the_same(folder):
    expected = run_json(folder / "run.npz", "--residue", "ALA2", "--topology", folder / "top.pdb")
    assert expected["variables"] == ["φ ALA2", "ψ ALA2"]
    for inputs in (("run.dcd", "--topology", folder / "top.pdb"), ("run.pdb",)):
        found = run_json(folder / inputs[0], *inputs[1:])
        assert (found["frames"], found["walkers"]) == (200, 1)
        assert found["coverage"] == pytest.approx(expected["coverage"], abs=0.005)
        assert list(found["residues"]) == ["ALA2"]
    timed = run_json(folder / "run.xtc", "--topology", folder / "top.pdb", "--residue", "ala2")
    time = timed["memory"]["times"][timed["memory"]["slowest"]]
    assert time["ps"] == pytest.approx(0.5 * time["frames"])
    told = run_json(folder / "run.dcd", "--topology", folder / "top.pdb", "--interval", 0.25)
    assert told["memory"]["per_ns"] == pytest.approx(4000 / _frames(told))
    assert (
        run_json(folder / "run.dcd", "--topology", folder / "top.pdb")["memory"]["per_ns"] is None
    )


def _frames(found):
    return found["memory"]["times"][found["memory"]["slowest"]]["frames"]


def test_several_residues_stand_beside_each_other(tmp_path, rng):
    from test_analysis_trajectory import peptide

    topology = peptide()
    xyz = rng.normal(size=(60, topology.n_atoms, 3)).astype(np.float32)
    trajectory = mdtraj.Trajectory(xyz, topology)
    trajectory.save(str(tmp_path / "run.dcd"))
    trajectory[0].save_pdb(str(tmp_path / "top.pdb"))
    options = (tmp_path / "run.dcd", "--topology", tmp_path / "top.pdb")
    found = run_json(*options, "--out", tmp_path / "three.svg")
    assert list(found["residues"]) == ["ALA2", "GLY3", "SER4"]
    for name, (phi, psi) in phi_psi(topology):
        pair = dihedrals(trajectory, [phi.atoms, psi.atoms])
        assert found["residues"][name]["coverage"] == pytest.approx(coverage(pair), abs=1e-3)
    assert found["coverage"] == found["residues"]["ALA2"]["coverage"]
    assert (tmp_path / "three.svg").read_text().lstrip().startswith("<?xml")
    text = run(*options, "--residue", "SER4", "--residue", "ALA2").stdout
    assert text.index("SER4 coverage: ") < text.index("ALA2 coverage: ")
    assert "several" not in run(*options, "--residue", "GLY3").stdout
    mixed = run_json(*options, "--variable", "phi:ALA2", "--variable", "distance:0,5=0,60")
    assert mixed["variables"] == ["φ ALA2", "distance 0,5"]
    result = run(*options, "--save", tmp_path / "s.npz", code=1)
    assert "there are 3 surfaces; name one residue" in result.output


def test_any_variable_of_frames(folder):
    found = run_json(folder / "run.npz", "--variable", "u=0,1", "--out", folder / "u.png")
    u = uncv.read(folder / "run.npz").info["uncertainty"]
    assert found["coverage"] == pytest.approx(coverage(u, bounds=(0, 1)))
    assert found["notes"] == []
    opened = run_json(folder / "run.npz", "--variable", "distance:4,8", "--variable", "u")
    assert "the limits of distance 4,8" in opened["notes"][0]
    assert "give some (=LOW,HIGH) to compare coverages" in opened["notes"][1]
    three = ("--variable", "phi:ALA2", "--variable", "psi:ALA2", "--variable", "u=0,1")
    options = (folder / "run.npz", "--topology", folder / "top.pdb", "--bins", 8, *three)
    found = run_json(*options, "--out", folder / "cube.png", "--save", folder / "cube.csv")
    assert found["variables"] == ["φ ALA2", "ψ ALA2", "u"]
    rows = list(csv.DictReader((folder / "cube.csv").read_text().splitlines()))
    assert len(rows) == 8**3
    assert sum(int(row["frames"]) for row in rows) == 200
    assert min(float(row["free energy (kJ/mol)"]) for row in rows if int(row["frames"])) == 0.0
    for name in ("u.png", "cube.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_a_reference_tells_what_is_accessible_and_equal_frames(folder, angles):
    half = dihedrals(uncv.read(folder / "half.npz"))
    picture = ("--out", folder / "both.png")
    found = run_json(
        folder / "half.npz", "--reference", folder / "run.npz", "--cells", 16, *picture
    )
    assert found["accessible_coverage"] == pytest.approx(accessible_coverage(half, angles, 16))
    assert found["accessible_coverage"] < 1.0
    equal = found["coverage_at_equal_frames"]
    assert equal["frames"] == 100
    assert equal["run"] == pytest.approx(found["coverage"])
    samples = samples_of_frames(uncv.read(folder / "run.npz"))
    assert equal["reference"] == pytest.approx(coverage(equal_frames([samples], 100)[0].values))
    whole = run_json(folder / "run.npz", "--reference", folder / "run.npz")
    assert whole["accessible_coverage"] == 1.0
    assert whole["reference"]["rmsd_kj_per_mol"] == 0.0
    text = run(folder / "half.npz", "--reference", folder / "run.npz").stdout
    assert "\naccessible coverage: " in text
    assert "\ncoverage at 100 frames: " in text
    opened = ("--variable", "distance:4,8", "--reference", folder / "run.npz")
    assert run_json(folder / "half.npz", *opened)["accessible_coverage"] <= 1.0


def test_a_saved_surface_is_a_reference_for_any_variable(folder):
    saved, options = folder / "u.npz", ("--variable", "distance:4,8=1,5", "--bins", 12)
    run(folder / "run.npz", *options, "--save", saved)
    found = run_json(folder / "half.npz", *options, "--reference", saved, "--cutoff", 5)
    assert 0.0 < found["accessible_coverage"] <= 1.0
    assert "coverage_at_equal_frames" not in found
    result = run(folder / "half.npz", "--reference", saved, code=1)
    assert "2 variables and the accessible cells 1" in result.output
    other = ("--variable", "distance:4,8=1,6", "--bins", 12, "--reference", saved)
    assert (
        "compare surfaces of the same variables" in run(folder / "half.npz", *other, code=1).output
    )


def test_fewer_frames_for_a_fair_comparison(folder, angles):
    first = run_json(folder / "run.npz", "--frames", 40, "--take", "first")
    chosen = np.concatenate([np.arange(10) + 50 * walker for walker in range(4)])
    assert first["coverage"] == pytest.approx(coverage(angles[chosen]))
    thin = run_json(folder / "run.npz", "--frames", 40)
    assert thin["frames"] == 40
    assert thin["coverage"] != first["coverage"]


def test_numbers_are_written_as_csv_and_json(folder):
    found = run_json(folder / "run.npz", "--numbers", folder / "n.json")
    written = json.loads((folder / "n.json").read_text())
    assert written == {k: v for k, v in found.items() if k not in ("picture", "surface", "numbers")}
    run(folder / "run.npz", "--numbers", folder / "n.csv")
    rows = dict(csv.reader((folder / "n.csv").read_text().splitlines()))
    assert float(rows["coverage"]) == found["coverage"]
    assert float(rows["coverage_interval[1]"]) == found["coverage_interval"][1]
    assert float(rows["memory.times.cos φ.frames"]) == found["memory"]["times"]["cos φ"]["frames"]
    assert rows["accessible_coverage"] == ""


def test_environments_by_the_descriptors_of_a_potential(folder):
    tiny.cv().save(folder / "cv.uncv")
    options = ("--features", folder / "cv.uncv", "--reference", folder / "run.npz")
    found = run_json(folder / "half.npz", *options)["environments"]
    assert [one["element"] for one in found] == [1, 6, 7, 8]
    assert all(0.5 <= one["share"] <= 1.0 for one in found)
    strict = run_json(folder / "half.npz", *options, "--distance", 1e-9)["environments"]
    assert [one["share"] for one in strict] == pytest.approx([0.5] * 4)
    assert "environments of element 6: " in run(folder / "half.npz", *options).stdout


def campaign(path, molecule, **system):
    """A run directory as a campaign leaves it: two rounds of two walkers, one stop."""
    path.mkdir()
    _, start = molecule
    config = CampaignConfig.model_validate({"system": {"structure": "alanine_dipeptide", **system}})
    (path / "config.yaml").write_text(dump_config(config))
    (path / "journal.jsonl").write_text('{"event": "begun"}\n')
    for number in (1, 2):
        rng = np.random.default_rng(number)
        moved = start.positions + 0.1 * rng.normal(size=(9, 22, 3))
        info = {
            "walker": [0, 1] * 4 + [0], "step": [10, 10, 20, 20, 30, 30, 40, 40, 43],
            "stop_reason": [""] * 8 + ["far"], "round": [number] * 9,
        }  # fmt: skip
        uncv.write(
            path / f"frames_round_{number:02d}.npz", Dataset(start.numbers[0], moved, info=info)
        )
    return path, config


def test_a_run_directory_is_read_as_the_campaign_sees_it(tmp_path, molecule):
    path, config = campaign(tmp_path / "run", molecule)
    found = run_json(path)
    parts = [uncv.read(file) for file in sorted(path.glob("frames_round_*.npz"))]
    regular = np.concatenate(
        [dihedrals(p[np.flatnonzero(p.info["stop_reason"] == "")]) for p in parts]
    )
    assert found["coverage"] == pytest.approx(coverage(regular))
    assert (found["frames"], found["walkers"]) == (16, 2)
    assert found["notes"] == ["2 frames at which walkers stopped were left out"]
    slow = found["memory"]["times"][found["memory"]["slowest"]]
    if slow["frames"] is not None:
        assert slow["ps"] == pytest.approx(slow["frames"] * 10 * config.sampling.timestep_fs * 1e-3)
    assert "cannot be reweighted" in run(path, "--reweight", code=1).output
    for file in path.glob("frames_round_*.npz"):
        file.unlink()
    assert "has sampled no frames yet" in run(path, code=1).output
    shutil.rmtree(path)
    path.mkdir()
    assert "is no run directory: it has no journal.jsonl" in run(path, code=1).output


def test_campaigns_of_two_temperatures_are_compared_by_coverage_alone(tmp_path, molecule):
    one, _ = campaign(tmp_path / "one", molecule)
    two, _ = campaign(tmp_path / "two", molecule)
    text = (two / "config.yaml").read_text()
    (two / "config.yaml").write_text(text.replace("temperature_k: 300.0", "temperature_k: 600.0"))
    found = run_json(one, "--reference", two)
    assert found["reference"] == {}
    assert found["coverage_at_equal_frames"]["frames"] == 16
    assert "it is of 600 K and the run of 300 K" in found["notes"][-1]
    assert run_json(one, "--reference", one)["reference"]["rmsd_kj_per_mol"] == 0.0


def test_a_campaign_says_which_torsions_it_follows(tmp_path, molecule):
    path, _ = campaign(tmp_path / "run", molecule, torsions=[[4, 6, 8, 14]])
    found = run_json(path)
    assert found["variables"] == ["torsion 4,6,8,14"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("run.dcd",), 1, "stores positions only; give a topology"),
        (("run.dcd", "--topology", "none.pdb"), 2, "there is no topology file"),
        (("run.dcd", "--topology", "small.pdb"), 1, "holds 22 atoms and the topology 5"),
        (("run.npz", "--topology", "small.pdb"), 1, "holds 22 atoms and the topology 5"),
        (("run.dcd", "--topology", "top.pdb", "--residue", "ALA3"), 1, "no residue ALA3; did you"),
        (("run.npz", "--residue", "ALA2"), 1, "give --topology"),
        (("run.npz", "--variable", "phi:ALA2"), 1, "is found by a topology; give one"),
        (("run.npz", "--variable", "bond:1"), 1, "is not understood"),
        (("run.npz", "--variable", "column:x"), 1, "have no column 'x'"),
        (("run.npz", "--variable", "volume"), 1, "no cell, and so no volume"),
        (("run.npz", "--variable", "u=3,4"), 1, "lies inside the limits"),
        (("empty.dcd", "--topology", "top.pdb"), 1, "is empty"),
        (("run.npz", "--out", "x.jpg"), 1, "'.jpg'; expected .png or .svg"),
        (("run.npz", "--numbers", "x.txt"), 1, "as .csv or .json, not as '.txt'"),
        (("run.npz", "--save", "x.txt"), 1, "as .npz or .csv, not as '.txt'"),
        (("run.npz", "--frames", "900"), 1, "900 frames are asked for, but runs have 200"),
        (("run.npz", "--features", "cv.uncv"), 1, "give --reference"),
        (("run.npz", "--interval", "0"), 2, "expected more than 0"),
        (("run.dcd", "--topology", "top.pdb", "--reweight"), 1, "holds no bias"),
        (("other.npz",), 1, "is no alanine dipeptide in the order ACE-ALA-NME"),
        (("nan.npz",), 1, "NaN or infinite"),
        (
            ("run.npz", "--residue", "ALA2", "--variable", "u", "--topology", "top.pdb"),
            1,
            "not both",
        ),
        (("COLVAR", "--variable", "distance:0,1"), 1, "hold columns alone, no atoms"),
    ],
)
def test_mistakes_end_with_a_code_and_one_line(folder, arguments, code, message):
    if not (folder / "small.pdb").exists():
        small = mdtraj.load(str(folder / "top.pdb")).atom_slice(range(5))
        small.save_pdb(str(folder / "small.pdb"))
        (folder / "empty.dcd").write_bytes(b"")
        uncv.write(folder / "other.npz", tiny.frames("CH3OH", 3))
        frames = uncv.read(folder / "run.npz")
        info = {**frames.info, "uncertainty": np.where(np.arange(200) == 7, np.nan, 0.1)}
        uncv.write(folder / "nan.npz", replace(frames, info=info))
        (folder / "COLVAR").write_text("#! FIELDS time phi psi\n 0 0.1 0.2\n 1 0.2 0.3\n")
    given = [str(folder / a) if "." in a or a == "COLVAR" else a for a in arguments]
    given += ["--variable", "u"] if arguments == ("nan.npz",) else []
    result = CliRunner().invoke(app, ["analyze", *given])
    assert result.exit_code == code, result.output
    assert message in " ".join(result.output.replace("│", " ").split())


def test_regions_of_residues_are_those_given(folder):
    sides = ("--region", "right=0,180", "--region", "left=-180,0")
    options = ("--topology", folder / "top.pdb", "--residue", "ALA2", *sides)
    assert run_json(folder / "run.dcd", *options)["difference"]["regions"] == ["right", "left"]
