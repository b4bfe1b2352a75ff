"""Every example runs, shortened, and leaves behind what it promises."""

from __future__ import annotations

import ast
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import ase.io
import mdtraj
import numpy as np
import pytest
import yaml

import uncv
from uncv.analysis import ColvarTable, read_colvar

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PLUGINS = EXAMPLES.parent / "build" / "plugin"
COMPILED = shutil.which("cmake") and shutil.which(os.environ.get("CXX", "g++"))
ENVIRONMENT = {
    **os.environ,
    "UNCV_QUICK": "1",
    "OMP_NUM_THREADS": "1",
    "UNCV_PLUGIN_DIR": os.environ.get("UNCV_PLUGIN_DIR", str(PLUGINS)),
}
pytestmark = pytest.mark.slow


def command(name: str, *words: str) -> list[str]:
    return [sys.executable, "-W", "ignore", str(EXAMPLES / name), *words]


def attempt(out: Path, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run an example that writes to a folder, in the folder above, and return how it went."""
    return subprocess.run(
        [*command(name, *words), "--out", out.name],
        cwd=out.parent,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def run(out: Path, name: str, *words: str) -> str:
    """Run an example that writes to a folder and nowhere else, and return what it prints."""
    done = attempt(out, name, *words)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert list(out.parent.iterdir()) == [out]
    return done.stdout


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "written"


def colvars(folder: Path, walkers: int, steps: int, stride: int) -> list[ColvarTable]:
    """The COLVAR files of all walkers, whose times (ps, 1 fs a step) must be complete."""
    tables = [read_colvar(folder / f"COLVAR.{walker}") for walker in range(walkers)]
    for table in tables:
        expected = 0.001 * np.arange(0, steps, stride)
        np.testing.assert_allclose(table.column("time"), expected, atol=1e-9)
        assert not table.notes
    return tables


def numbers(text: str) -> list[float]:
    return [float(word) for word in re.findall(r"\d+\.\d+(?:e[+-]\d+)?|\d+", text)]


def shared_bias(folder: Path, walkers: int, phi: float, psi: float, before: float) -> float:
    """Bias of all hills of (φ, ψ) older than a time (ps), as the manual of METAD defines it."""
    end, total = np.exp(-6.25), 0.0  # PLUMED stretches a Gaussian to end where it is e^-6.25
    for walker in range(walkers):
        hills = read_colvar(folder / f"HILLS.{walker}")
        names = ("time", "phi", "psi", "sigma_phi", "sigma_psi", "height", "biasf")
        when, x, y, *sigma, height, factor = (hills.column(name) for name in names)
        away = (np.stack([phi - x, psi - y]) + np.pi) % (2 * np.pi) - np.pi
        square = 0.5 * ((away / np.stack(sigma)) ** 2).sum(axis=0)
        # a file of hills tells heights for the free energy: larger by γ/(γ−1)
        hill = height * (factor - 1) / factor * (np.exp(-square) - end) / (1 - end)
        total += hill[(when < before) & (square < 6.25)].sum()
    return total


def test_every_example_is_tested_here():
    tests = [Path(__file__), Path(__file__).with_name("test_executors_slurm.py")]
    text = "".join(path.read_text(encoding="utf-8") for path in tests)
    index = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for example in EXAMPLES.iterdir():
        if example.suffix in (".py", ".dat"):
            assert f'"{example.name}"' in text
            assert f"({example.name})" in index


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("[0-9]*.py")), ids=lambda p: p.stem)
def test_an_example_is_short_and_public(example):
    text = example.read_text(encoding="utf-8")
    assert text.count("\n") < 150
    tree = ast.parse(text)
    said = " ".join(ast.get_docstring(tree).split())
    assert "You learn" in said
    assert re.search(r"\b[Ii]t takes (half a|a|some )?\s?(minute|second)", said)
    assert f"python {example.name}" in said
    assert '"--out"' in text
    assert "sys.path" not in text
    allowed = {"uncv", "uncv.units", "uncv.export"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "uncv":
            assert node.module in allowed
        elif isinstance(node, ast.Import):
            used = {a.name for a in node.names if a.name.partition(".")[0] == "uncv"}
            assert used <= allowed
        elif isinstance(node, ast.Attribute):
            assert not node.attr.startswith("_")


def test_linear_bias(out):
    said = run(out, "01_linear_bias.py")
    assert "walker 1: u = " in said
    assert (out / "walkers.csv").read_text().count("\n") == 1 + 20 * 2


def test_metadynamics_of_u(out):
    pytest.importorskip("plumed")
    out.mkdir()
    (out / "HILLS.1").write_text("of a former run\n")
    said = run(out, "02_metad_uncertainty.py").splitlines()
    tables = colvars(out, walkers=2, steps=70, stride=10)
    mean, spread = numbers(said[0])[:2]
    script = (out / "plumed.dat").read_text()
    (sigma,) = re.findall(r"SIGMA=(\S+)", script)
    assert float(sigma) == pytest.approx(spread / 2, abs=0.01)
    (begin,) = re.findall(r"INTERVAL=(\S+),1000", script)
    assert float(begin) == pytest.approx(mean, abs=0.01)
    for walker in (0, 1):
        hills = np.loadtxt(out / f"HILLS.{walker}")
        np.testing.assert_allclose(hills[:, 0], [0.02, 0.04, 0.06])
        np.testing.assert_allclose(hills[:, 2], float(sigma))
    assert said[1].startswith("metadynamics")
    assert numbers(said[1])[2] >= max(table.column("u")[1:].max() for table in tables) - 0.01
    assert max(table.column("metad.bias").max() for table in tables) > 0.1


@pytest.mark.parametrize("choice", ["wall", "variable"])
def test_opes(out, choice):
    pytest.importorskip("plumed")
    said = run(out, "03_opes_torsions_uncertainty.py", choice)
    tables = colvars(out, walkers=2, steps=70, stride=10)
    variables = ("phi", "psi") if choice == "wall" else ("phi", "psi", "u")
    for walker, table in enumerate(tables):
        assert ("wall.bias" in table.fields) == (choice == "wall")
        kernels = read_colvar(out / f"KERNELS.{walker}")
        np.testing.assert_allclose(kernels.column("time"), [0.02, 0.04, 0.06])
        assert kernels.fields[1 : 1 + len(variables)] == variables
        at = [list(table.column("time")).index(t) for t in (0.02, 0.04, 0.06)]
        for name in variables:
            found = kernels.column(name)
            np.testing.assert_allclose(found, table.column(name)[at], atol=1e-5)
    assert f"at most {max(t.column('u').max() for t in tables):.2f}" in said


def test_walkers_share_their_hills(out):
    pytest.importorskip("plumed")
    out.mkdir()
    (out / "HILLS.2").write_text("of a former run\n")
    said = run(out, "04_multiple_walkers.py")
    tables = colvars(out, walkers=4, steps=70, stride=10)
    assert said.count(": 3 hills") == 4
    last = tables[3]  # updated after the others, so that it has read all that they wrote
    phi, psi, bias = (last.column(name) for name in ("phi", "psi", "metad.bias"))
    for row in (3, 4, 5, 6):
        expected = shared_bias(out, 4, phi[row], psi[row], before=0.01 * row - 1e-6)
        assert bias[row] == pytest.approx(expected, rel=1e-5)
    assert bias[6] > 2.5 * 3  # more than the hills of one walker can give
    for table, limit in zip(tables, (6.0, 8.0, 12.0, 20.0), strict=True):
        above = np.maximum(table.column("u") - limit, 0.0)
        np.testing.assert_allclose(table.column("wall.bias"), 2.0 * above**2, atol=1e-5)


def test_a_killed_run_goes_on(out):
    pytest.importorskip("plumed")
    words = command("05_restart.py", "--out", out.name)
    first = subprocess.Popen(words, cwd=out.parent, env=ENVIRONMENT)
    colvar, deadline = out / "COLVAR", time.monotonic() + 120
    while not (colvar.exists() and colvar.read_text().count("\n") > 15):
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert (out / "run.chk").exists()
    said = run(out, "05_restart.py")
    assert re.search(r"^taken up at step [1-9]\d*$", said, re.MULTILINE)
    assert "COLVAR has 61 lines: 0 are missing, 0 are there twice" in said
    table = read_colvar(colvar)
    np.testing.assert_allclose(table.column("time"), 0.001 * np.arange(61), atol=1e-9)
    assert np.abs(np.diff(table.column("phi"))).max() < 0.2  # no jump where it was taken up
    assert not list(out.glob("bck.*COLVAR"))


@pytest.mark.skipif(not COMPILED, reason="the plugin needs cmake and a compiler")
def test_other_engines_find_the_same_u(out):
    pytest.importorskip("plumed")
    said = run(out, "06_other_engines.py")
    (worst,) = re.findall(r"difference between PLUMED and uncv: (\S+)", said)
    assert float(worst) < 1e-8  # COLVAR has ten digits
    table = read_colvar(out / "COLVAR")
    assert len(table.values) == 5
    wall = np.maximum(table.column("u") - 25.0, 0.0)
    np.testing.assert_allclose(table.column("wall.bias"), 0.5 * wall**2, atol=1e-6)
    assert (out / "plumed_anywhere.dat").read_text().count("UNCERTAINTY MODEL=ala2.pt") == 1


def test_drug_molecule(out):
    pytest.importorskip("rdkit")
    said = run(out, "07_drug_molecule.py", "--smiles", "CC(=O)N", "--strength", "4")
    assert "sound: no bond is broken" in said
    with (out / "biased.csv").open() as file:
        rows = list(csv.DictReader(file))
    u, bias = (
        np.array([float(row[f"{name} (kJ/mol)"]) for row in rows])
        for name in ("uncertainty", "bias")
    )
    assert len(rows) == 2 * 60 // 10
    np.testing.assert_allclose(bias, -4.0 * u, rtol=1e-6)
    late = u.reshape(-1, 2)[1:] / 96.48533
    (line,) = [line for line in said.splitlines() if line.startswith("biased")]
    assert numbers(line)[:3] == pytest.approx([late.mean(), late.std(), late.max()], abs=6e-4)
    frames = mdtraj.load(str(out / "biased.dcd"), top=str(out / "biased.pdb"))
    assert (frames.n_frames, frames.n_atoms) == (6, 2 * 9)


@pytest.mark.parametrize(
    ("smiles", "message"),
    [("CC(=O)[O-]", "neutral molecule"), ("CC(", "no SMILES"), ("CCS", "knows H, C, N, O")],
)
def test_a_molecule_outside_of_ani(out, smiles, message):
    pytest.importorskip("rdkit")
    done = attempt(out, "07_drug_molecule.py", "--smiles", smiles)
    assert done.returncode == 1
    assert message in done.stderr


def test_openmm_metadynamics(out):
    said = run(out, "08_openmm_metadynamics.py")
    assert "with 6 hills" in said
    times, u = np.loadtxt(out / "u.csv", delimiter=",", skiprows=1, unpack=True)
    np.testing.assert_allclose(times, 0.0025 * np.arange(1, 13), rtol=1e-5)
    topology, start = uncv.structures.alanine_dipeptide()
    frames = mdtraj.load(str(out / "biased.dcd"), top=mdtraj.Topology.from_openmm(topology))
    cv = uncv.UncertaintyCV(uncv.load_potential("ani1x"), uncv.EnsembleUncertainty(of="energy"))
    found = cv.evaluate(uncv.Dataset(start.numbers[0], 10.0 * frames.xyz)).uncertainty
    np.testing.assert_allclose(96.48533 * found, u[9], rtol=1e-3)  # step 50
    above, profile = np.loadtxt(out / "hills.csv", delimiter=",", skiprows=1, unpack=True)
    assert profile.min() == 0.0
    # the free energy is −V T'/ΔT = −V 10/9: no deeper than six hills of 2 kJ/mol
    assert 2.0 < profile.max() < 6 * 2.0 * 10 / 9
    assert profile.argmin() < len(above) / 4


def test_fine_tuning(out):
    pytest.importorskip("tblite")
    said = run(out, "09_fine_tune_ani1x.py")
    data = uncv.read(out / "labelled.extxyz")
    assert data.info["level_of_theory"][0].startswith("GFN2-xTB")
    test = data.split(33, 11, seed=0)[2]
    cv = uncv.UncertaintyCV.load(out / "tuned.uncv")
    rmse = np.sqrt(((cv.evaluate(test).forces - test.forces) ** 2).mean())
    (line,) = [line for line in said.splitlines() if line.startswith("fine-tuned")]
    assert numbers(line)[1] == pytest.approx(rmse, abs=6e-4)
    (line,) = [line for line in said.splitlines() if line.startswith("ANI-1x as it is")]
    assert numbers(line.partition(":")[2])[1] > rmse
    again = out.parent / "again"
    given = attempt(again, "09_fine_tune_ani1x.py", "--data", str(out / "labelled.extxyz"))
    assert given.stdout.replace("again", "written") == said


def test_ase(out):
    run(out, "10_ase.py")
    frames = ase.io.read(out / "ethanol.extxyz", index=":")
    assert len(frames) == 1 + 20 // 5
    for atoms in frames:
        info = atoms.info
        assert info["bias"] == pytest.approx(-9.0 * info["uncertainty"], rel=1e-6)
        total = info["energy_unbiased"] + info["bias"]
        assert atoms.get_potential_energy() == pytest.approx(total, abs=1e-6)
    image, energy, u = np.loadtxt(out / "ammonia.csv", delimiter=",", skiprows=1, unpack=True)
    assert image.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(energy, energy[::-1], atol=5e-3)  # the mirror image
    np.testing.assert_allclose(u, u[::-1], atol=2e-3)
    band = ase.io.read(out / "ammonia.extxyz", index=":")
    flat = band[2].positions - band[2].positions[0]
    assert abs(np.linalg.det(flat[1:])) < 0.05  # planar at the top
    assert 0.2 < energy.max() < 0.4  # eV; 0.25 by coupled cluster


def test_campaign(out):
    said = run(out, "11_campaign.py")
    assert "12 labels, 1 rounds, 160 steps" in said
    assert "16 labels, 2 rounds, 320 steps; ended: the budget of 16 labels is spent" in said
    events = [json.loads(line) for line in (out / "run" / "journal.jsonl").read_text().splitlines()]
    assert [e["event"] for e in events].count("continued") == 1
    labelled = uncv.read(out / "run" / "labelled.extxyz")
    assert labelled.info["round"].tolist() == [0] * 8 + [1] * 4 + [2] * 4
    assert "round 2 bought 4 labels" in said


MACE_READS = r"""import shlex, sys
from mace.data import KeySpecification, load_from_xyz, update_keyspec_from_kwargs
from mace.tools import build_default_arg_parser, check_args
words = shlex.split(open("train_mace.sh").read().replace("\\\n", " "))
args, said = check_args(build_default_arg_parser().parse_args(words[1:]))
keys = update_keyspec_from_kwargs(KeySpecification(), vars(args))
for file in (args.train_file, args.valid_file, args.test_file):
    for one in load_from_xyz(file, keys)[1]:
        print("read", one.properties["energy"], abs(one.properties["forces"]).max())
"""


def test_export(out):
    said = run(out, "12_export_mace_nequip.py")
    labelled = uncv.read(out / "labelled.extxyz")
    frames = [
        a
        for part in ("train", "valid", "test")
        for a in ase.io.read(out / f"data/{part}.extxyz", ":")
    ]
    assert [len(frames), said.count("REF_energy in eV")] == [60, 3]
    assert [atoms.info["REF_energy"] for atoms in frames] == labelled.energy.tolist()
    forces = [atoms.arrays["REF_forces"] for atoms in frames]
    np.testing.assert_array_equal(forces, labelled.forces)

    config = yaml.safe_load((out / "nequip.yaml").read_text())
    assert config["chemical_symbols"] == ["H", "C", "N", "O"]
    keys = config["data"]["key_mapping"]
    assert (
        set(keys) == {"REF_energy", "REF_forces"} <= frames[0].info.keys() | frames[0].arrays.keys()
    )
    for file in ("train", "val", "test"):
        assert (out / config["data"][f"{file}_file_path"]).is_file()
    resolvers = ("training_data_stats",)
    for name in re.findall(r"\$\{([^}]*)\}", (out / "nequip.yaml").read_text()):
        section = config
        for part in name.split(".") if not name.startswith(resolvers) else ():
            section = section[part]


def test_mace_reads_the_export(out):
    pytest.importorskip("mace")
    run(out, "12_export_mace_nequip.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MACE_READS],
        cwd=out,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    read = np.array(
        [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("read")]
    )
    labelled = uncv.read(out / "labelled.extxyz")
    expected = [labelled.energy, np.abs(labelled.forces).max(axis=(1, 2))]
    np.testing.assert_allclose(read.astype(float), np.transpose(expected), rtol=1e-7)


def test_a_campaign_is_exported(out):
    """What 12 says of a campaign, on a run directory with the files that it reads."""
    topology, start = uncv.structures.alanine_dipeptide()
    frames = uncv.perturb.draw(start, 3, uncv.perturb.Rattle(0.05), seed=1)
    labelled = uncv.oracles.OpenMMForceField(topology, "amber14-all.xml").label(frames)
    folder = out.parent / "elsewhere"
    folder.mkdir()
    split = np.array(["train", "valid", "calibration"])
    uncv.write(folder / "labelled.extxyz", labelled.with_info(split=split))
    done = attempt(out, "12_export_mace_nequip.py", "--source", "elsewhere")
    assert done.returncode == 0, done.stderr[-2000:]
    written = ase.io.read(out / "data" / "test.extxyz")
    assert written.info["REF_energy"] == labelled.energy[2]
