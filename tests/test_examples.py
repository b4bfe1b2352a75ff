"""Every example runs, shortened, and leaves behind what it promises."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

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


def run(folder: Path, name: str, *words: str) -> str:
    """Run an example in a folder and return what it prints."""
    done = subprocess.run(
        command(name, *words),
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


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
    for example in EXAMPLES.iterdir():
        if example.suffix in (".py", ".dat"):
            assert f'"{example.name}"' in text


def test_linear_bias(tmp_path):
    said = run(tmp_path, "01_linear_bias.py")
    assert "walker 1: u = " in said
    assert (tmp_path / "walkers.csv").read_text().count("\n") == 1 + 20 * 2


def test_metadynamics_of_u(tmp_path):
    pytest.importorskip("plumed")
    (tmp_path / "HILLS.1").write_text("of a former run\n")
    said = run(tmp_path, "02_metad_uncertainty.py").splitlines()
    tables = colvars(tmp_path, walkers=2, steps=70, stride=10)
    mean, spread = numbers(said[0])[:2]
    script = (tmp_path / "plumed.dat").read_text()
    (sigma,) = re.findall(r"SIGMA=(\S+)", script)
    assert float(sigma) == pytest.approx(spread / 2, abs=0.01)
    (begin,) = re.findall(r"INTERVAL=(\S+),1000", script)
    assert float(begin) == pytest.approx(mean, abs=0.01)
    for walker in (0, 1):
        hills = np.loadtxt(tmp_path / f"HILLS.{walker}")
        np.testing.assert_allclose(hills[:, 0], [0.02, 0.04, 0.06])
        np.testing.assert_allclose(hills[:, 2], float(sigma))
    assert said[1].startswith("metadynamics")
    assert numbers(said[1])[2] >= max(table.column("u")[1:].max() for table in tables) - 0.01
    assert max(table.column("metad.bias").max() for table in tables) > 0.1


@pytest.mark.parametrize("choice", ["wall", "variable"])
def test_opes(tmp_path, choice):
    pytest.importorskip("plumed")
    said = run(tmp_path, "03_opes_torsions_uncertainty.py", choice)
    tables = colvars(tmp_path, walkers=2, steps=70, stride=10)
    variables = ("phi", "psi") if choice == "wall" else ("phi", "psi", "u")
    for walker, table in enumerate(tables):
        assert ("wall.bias" in table.fields) == (choice == "wall")
        kernels = read_colvar(tmp_path / f"KERNELS.{walker}")
        np.testing.assert_allclose(kernels.column("time"), [0.02, 0.04, 0.06])
        assert kernels.fields[1 : 1 + len(variables)] == variables
        at = [list(table.column("time")).index(t) for t in (0.02, 0.04, 0.06)]
        for name in variables:
            found = kernels.column(name)
            np.testing.assert_allclose(found, table.column(name)[at], atol=1e-5)
    assert f"at most {max(t.column('u').max() for t in tables):.2f}" in said


def test_walkers_share_their_hills(tmp_path):
    pytest.importorskip("plumed")
    (tmp_path / "HILLS.2").write_text("of a former run\n")
    said = run(tmp_path, "04_multiple_walkers.py")
    tables = colvars(tmp_path, walkers=4, steps=70, stride=10)
    assert said.count(": 3 hills") == 4
    last = tables[3]  # updated after the others, so that it has read all that they wrote
    phi, psi, bias = (last.column(name) for name in ("phi", "psi", "metad.bias"))
    for row in (3, 4, 5, 6):
        expected = shared_bias(tmp_path, 4, phi[row], psi[row], before=0.01 * row - 1e-6)
        assert bias[row] == pytest.approx(expected, rel=1e-5)
    assert bias[6] > 2.5 * 3  # more than the hills of one walker can give
    for table, limit in zip(tables, (6.0, 8.0, 12.0, 20.0), strict=True):
        above = np.maximum(table.column("u") - limit, 0.0)
        np.testing.assert_allclose(table.column("wall.bias"), 2.0 * above**2, atol=1e-5)


def test_a_killed_run_goes_on(tmp_path):
    pytest.importorskip("plumed")
    first = subprocess.Popen(command("05_restart.py"), cwd=tmp_path, env=ENVIRONMENT)
    colvar, deadline = tmp_path / "COLVAR", time.monotonic() + 120
    while not (colvar.exists() and colvar.read_text().count("\n") > 15):
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert (tmp_path / "run.chk").exists()
    said = run(tmp_path, "05_restart.py")
    assert re.search(r"^taken up at step [1-9]\d*$", said, re.MULTILINE)
    assert "COLVAR has 61 lines: 0 are missing, 0 are there twice" in said
    table = read_colvar(colvar)
    np.testing.assert_allclose(table.column("time"), 0.001 * np.arange(61), atol=1e-9)
    assert np.abs(np.diff(table.column("phi"))).max() < 0.2  # no jump where it was taken up
    assert not list(tmp_path.glob("bck.*COLVAR"))


@pytest.mark.skipif(not COMPILED, reason="the plugin needs cmake and a compiler")
def test_other_engines_find_the_same_u(tmp_path):
    pytest.importorskip("plumed")
    said = run(tmp_path, "06_other_engines.py")
    (worst,) = re.findall(r"difference between PLUMED and uncv: (\S+)", said)
    assert float(worst) < 1e-5  # the weights of ANI-1x are in single precision
    table = read_colvar(tmp_path / "COLVAR")
    assert len(table.values) == 5
    wall = np.maximum(table.column("u") - 25.0, 0.0)
    np.testing.assert_allclose(table.column("wall.bias"), 0.5 * wall**2, atol=1e-6)
    assert (tmp_path / "plumed_anywhere.dat").read_text().count("UNCERTAINTY MODEL=ala2.pt") == 1
