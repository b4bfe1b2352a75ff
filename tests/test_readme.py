"""The README is true: its example runs, its links lead somewhere, its names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import uncv
from uncv.config import parse_config

ROOT = Path(uncv.__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.mark.slow
def test_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (example,) = EXAMPLES
    names: dict = {}
    exec(compile(example, "README.md", "exec"), names)
    cv, train = names["cv"], names["train"]
    np_ = names["np"]
    assert len(train) == 26
    assert train.has("energy")
    assert train.has("forces")
    again = uncv.read("train.extxyz")
    np_.testing.assert_array_equal(again.positions, train.positions)
    loaded = uncv.UncertaintyCV.load("ala2.uncv")
    np_.testing.assert_allclose(
        loaded.evaluate(train).uncertainty, cv.evaluate(train).uncertainty, rtol=1e-12
    )
    assert (cv.evaluate(train).uncertainty > 0).all()
    assert 0.0 < names["coverage"] < 1.0
    assert names["run"].walker_steps <= 160


def test_example_is_short():
    lines = [line for line in EXAMPLES[0].splitlines() if line and not line.startswith("#")]
    assert len(lines) <= 30


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if not target.startswith("http"):
            assert ((ROOT / page).parent / target).exists(), f"{page} links to {target}"


def test_estimators_of_the_table_exist():
    from uncv.uncertainty import EnsembleUncertainty

    for of in re.findall(r'`EnsembleUncertainty\(of="(\w+)"\)`', TEXT):
        assert EnsembleUncertainty(of=of)


def test_its_configurations_are_valid():
    blocks = re.findall(r"```yaml\n(.*?)```", TEXT, flags=re.DOTALL)
    assert blocks
    for block in blocks:
        parse_config(block)
