"""docs/attack.md: its examples run and its defaults are right; the command does what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tiny
from typer.testing import CliRunner

import uncv
from uncv.adversarial import AttackSettings, Displacements, Strain, Torsions
from uncv.cli import app
from uncv.units import KB_IN_EV_PER_K

PAGE = (Path(__file__).parents[1] / "docs" / "attack.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, start frames and training data."""
    path = tmp_path_factory.mktemp("attack")
    tiny.cv().save(path / "model.uncv")
    uncv.write(path / "start.extxyz", tiny.frames("CH3OH", 2))
    known = tiny.frames("CH3OH", 6, seed=4).with_info(split=np.array(["train"] * 4 + ["valid"] * 2))
    uncv.write(path / "known.extxyz", known)
    return path


def command(*arguments, code=0):
    result = CliRunner().invoke(app, ["attack", *(str(a) for a in arguments)])
    assert result.exit_code == code, f"{result.stdout}\n{result.stderr}\n{result.exception!r}"
    return result


def test_the_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"uncv": uncv, "cv": tiny.cv(), "train": tiny.frames("CH3OH", 8)}
    names["starts"] = names["train"]
    for code in PYTHON:
        exec(compile(code, "docs/attack.md", "exec"), names)
    assert len(uncv.read("candidates.extxyz")) == 16
    assert names["peptide"].moves[0].bonds == ((4, 6), (6, 8))
    assert 0 < len(names["pool"]) <= 32


def test_the_defaults_of_the_page():
    settings = AttackSettings()
    assert (settings.steps, settings.tolerance, settings.method) == (60, 0.02, "lcmd")
    stop = settings.stop
    limits = (stop.min_distance_factor, stop.min_contact_factor, stop.max_bond_factor)
    assert limits == (0.65, 1.0, 1.5)
    assert Displacements() == Displacements(limit=0.5, size=0.01, rate=0.01)
    assert Torsions() == Torsions(limit=np.pi, size=0.1, rate=0.05)
    assert Strain() == Strain(limit=0.1, size=0.002, rate=0.002)
    assert round(1000 * KB_IN_EV_PER_K, 2) == 0.09
    assert round(3000 * KB_IN_EV_PER_K, 2) == 0.26
    assert round(10_000 * KB_IN_EV_PER_K, 2) == 0.86


def test_the_command(folder):
    out = folder / "out.extxyz"
    arguments = (folder / "model.uncv", folder / "start.extxyz", "--out", out, "--attacks", 6,
                 "--steps", 5, "--count", 2, "--seed", 3, "--temperature", 2000)  # fmt: skip
    found = json.loads(command(*arguments, "--json").stdout)
    settings = AttackSettings(attacks=6, steps=5, count=2, temperature=2000.0)
    expected = uncv.attack(
        uncv.UncertaintyCV.load(folder / "model.uncv"), uncv.read(folder / "start.extxyz"),
        settings, seed=3,
    )  # fmt: skip
    np.testing.assert_array_equal(uncv.read(out).positions, expected.candidates.positions)
    assert found["choice"] == expected.chosen.tolist()
    assert (found["attacks"], found["chosen"], found["known"]) == (6, 2, "start frames")
    assert [row["stop_reason"] for row in found["each"]] == [""] * 6
    assert found["each"][2]["loss"] == expected.frames.info["loss"][2]
    assert "known: start frames" in command(*arguments).stdout


def test_known_frames_of_a_campaign(folder, tmp_path):
    """The training split of a run directory, of a file, or of labelled.extxyz beside the model."""
    cv = uncv.UncertaintyCV.load(folder / "model.uncv")
    cv.save(tmp_path / "final.uncv")
    known = uncv.read(folder / "known.extxyz")
    uncv.write(tmp_path / "labelled.extxyz", known)
    starts = uncv.read(folder / "start.extxyz")
    settings = AttackSettings(attacks=2, steps=2)
    expected = uncv.attack(cv, starts, settings, reference=known[:4])
    few = ("--attacks", 2, "--steps", 2, "--out", tmp_path / "out.extxyz", "--json")
    for model, extra in (
        (tmp_path / "final.uncv", ()),
        (folder / "model.uncv", ("--reference", tmp_path)),
        (folder / "model.uncv", ("--reference", folder / "known.extxyz")),
    ):
        result = command(model, folder / "start.extxyz", *few, *extra)
        found = json.loads(result.stdout)
        assert found["known"] == "reference frames"
        losses = [row["loss"] for row in found["each"]]
        np.testing.assert_allclose(losses, expected.frames.info["loss"], rtol=1e-12)


def test_moves_on_the_command_line(folder):
    out = folder / "turned.extxyz"
    command(
        folder / "model.uncv", folder / "start.extxyz", "--out", out, "--move", "torsions",
        "--bond", "0-1", "--torsion-limit", 60, "--attacks", 4, "--steps", 15,
        "--tolerance", 0,
    )  # fmt: skip
    start, end = uncv.read(folder / "start.extxyz"), uncv.read(out)
    parents = end.info["parent"]
    for pair in ((0, 1), (1, 3), (0, 4)):  # C–O, O–H, C–H
        before, after = (
            np.diff(x[:, pair], axis=1) for x in (start.positions[parents], end.positions)
        )
        np.testing.assert_allclose(np.linalg.norm(after, axis=2), np.linalg.norm(before, axis=2))


@pytest.mark.parametrize(
    ("extra", "code", "match"),
    [
        (("--bond", "O-H", "--move", "torsions"), 2, "--bond is 'O-H'; expected two atoms"),
        (("--move", "strain"), 1, "strain needs a cell"),
        (("--reference", "nowhere.extxyz"), 2, "nowhere.extxyz"),
        (("--steps", 1, "--trust-radius", 1e-9), 1, "came to a frame unlike the start frames"),
        (("--count", 0), 2, "count is 0; expected at least 1"),
    ],
)
def test_errors_of_the_command(folder, extra, code, match):
    few = ("--attacks", 2, "--out", folder / "never.extxyz")
    result = command(folder / "model.uncv", folder / "start.extxyz", *few, *extra, code=code)
    assert match in result.stderr
    assert not (folder / "never.extxyz").exists()
