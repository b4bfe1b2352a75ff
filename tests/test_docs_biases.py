"""docs/biases.md: its examples run, and its configuration is valid."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import numpy as np
import openmm
import pytest
import tiny
import torch

import uncv
from uncv.bias import SPREAD, UDD_RATIO, mean_force_ratio
from uncv.config import parse_config

PAGE = (Path(__file__).parents[1] / "docs" / "biases.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture(scope="module")
def names():
    """What the examples leave behind, run one after another."""
    data = tiny.frames("CH3OH", 2, 0.03, seed=1)
    known = {"uncv": uncv, "openmm": openmm, "cv": tiny.cv(), "starts": data}
    known["topology"] = tiny.topology(data)
    for code in blocks("python")[:-1]:
        quick = code.replace("steps=200, stride=10", "steps=20, stride=5")
        exec(compile(quick, "docs/biases.md", "exec"), known)
    return known


def test_the_examples_give_what_the_text_says(names):
    bias, warm_up = names["bias"], names["warm_up"]
    assert mean_force_ratio(bias, warm_up) == pytest.approx(UDD_RATIO)
    spread = np.sqrt(np.mean(np.square(warm_up.uncertainty)))
    assert bias.width == pytest.approx(SPREAD * spread)
    assert np.nanmin(names["profile"].free_energy) == 0.0
    assert names["annealed"].temperature.at(5_000) == 450.0
    assert names["system"].getNumParticles() == 8 * 6


def test_the_input_for_plumed_is_accepted(names, tmp_path):
    pytest.importorskip("plumed")
    plumed = uncv.openmm.Plumed(names["script"], 0.0005, directory=tmp_path)
    system = uncv.openmm.create_system(names["topology"], names["cv"], plumed=plumed)
    system.uncv_driver.close()


def test_a_bias_of_ones_own(tmp_path, monkeypatch):
    """From a file, since TorchScript reads the source."""
    (tmp_path / "own_bias.py").write_text("import uncv\n\n\n" + blocks("python")[-1])
    monkeypatch.syspath_prepend(tmp_path)
    bias = importlib.import_module("own_bias").SquareRoot(2.0)
    u = torch.tensor([0.25], dtype=torch.float64)
    assert bias.energy_and_slope(u)[0].tolist() == [-1.0]
    assert eval(bias.expression("x"), {"x": 0.25, "sqrt": np.sqrt}) == -1.0
    assert float(torch.jit.script(bias)(u)) == -1.0


def test_the_configuration_is_valid():
    (text,) = blocks("yaml")
    given = parse_config(text).bias
    assert (given.kind, given.strength, given.ceiling) == ("udd", UDD_RATIO, 0.5)
