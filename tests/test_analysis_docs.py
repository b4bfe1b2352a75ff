"""docs/coverage.md: its commands and its Python run, in a folder with the files that they name."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import mdtraj
import numpy as np
import pytest
import tiny
from typer.testing import CliRunner

import uncv
from uncv.cli import app
from uncv.data import Dataset
from uncv.structures import alanine_dipeptide
from uncv.units import ANGSTROM_IN_NM

PAGE = (Path(__file__).parents[1] / "docs" / "coverage.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    topology, start = alanine_dipeptide()
    rng = np.random.default_rng(2)
    walk = np.cumsum(0.03 * rng.normal(size=(4, 40, 22, 3)), axis=1).reshape(-1, 22, 3)
    info = {"walker": np.repeat(np.arange(4), 40), "step": np.tile(np.arange(1, 41) * 20, 4),
            "uncertainty": rng.random(160)}  # fmt: skip
    frames = Dataset(start.numbers[0], start.positions + walk, info=info)
    uncv.write(tmp_path / "run.npz", frames)
    uncv.write(tmp_path / "half.npz", frames[:80])
    xyz = (frames.positions * ANGSTROM_IN_NM).astype(np.float32)
    trajectory = mdtraj.Trajectory(xyz, mdtraj.Topology.from_openmm(topology))
    trajectory.save(str(tmp_path / "run.dcd"))
    trajectory[0].save_pdb(str(tmp_path / "top.pdb"))
    tiny.cv().save(tmp_path / "ala2.uncv")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_run(folder):
    found = re.findall(r"^uncv analyze .*$", PAGE, flags=re.MULTILINE)
    lines = [line for line in found if "biased/" not in line]
    assert len(lines) == 5
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "uncv"
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
    assert (folder / "map.svg").stat().st_size > 0
    assert (folder / "both.png").stat().st_size > 0


def test_the_python_runs_one_block_after_another(folder, capsys):
    known: dict = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(compile(code, "docs/coverage.md", "exec"), known)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed[:2]] == ["80", "80"]
    assert [len(run) for run in known["first"]] == [60, 60]
    assert 0.0 < known["share"] < 1.0
    assert known["memory"].slowest in ("cos φ ALA2", "sin φ ALA2", "cos ψ ALA2", "sin ψ ALA2")
    assert len(known["shares"]) == 4
    assert known["moves"].frames.sum() + known["moves"].unassigned == 160


def test_the_options_of_the_table_exist():
    text = CliRunner().invoke(app, ["analyze", "--help"], env={"COLUMNS": "200"}).output
    for option in re.findall(r"`(--[a-z]+)", PAGE):
        assert option in text, option
