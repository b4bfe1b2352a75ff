"""docs/oracles.md: its examples run, and its configurations are valid."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import TypeAdapter

from uncv.config.oracle import ORACLE_SECTIONS, OracleConfig

PAGE = (Path(__file__).parents[1] / "docs" / "oracles.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known: dict = {}
    for code in blocks("python"):
        if not code.startswith("# "):  # a file of the user's
            exec(compile(code, "docs/oracles.md", "exec"), known)
    assert len(known["good"]) == 4
    np.testing.assert_array_equal(known["first"].energy, known["again"].energy)
    shift = known["frames"].positions - known["start"].positions
    np.testing.assert_allclose(known["labelled"].energy, 0.5 * (shift**2).sum(axis=(1, 2)))
    assert known["argon"].level_of_theory.startswith("LennardJones(epsilon=0.0104")


@pytest.mark.parametrize("text", blocks("yaml"))
def test_the_configurations_are_valid(text):
    given = TypeAdapter(OracleConfig).validate_python(yaml.safe_load(text)["oracle"])
    assert isinstance(given, ORACLE_SECTIONS[given.kind])
